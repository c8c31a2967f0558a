import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatMac, parseMac } from './mac.ts'

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
