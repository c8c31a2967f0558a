import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { IpamError } from '../errors.ts'
import { formatAddress, type IpVersion } from '../ip/address.ts'
import { formatPrefix } from '../ip/prefix.ts'
import { bytesMax, decodeOption, encodeOption, readOptionValue } from './option-types.ts'
import {
  findOption,
  knownOptions,
  type OptionDefinition,
  type OptionTypeName,
  optionOf,
} from './options.ts'

const hexOf = (option: OptionDefinition, value: unknown) =>
  encodeOption(option, readOptionValue(option, value, 'value')).map(bytes => bytes.toString('hex'))
const ascii = (text: string) => Buffer.from(text).toString('hex')
/** A name as labels, each behind its length. */
const labels = (...texts: string[]) =>
  texts.map(text => text.length.toString(16).padStart(2, '0') + ascii(text)).join('')
const all = [...knownOptions[4], ...knownOptions[6]]

describe('the registry', () => {
  test('has each code and each name once', () => {
    for (const version of [4, 6] as const) {
      const codes = knownOptions[version].map(({ code }) => code)
      expect(codes).toEqual([...new Set(codes)].toSorted((a, b) => a - b))
      const names = knownOptions[version].map(({ name }) => name)
      expect(new Set(names).size).toBe(names.length)
      for (const name of names) expect(name).toMatch(/^[a-z0-9][a-z0-9-]{0,63}$/)
      for (const name of names) expect(name).not.toMatch(/^\d+$/)
    }
  })

  test.each([
    [4, 'dns-servers', 6],
    [4, '6', 6],
    [6, 'dns-servers', 23],
    [6, '23', 23],
    [4, '224', 224],
    [6, '65535', 65535],
  ] as const)('finds DHCPv%s option %s', (version, text, code) => {
    expect(findOption(version, text)).toMatchObject({ version, code })
  })

  test.each([
    [4, '0'],
    [4, '255'],
    [4, '53'],
    [6, '46'],
    [6, '114'],
    [4, '82'],
    [4, '06'],
    [6, '1'],
    [6, '65536'],
    [6, 'router'],
    [4, 'toString'],
  ] as const)('finds no DHCPv%s option %s that can be set', (version, text) => {
    expect(findOption(version, text)).toBeNull()
  })

  test('takes hex for what it does not know', () => {
    expect(optionOf(4, 224)).toEqual({ version: 4, code: 224, name: null, type: 'hex' })
  })
})

