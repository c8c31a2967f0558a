import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Address, compareAddresses, formatAddress, parseAddress } from './address.ts'

const ipv4 = fc.bigInt(0n, 2n ** 32n - 1n).map((value): Address => ({ version: 4, value }))
const group = fc.oneof(fc.constant(0n), fc.constant(0xffffn), fc.bigInt(0n, 0xffffn))
const ipv6 = fc
  .array(group, { minLength: 8, maxLength: 8 })
  .map(groups => groups.reduce((value, group) => (value << 16n) | group))
  .map((value): Address => ({ version: 6, value }))
const address = fc.oneof(ipv4, ipv6)
const embedsIpv4 = ({ value }: Address) => value >> 32n === 0xffffn || value >> 32n === 0n

/** What the URL parser of the platform, another reading of RFC 4291 §2.2, makes of a text. */
const readAsUrl = (text: string) =>
  URL.canParse(`http://[${text}]`) ? new URL(`http://[${text}]`).hostname.slice(1, -1) : null

describe('parseAddress', () => {
  test.each([
    ['0.0.0.0', 4, 0n],
    ['192.0.2.1', 4, 0xc000_0201n],
    ['255.255.255.255', 4, 0xffff_ffffn],
    ['::', 6, 0n],
    ['::1', 6, 1n],
    ['1::', 6, 1n << 112n],
    ['2001:DB8:0:0:8:800:200C:417A', 6, 0x2001_0db8_0000_0000_0008_0800_200c_417an],
    ['0001:2:3:4:5:6:7::', 6, 0x0001_0002_0003_0004_0005_0006_0007_0000n],
    ['::2:3:4:5:6:7:8', 6, 0x0002_0003_0004_0005_0006_0007_0008n],
    ['::13.1.68.3', 6, 0x0d01_4403n],
    ['::FFFF:129.144.52.38', 6, 0xffff_8190_3426n],
    ['64:ff9b::192.0.2.33', 6, (0x64_ff9bn << 96n) | 0xc000_0221n],
    ['1:2:3:4:5:6:7.8.9.10', 6, 0x0001_0002_0003_0004_0005_0006_0708_090an],
  ] as const)('reads %s', (text, version, value) => {
    expect(parseAddress(text)).toEqual({ version, value })
  })

  const malformed = [
    ...['', ' ', '1', '1.2.3', '1.2.3.4.5', '1.2.3.', '.1.2.3', '1..2.3', '3232235777', '1.2.3.4.'],
    ...['256.0.0.1', '1.2.3.1000', '01.2.3.4', '1.2.3.00', '0x1.2.3.4', '1.2.3.a', '-1.2.3.4'],
    ...['+1.2.3.4', ' 1.2.3.4', '1.2.3.4 ', '1.2.3.4\n', '1.2. 3.4', '1.2.3.4/32', '1e1.2.3.4'],
    ...['１.2.3.4', '1,2,3,4', ':', ':::', '1:::2', '1::2::3', '::1::', ':1', '1:', ':1::', '::1:'],
    ...['1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8::', '::1:2:3:4:5:6:7:8'],
    ...['1:2:3:4::5:6:7:8', '1:2:3:4:5:6:7:', ':2:3:4:5:6:7:8', '12345::', '::00001', '::g'],
    ...['::-1', '::+1', '::0x1', ' ::1', '::1 ', '::1\n', ':: 1', '[::1]', 'fe80::1%eth0', '::%1'],
    ...['::1/128', '1.2.3.4::', '::1.2.3.4:5', '1.2.3.4:5::', '::1.2.3', '::01.2.3.4', '1::2.3'],
    ...['::256.2.3.4', '::1.2.3.4.5', ':1.2.3.4', '1.2.3.4:', '1:2:3:4:5:6:7:1.2.3.4'],
    ...['1:2:3:4:5:1.2.3.4', '1:2:3:4:5:6::1.2.3.4', '::ffff.1.2.3.4', '::1_0', 'localhost'],
  ]
  test.each(malformed)('refuses %j', text => {
    expect(parseAddress(text)).toBeNull()
  })

  test('accepts an almost correct IPv6 text exactly when a URL may have it as its host', () => {
    const piece = fc.constantFrom(':', '::', '.', '0', '01', '1', 'f', 'ffff', '255', '1.2.3.4')
    const edited = fc
      .tuple(fc.ipV6(), fc.nat(45), fc.nat(2), fc.option(piece, { nil: '' }))
      .map(([text, at, drop, add]) => `${text.slice(0, at)}${add}${text.slice(at + drop)}`)
    const assembled = fc.array(piece, { maxLength: 15 }).map(pieces => pieces.join(''))
    fc.assert(
      fc.property(
        fc.oneof(edited, assembled).filter(text => text.includes(':')),
        text => {
          const read = parseAddress(text)
          expect(read?.version ?? null).toBe(readAsUrl(text) === null ? null : 6)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('formatAddress', () => {
  test.each([
    ['2001:0DB8::0001', '2001:db8::1', '§4.1, §4.3: no leading zeros, lower case'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1', '§4.2.1: shortened as much as possible'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1', '§4.2.2: one zero group stays'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1', '§4.2.3: the longest run'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1', '§4.2.3: of equal runs the first'],
    ['0:0:0:0:0:0:0:0', '::', 'all zero'],
    ['1:0:0:0:0:0:0:0', '1::', 'zeros at the end'],
    ['::ffff:c000:201', '::ffff:192.0.2.1', '§5: IPv4-mapped'],
    ['::ffff:0:0', '::ffff:0.0.0.0', '§5: IPv4-mapped'],
    ['::1:2', '::0.1.0.2', 'IPv4-compatible, as the database spells it'],
    ['::fffe:c000:201', '::fffe:c000:201', 'beside IPv4-mapped'],
    ['1::ffff:c000:201', '1::ffff:c000:201', 'not IPv4-mapped'],
  ])('writes %s as %s (RFC 5952 %s)', (text, canonical) => {
    const read = parseAddress(text)
    expect(read && formatAddress(read)).toBe(canonical)
  })

  test('writes what parseAddress reads back as the same address', () => {
    fc.assert(
      fc.property(address, address => {
        expect(parseAddress(formatAddress(address))).toEqual(address)
      }),
      { numRuns: 1000 },
    )
  })

  test('writes IPv6 as URLs do, except where it embeds an IPv4 address', () => {
    fc.assert(
      fc.property(
        ipv6.filter(address => !embedsIpv4(address)),
        address => {
          const text = formatAddress(address)
          expect(readAsUrl(text)).toBe(text)
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('refuses a value that is outside its version', () => {
    expect(() => formatAddress({ version: 4, value: 2n ** 32n })).toThrow(RangeError)
    expect(() => formatAddress({ version: 6, value: 2n ** 128n })).toThrow(RangeError)
    expect(() => formatAddress({ version: 6, value: -1n })).toThrow(RangeError)
  })
})

test('compareAddresses orders by version, then by value, not by text', () => {
  const sorted = ['9.0.0.0', '10.0.0.0', '255.255.255.255', '::', '::9', '::10', 'a::', '10::']
  const addresses = sorted.map(parseAddress).filter(address => address !== null)
  const texts = addresses.toReversed().toSorted(compareAddresses).map(formatAddress)
  expect(texts).toEqual(sorted)
})
