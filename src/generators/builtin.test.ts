import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatAddress } from '../ip/address.ts'
import { parseMac } from '../ip/mac.ts'
import { type Prefix, parsePrefix, prefixHolds, prefixSize } from '../ip/prefix.ts'
import { builtinGenerators } from './builtin.ts'
import { modifiedEui64 } from './eui64.ts'
import {
  type AddressGenerator,
  candidatesMax,
  type GeneratorInput,
  missingInputs,
} from './generator.ts'
import { isReserved } from './stable-private.ts'

const { eui64, stable_private, tenant } = builtinGenerators
const nobody: GeneratorInput = {
  project_id: 'conformance',
  mac_address: null,
  interface_id: null,
  network_id: null,
  secret: null,
}
const withMac = (mac: string, project_id = 'conformance') => {
  return { ...nobody, project_id, mac_address: parseMac(mac) }
}
const read = (cidr: string) => parsePrefix(cidr)?.prefix as Prefix
const candidates = (generator: AddressGenerator, input: GeneratorInput, cidr: string) =>
  Array.from(generator.candidates(input, read(cidr)), value => formatAddress({ version: 6, value }))

describe('eui64', () => {
  test('the example of RFC 2464 §4, and its inverse with a local MAC', () => {
    expect(modifiedEui64(0x3456_789a_bcden)).toBe(0x3656_78ff_fe9a_bcden)
    expect(modifiedEui64(0x3656_789a_bcden)).toBe(0x3456_78ff_fe9a_bcden)
  })

  // What the original Melange answers with its rfc2462_generator; one row is of its own tests.
  test.each([
    ['fd00:1:2:3::/64', '00:16:3e:0a:0b:0c', 'fd00:1:2:3:216:3eff:fe0a:b0c'],
    ['fd00:1:2:3::/64', '00:16:3e:0a:0b:0c', 'fd00:1:2:3:216:3eff:fe0a:b0d'],
    ['fd00:1:2:3::/64', '02-16-3E-FF-FF-FF', 'fd00:1:2:3:16:3eff:feff:ffff'],
    ['fd00:1:2:3::/64', '02-16-3E-FF-FF-FF', 'fd00:1:2:3:16:3fff:fe00:0'],
    ['fd00:1:2:3::/96', '00:16:3e:0a:0b:0c', 'fd00:1:2:3::fe0a:b0c'],
    ['fe::/72', '12:ff:12:89:67:34', 'fe::ff:12ff:fe89:6734'],
  ])('in %s %s may have %s', (cidr, mac, address) => {
    expect(candidates(eui64, withMac(mac), cidr).slice(0, 2)).toContain(address)
  })

  test('the MAC comes first, then those after it; after the last comes the first', () => {
    const addresses = candidates(eui64, withMac('ff:ff:ff:ff:ff:fe'), '2001:db8::/64')
    expect(addresses).toHaveLength(candidatesMax)
    expect(addresses.slice(0, 3)).toEqual([
      '2001:db8::fdff:ffff:feff:fffe',
      '2001:db8::fdff:ffff:feff:ffff',
      '2001:db8::200:ff:fe00:0',
    ])
  })

  test('in a prefix shorter than 64 bits it is in the first /64', () => {
    const [address] = candidates(eui64, withMac('00:16:3e:0a:0b:0c'), '2001:db8::/32')
    expect(address).toBe('2001:db8::216:3eff:fe0a:b0c')
  })
})

describe('tenant', () => {
  // What the original Melange answers with its tenant_based_generator; `fe::` is of its own tests.
  test.each([
    ['fd00:1:2:3::/64', 'conformance', '00:16:3e:01:02:03', 'fd00:1:2:3:5500:404c:ff01:203'],
    ['fd00:1:2:3::/96', 'conformance', '00:16:3e:01:02:03', 'fd00:1:2:3::ff01:203'],
    ['fd00:1:2:3::/120', 'conformance', '00:16:3e:01:02:03', 'fd00:1:2:3::3'],
    ['fd00:1:2:3::/120', 'conformance', '00:16:3e:01:02:03', 'fd00:1:2:3::4'],
    ['fd00::/120', 'conformance', '00:16:3e:00:00:05', 'fd00::5'],
    ['fe::/64', '1234', '00:ff:12:89:67:34', 'fe::7110:eda4:ff89:6734'],
    ['fe::/64', '1234', '00:ff:12:89:67:34', 'fe::7110:eda4:ff89:6735'],
    ['fe::/72', '1234', '00:ff:12:89:67:34', 'fe::10:eda4:ff89:6734'],
  ])('in %s project %s with %s may have %s', (cidr, project, mac, address) => {
    expect(candidates(tenant, withMac(mac, project), cidr).slice(0, 2)).toContain(address)
  })

  test('of a MAC only the lower half counts, and the constant stays when it overflows', () => {
    const addresses = candidates(tenant, withMac('00:16:3e:ff:ff:ff', '1234'), 'fe::/64')
    expect(addresses.slice(0, 2)).toEqual(['fe::7110:eda4:ffff:ffff', 'fe::7110:eda4:ff00:0'])
  })
})

