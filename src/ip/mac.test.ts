import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatMac, formatMacPrefix, isGroupMac, lastMac, parseMac, parseMacPrefix } from './mac.ts'

const mac = fc.bigInt(0n, 2n ** 48n - 1n)

describe('parseMac', () => {
  test.each([
    '34:56:78:9a:bc:de',
    '34-56-78-9A-BC-DE',
    '3456.789a.bcde',
    '3456789ABCDE',
    '34:56:78:9a:BC:de',
  ])('reads %s', text => {
    expect(parseMac(text)).toBe(0x3456_789a_bcden)
  })

  test.each([
    ...['', '34:56:78:9a:bc', '34:56:78:9a:bc:de:f0', '34:56:78:9a:bc:d', '34:56:78:9a:bc:0de'],
    ...['34:56-78:9a:bc:de', '34:56:78:9a:bc-de', '3456:789a:bcde', '34.56.78.9a.bc.de'],
    ...['3456.789a', '3456.789a.bcde.f012', '345678:9abcde', '345678-9abcde', '3456789abcd'],
    ...['3456789abcdef', '0x3456789abc', '34:56:78:9a:bc:dg', ' 34:56:78:9a:bc:de', 'no mac'],
    ...['34:56:78:9a:bc:de\n', '34:56:78:9a:bc:de ', '3:5:7:9:b:d', '３4:56:78:9a:bc:de'],
  ])('refuses %j', text => {
    expect(parseMac(text)).toBeNull()
  })

  test('reads every spelling of a MAC alike', () => {
    fc.assert(
      fc.property(mac, mac => {
        const bytes = Array.from({ length: 6 }, (_, at) =>
          Number((mac >> BigInt(40 - 8 * at)) & 255n)
            .toString(16)
            .padStart(2, '0'),
        )
        const [a, b, c, d, e, f] = bytes
        const dotted = `${a}${b}.${c}${d}.${e}${f}`
        for (const text of [bytes.join(':'), bytes.join('-'), dotted, bytes.join('')]) {
          expect(parseMac(text)).toBe(mac)
          expect(parseMac(text.toUpperCase())).toBe(mac)
        }
      }),
    )
  })
})

describe('formatMac', () => {
  test.each([
    [0n, '00:00:00:00:00:00'],
    [0x16_3e0a_0b0cn, '00:16:3e:0a:0b:0c'],
    [2n ** 48n - 1n, 'ff:ff:ff:ff:ff:ff'],
  ])('writes %s as %s', (mac, text) => {
    expect(formatMac(mac)).toBe(text)
  })

  test('writes what parseMac reads back', () => {
    fc.assert(
      fc.property(mac, mac => {
        expect(parseMac(formatMac(mac))).toBe(mac)
      }),
    )
  })

  test('refuses what is no MAC', () => {
    expect(() => formatMac(-1n)).toThrow(RangeError)
    expect(() => formatMac(2n ** 48n)).toThrow(RangeError)
  })
})

describe('parseMacPrefix', () => {
  test('reads the range in which a MAC lies, and says whether it is its lowest', () => {
    fc.assert(
      fc.property(mac, fc.integer({ min: 0, max: 48 }), (mac, length) => {
        const parsed = parseMacPrefix(`${formatMac(mac)}/${length}`)
        if (!parsed) throw new Error('it was not read')
        const { prefix, host_bits } = parsed
        const size = 1n << BigInt(48 - length)
        expect(prefix.first).toBe(mac - (mac % size))
        expect(lastMac(prefix)).toBe(prefix.first + size - 1n)
        expect(host_bits).toBe(mac % size !== 0n)
        expect(parseMacPrefix(formatMacPrefix(prefix))).toEqual({ prefix, host_bits: false })
      }),
    )
  })

  test('without a length it is one MAC', () => {
    expect(parseMacPrefix('5254.0000.0001')?.prefix).toEqual({ first: 0x525400000001n, length: 48 })
  })

  test.each(['52:54:00:00:00:00/49', '52:54:00:00:00:00/', '52:54:00:00:00:00/08', '52:54/16'])(
    'refuses %j',
    text => {
      expect(parseMacPrefix(text)).toBeNull()
    },
  )
  test.each(['52:54:00:00:00:00/24/24', '/24', '52:54:00:00:00:00/-1', '52:54:00:00:00:00/ 8'])(
    'refuses %j, too',
    text => {
      expect(parseMacPrefix(text)).toBeNull()
    },
  )
})

test.each([
  ['01:00:5e:00:00:01', true],
  ['ff:ff:ff:ff:ff:ff', true],
  ['00:00:00:00:00:00', true],
  ['02:00:00:00:00:00', false],
  ['fe:ff:ff:ff:ff:ff', false],
])('%s is of a group or of nobody: %s', (text, isGroup) => {
  expect(isGroupMac(parseMac(text) ?? 1n)).toBe(isGroup)
})