describe('on the wire are', () => {
  test.each([
    // RFC 3442: the table of destination descriptors.
    ['0.0.0.0/0', '00'],
    ['10.0.0.0/8', '080a'],
    ['10.0.0.0/24', '180a0000'],
    ['10.17.0.0/16', '100a11'],
    ['10.27.129.0/24', '180a1b81'],
    ['10.229.0.128/25', '190ae50080'],
    ['10.198.122.47/32', '200ac67a2f'],
  ])('a classless route to %s', (destination, descriptor) => {
    const option = optionOf(4, 121)
    const value = [{ destination, gateway: '192.0.2.1' }]
    expect(hexOf(option, value)).toEqual([`${descriptor}c0000201`])
    expect(decodeOption(option, [Buffer.from(`${descriptor}c0000201`, 'hex')])).toEqual(value)
  })

  test('a search list with its common ends said once (RFC 3397 §3)', () => {
    const option = optionOf(4, 119)
    const value = ['eng.apple.com', 'marketing.apple.com']
    const bytes = `${labels('eng', 'apple', 'com')}00${labels('marketing')}c004`
    expect(hexOf(option, value)).toEqual([bytes])
    // There it is split over three options.
    const parts = [bytes.slice(0, 18), bytes.slice(18, 36), bytes.slice(36)]
    expect(
      decodeOption(
        option,
        parts.map(part => Buffer.from(part, 'hex')),
      ),
    ).toEqual(value)
  })

  test('SIP servers by name or by address (RFC 3361 §3.1, §3.2)', () => {
    const option = optionOf(4, 120)
    const names = hexOf(option, ['example.com', 'example.net'])
    expect(names).toEqual([`00${labels('example', 'com')}00${labels('example', 'net')}00`])
    expect(names[0]).toHaveLength(2 * 27)
    expect(hexOf(option, ['192.0.2.1', '192.0.2.2'])).toEqual(['01c0000201c0000202'])
  })

  test('a DHCPv6 search list without compression (RFC 3646 §4)', () => {
    const bytes = `${labels('a', 'example')}00${labels('b', 'example')}00`
    expect(hexOf(optionOf(6, 24), ['A.example.', 'b.example'])).toEqual([bytes])
  })

  test('one option for each DHCPv6 NTP server (RFC 5908 §4)', () => {
    const option = optionOf(6, 56)
    const value = ['2001:db8::1', 'ff05::101', 'ntp.example.com']
    const bytes = hexOf(option, value)
    expect(bytes).toEqual([
      '0001001020010db8000000000000000000000001',
      '00020010ff050000000000000000000000000101',
      `00030011${labels('ntp', 'example', 'com')}00`,
    ])
    expect(
      decodeOption(
        option,
        bytes.map(one => Buffer.from(one, 'hex')),
      ),
    ).toEqual(value)
  })

  test.each([
    [4, 1, '255.255.255.0', 'ffffff00'],
    [4, 2, -3600, 'fffff1f0'],
    [4, 6, ['192.0.2.1', '192.0.2.2'], 'c0000201c0000202'],
    [4, 12, 'Host-1', ascii('host-1')],
    [4, 19, true, '01'],
    [4, 25, [68, 1500], '004405dc'],
    [4, 26, 1450, '05aa'],
    [4, 33, [{ destination: '192.0.2.9', gateway: '10.0.0.1' }], 'c00002090a000001'],
    [4, 51, 3600, '00000e10'],
    [4, 67, 'pxelinux.0', ascii('pxelinux.0')],
    [4, 97, '00:0102030405060708090a0b0c0d0e0f10', '000102030405060708090a0b0c0d0e0f10'],
    [4, 224, 'CA:FE', 'cafe'],
    [6, 23, ['2001:DB8::0:1'], '20010db8000000000000000000000001'],
    [6, 39, { flags: 1, name: 'a.example' }, `01${labels('a', 'example')}00`],
    [6, 60, ['quiet', 'é'], `0005${ascii('quiet')}0002c3a9`],
    [6, 64, 'aftr.example', `${labels('aftr', 'example')}00`],
    [6, 82, 3600, '00000e10'],
  ] as const)('DHCPv%s option %s as %j', (version, code, value, bytes) => {
    expect(hexOf(optionOf(version, code), value)).toEqual([bytes])
  })
})

describe('refused is', () => {
  test.each([
    [4, 1, 7, 'value'],
    [4, 1, '2001:db8::1', 'value'],
    [4, 6, '192.0.2.1', 'value'],
    [4, 6, [], 'value'],
    [4, 6, ['192.0.2.1', '192.0.2.256'], 'value/1'],
    [4, 26, 67, 'value'],
    [4, 26, 65_536, 'value'],
    [4, 26, '1500', 'value'],
    [4, 25, [1500, 1.5], 'value/1'],
    [4, 19, 1, 'value'],
    [4, 15, 'not a name', 'value'],
    [4, 15, '\u212Aelvin', 'value'],
    [4, 17, '', 'value'],
    [4, 17, 'a\nb', 'value'],
    [4, 97, '00', 'value'],
    [4, 224, 'f', 'value'],
    [4, 224, { a: 1 }, 'value'],
    [4, 119, ['example.com', `${'a'.repeat(64)}.com`], 'value/1'],
    [4, 33, [{ destination: '0.0.0.0', gateway: '10.0.0.1' }], 'value/0/destination'],
    [4, 121, [{ destination: '10.0.0.0/8' }], 'value/0/gateway'],
    [4, 121, [{ destination: '10.0.0.1/8', gateway: '10.0.0.1' }], 'value/0/destination'],
    [4, 121, [{ destination: '10.0.0.0/8', gateway: '10.0.0.1', metric: 1 }], 'value/0/metric'],
    [4, 121, [null], 'value/0'],
    [4, 120, ['192.0.2.1', 'example.com'], 'value/1'],
    [6, 82, 59, 'value'],
    [6, 39, { flags: 8, name: 'a.example' }, 'value/flags'],
    [6, 56, ['192.0.2.1.'], 'value/0'],
    [6, 23, undefined, 'value'],
  ] as const)('for DHCPv%s option %s %j, naming %s', (version, code, value, field) => {
    const read = () => readOptionValue(optionOf(version, code), value, 'value')
    expect(read).toThrow(IpamError)
    expect(read).toThrow(expect.objectContaining({ facts: expect.objectContaining({ field }) }))
  })

  test('what takes too many bytes', () => {
    const option = optionOf(4, 224)
    expect(readOptionValue(option, '00'.repeat(bytesMax), 'value')).toHaveLength(2 * bytesMax)
    expect(() => readOptionValue(option, '00'.repeat(bytesMax + 1), 'value')).toThrow(IpamError)
  })

  test.each([
    [4, 1, 'c00002'],
    [4, 6, 'c0000201c0'],
    [4, 6, ''],
    [4, 19, '02'],
    [4, 26, '05'],
    [4, 25, '004405'],
    [4, 33, 'c0000201'],
    [4, 119, '0361'],
    [4, 119, 'c000'],
    [4, 119, '0161c000'],
    [4, 119, '4061'],
    [4, 119, '03612e6200'],
    [4, 120, '02c0000201'],
    [4, 121, '210a0000'],
    [4, 121, '180a00'],
    [6, 56, '000100102001'],
    [6, 60, '0005aa'],
    [6, 64, ''],
  ] as const)('DHCPv%s option %s with the bytes %s', (version, code, bytes) => {
    expect(decodeOption(optionOf(version, code), [Buffer.from(bytes, 'hex')])).toBeNull()
  })
})