describe('stable_private', () => {
  const input = { ...nobody, interface_id: 'port-1', secret: 'a secret of the policy' }

  // Computed with Python: the last 8 bytes of HMAC-SHA-256 of the JSON text, for counters 0 to 3.
  test.each([
    [
      ...(['2001:db8::/64', 'net-1'] as const),
      ['7e1b:50dc:3855:6d5d', 'f8c4:b16d:90bd:5369', '7e75:6dfe:cdbd:7296', '624c:eee7:19ac:f15a'],
    ],
    [
      ...(['2001:db8::/64', null] as const),
      ['1cdb:552b:407f:6bc6', 'b590:6749:6233:3dcb', '62a1:eb24:b594:4837', 'b50e:f3aa:ddd5:58d5'],
    ],
    [
      ...(['2001:db8::/48', 'net-1'] as const),
      ['46ac:46c3:1e26:69cf', '9c26:c089:f7a2:cd26', 'fcfb:eb29:ed87:647a', 'b14b:8cde:1fdf:41ba'],
    ],
    [...(['2001:db8::/96', 'net-1'] as const), ['186d:2dcc', 'c12b:4211', '8c3:d7cc', 'ac74:69ff']],
  ])('in %s on network %s', (cidr, network_id, identifiers) => {
    const addresses = candidates(stable_private, { ...input, network_id }, cidr)
    expect(addresses).toEqual(identifiers.map(identifier => `2001:db8::${identifier}`))
  })

  test('names in any script and with quotes are told apart', () => {
    const odd = { ...input, interface_id: 'Anschluß "1"', network_id: 'net-1' }
    expect(candidates(stable_private, odd, '2001:db8::/64')[0]).toBe(
      '2001:db8::c2ae:b5d8:de4e:72da',
    )
  })

  test('every input counts but MAC and project', () => {
    const first = (more: Partial<GeneratorInput>, cidr = '2001:db8::/64') =>
      candidates(stable_private, { ...input, ...more }, cidr)[0]?.split('::')[1]
    const addresses = [
      first({}),
      first({}, '2001:db9::/64'),
      first({}, '2001:db8::/63'),
      first({ interface_id: 'port-2' }),
      first({ network_id: 'port-1' }),
      first({ secret: 'another secret' }),
    ]
    expect(new Set(addresses).size).toBe(addresses.length)
    expect(first({ mac_address: 1n, project_id: 'another' })).toBe(addresses[0])
  })

  test.each([
    [0n, true],
    [1n, false],
    [0x0200_5eff_fdff_ffffn, false],
    [0x0200_5eff_fe00_0000n, true],
    [0x0200_5eff_fe00_5213n, true],
    [0x0200_5eff_feff_ffffn, true],
    [0x0200_5eff_ff00_0000n, false],
    [0xfdff_ffff_ffff_ff7fn, false],
    [0xfdff_ffff_ffff_ff80n, true],
    [0xfdff_ffff_ffff_ffffn, true],
    [0xffff_ffff_ffff_ffffn, false],
  ])('interface identifier %d is reserved: %s', (interfaceId, expected) => {
    expect(isReserved(interfaceId, read('2001:db8::/64'))).toBe(expected)
  })

  test("never the routers' anycast address; a /127 has none", () => {
    const firsts = (cidr: string) =>
      Array.from({ length: 50 }, (_, n) =>
        candidates(stable_private, { ...input, interface_id: `port-${n}` }, cidr).includes(
          '2001:db8::',
        ),
      )
    expect(firsts('2001:db8::/126')).not.toContain(true)
    expect(firsts('2001:db8::/127')).toContain(true)
  })
})

describe.each(Object.entries(builtinGenerators))('%s, like any generator', (name, generator) => {
  const bigInt = (bits: number) => fc.bigInt(0n, 2n ** BigInt(bits) - 1n)
  const prefix = fc
    .record({ value: bigInt(128), length: fc.oneof(fc.nat(128), fc.constantFrom(64, 127, 128)) })
    .map(({ value, length }): Prefix => {
      const first = (value >> BigInt(128 - length)) << BigInt(128 - length)
      return { version: 6, first, length }
    })
  const anInput = fc.record({
    project_id: fc.string(),
    mac_address: fc.oneof(bigInt(48), fc.bigInt(2n ** 48n - 9n, 2n ** 48n - 1n)),
    interface_id: fc.string(),
    network_id: fc.option(fc.string(), { nil: null }),
    secret: fc.string(),
  })

  test('has the name that policies use', () => {
    expect(generator.name).toBe(name)
  })

  test('gives a bounded number of addresses of the prefix, each once, and always the same', () => {
    fc.assert(
      fc.property(anInput, prefix, (input, prefix) => {
        const addresses = [...generator.candidates(input, prefix)]
        expect(addresses.length).toBeLessThanOrEqual(candidatesMax)
        expect(BigInt(addresses.length)).toBeLessThanOrEqual(prefixSize(prefix))
        expect(addresses.every(value => prefixHolds(prefix, { version: 6, value }))).toBe(true)
        expect(new Set(addresses).size).toBe(addresses.length)
        expect([...generator.candidates(input, prefix)]).toEqual(addresses)
        if (prefix.length <= 64) expect(addresses.length).toBeGreaterThan(1)
      }),
      { numRuns: 300 },
    )
  })

  test('gives none in IPv4, and none without what it needs', () => {
    const needed = { mac_address: 1n, interface_id: 'port-1', secret: 'a secret of the policy' }
    const input = { ...nobody, ...needed }
    expect(missingInputs(generator, input)).toEqual([])
    expect([...generator.candidates(input, read('10.0.0.0/8'))]).toEqual([])
    expect(candidates(generator, input, '2001:db8::/64')).not.toEqual([])
    for (const need of generator.needs) {
      const without = { ...input, [need]: null }
      expect(missingInputs(generator, without)).toEqual([need])
      expect(candidates(generator, without, '2001:db8::/64')).toEqual([])
    }
  })
})