const address = (version: IpVersion) =>
  fc
    .bigInt({ min: 0n, max: version === 4 ? 2n ** 32n - 1n : 2n ** 128n - 1n })
    .map(value => formatAddress({ version, value }))
const listOf = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 5 })
const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
const domain = fc.array(word, { minLength: 2, maxLength: 4 }).map(words => `${words.join('.')}.x`)
const text = fc.stringMatching(/^[ -~äß€]{1,20}$/)
const hex = (bytes = 4) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map(array => Buffer.from(array).toString('hex'))
const route = fc.record({
  destination: fc.tuple(fc.nat(32), fc.nat(2 ** 32 - 1)).map(([length, value]) => {
    const first = (BigInt(value) >> BigInt(32 - length)) << BigInt(32 - length)
    return formatPrefix({ version: 4, first, length })
  }),
  gateway: address(4),
})
const integer = (min: number, max: number, option: OptionDefinition) =>
  fc.integer({ min: option.min ?? min, max: option.max ?? max })

/** Canonical values of each type. */
const values: Readonly<
  Record<OptionTypeName, (option: OptionDefinition) => fc.Arbitrary<unknown>>
> = {
  address: ({ version }) => address(version),
  addresses: ({ version }) => listOf(address(version)),
  'address-pairs': ({ members = ['a', 'b'] }) =>
    listOf(
      fc
        .tuple(
          address(4).filter(one => one !== '0.0.0.0'),
          address(4),
        )
        .map(pair => Object.fromEntries(members.map((name, index) => [name, pair[index]]))),
    ),
  routes: () =>
    fc.uniqueArray(route, { minLength: 1, maxLength: 5, selector: one => one.destination }),
  uint8: option => integer(0, 255, option),
  uint16: option => integer(0, 65_535, option),
  uint32: option => integer(0, 2 ** 32 - 1, option),
  int32: option => integer(-(2 ** 31), 2 ** 31 - 1, option),
  uint16s: option => listOf(integer(0, 65_535, option)),
  boolean: () => fc.boolean(),
  string: () => text,
  strings: () => listOf(text),
  'domain-text': () => domain,
  domain: () => domain,
  domains: () => listOf(domain),
  fqdn: () => fc.record({ flags: fc.nat(7), name: domain }),
  'sip-servers': () => fc.oneof(listOf(address(4)), listOf(domain)),
  'ntp-servers': () => listOf(fc.oneof(address(6), domain)),
  hex: ({ bytes }) => hex(bytes),
}

test.each(all)('DHCPv$version $name comes back from its bytes', option => {
  fc.assert(
    fc.property(values[option.type](option), value => {
      expect(readOptionValue(option, value, 'value')).toEqual(value)
      expect(decodeOption(option, encodeOption(option, value))).toEqual(value)
    }),
    { numRuns: 30 },
  )
})

test('bytes of any kind are a value or none, and a value that is canonical', () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map(array => Buffer.from(array))
  fc.assert(
    fc.property(fc.constantFrom(...all), bytes, (option, found) => {
      const value = decodeOption(option, [found])
      if (value !== null) expect(readOptionValue(option, value, 'value')).toEqual(value)
    }),
    { numRuns: 2000 },
  )
})
