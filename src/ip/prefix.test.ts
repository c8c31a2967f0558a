import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressBits, type IpVersion } from './address.ts'
import {
  formatPrefix,
  hostRange,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixHolds,
  prefixRange,
  prefixSize,
} from './prefix.ts'

type Cidr = { version: IpVersion; value: bigint; length: number }

const version = fc.constantFrom<IpVersion>(4, 6)

/** Values in `[0, limit)` of either version, with lengths that leave at most `hostBits` bits. */
const cidrs = (bounds: (bits: number) => { limit: bigint; hostBits: number }) =>
  version.chain(version => {
    const bits = addressBits(version)
    const { limit, hostBits } = bounds(bits)
    return fc.record<Cidr>({
      version: fc.constant(version),
      value: fc.bigInt(0n, limit - 1n),
      length: fc.integer({ min: bits - hostBits, max: bits }),
    })
  })
const toPrefix = ({ version, value, length }: Cidr): Prefix => {
  const size = 2n ** BigInt(addressBits(version) - length)
  return { version, length, first: (value / size) * size }
}

const anywhere = cidrs(bits => ({ limit: 2n ** BigInt(bits), hostBits: bits }))
const nearby = cidrs(() => ({ limit: 32n, hostBits: 5 })) // So few that prefixes often meet.

const read = (text: string): Prefix => {
  const parsed = parsePrefix(text)
  if (!parsed) throw new Error(`not a prefix: ${text}`)
  return parsed.prefix
}

describe('parsePrefix', () => {
  test.each([
    ['0.0.0.0/0', '0.0.0.0/0', false],
    ['10.1.2.3/0', '0.0.0.0/0', true],
    ['10.1.2.3/8', '10.0.0.0/8', true],
    ['192.0.2.1/32', '192.0.2.1/32', false],
    ['192.0.2.1/31', '192.0.2.0/31', true],
    ['::/0', '::/0', false],
    ['2001:DB8::/32', '2001:db8::/32', false],
    ['2001:db8::1/64', '2001:db8::/64', true],
    ['::ffff:192.0.2.1/120', '::ffff:192.0.2.0/120', true],
    ['::1/128', '::1/128', false],
  ])('reads %s as %s, with host bits: %s', (text, network, host_bits) => {
    const parsed = parsePrefix(text)
    expect(parsed && formatPrefix(parsed.prefix)).toBe(network)
    expect(parsed?.host_bits).toBe(host_bits)
  })

  test.each([
    ...['', '/', '/8', '10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/00'],
    ...['10.0.0.0/+8', '10.0.0.0/-8', '10.0.0.0/ 8', '10.0.0.0/8 ', '10.0.0.0 /8', ' 10.0.0.0/8'],
    ...['10.0.0.0/8\n', '10.0.0.0/8/8', '10.0.0.0//8', '10.0.0.0/8.0', '10.0.0.0/1e1', '10/8'],
    ...['10.0.0.0/0x8', '10.0.0.0/255.0.0.0', '10.0.0/8', '::', '::/', '::/129', '::/064', '::/1:'],
    ...['[::]/0', '[::/0]', '::%eth0/64', '::/64%eth0', ':::/64', '10.0.0.0/９', '::/1000'],
  ])('refuses %j', text => {
    expect(parsePrefix(text)).toBeNull()
  })

  test('reads what formatPrefix wrote, and no host bits', () => {
    fc.assert(
      fc.property(anywhere.map(toPrefix), prefix => {
        expect(parsePrefix(formatPrefix(prefix))).toEqual({ prefix, host_bits: false })
      }),
      { numRuns: 1000 },
    )
  })

  test('finds the network of any address, and says whether it had host bits', () => {
    fc.assert(
      fc.property(anywhere, ({ version, value, length }) => {
        const text = formatPrefix({ version, first: value, length })
        const prefix = toPrefix({ version, value, length })
        expect(parsePrefix(text)).toEqual({ prefix, host_bits: prefix.first !== value })
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a prefix is the set of addresses in its range', () => {
  const prefix = nearby.map(toPrefix)
  const addresses = Array.from({ length: 32 }, (_, value) => BigInt(value))
  const members = (prefix: Prefix) =>
    addresses.filter(value => prefixHolds(prefix, { version: prefix.version, value }))

  test('holds every address from first to last, and as many as its size', () => {
    fc.assert(
      fc.property(prefix, prefix => {
        const { first, last } = prefixRange(prefix)
        expect(members(prefix)).toEqual(addresses.filter(value => first <= value && value <= last))
        expect(BigInt(members(prefix).length)).toBe(prefixSize(prefix))
      }),
    )
  })

  test('contains and overlaps as sets do, never across versions', () => {
    fc.assert(
      fc.property(prefix, prefix, (a, b) => {
        const [inA, inB] = [new Set(members(a)), members(b)]
        const same = a.version === b.version
        expect(prefixContains(a, b)).toBe(same && inB.every(value => inA.has(value)))
        expect(prefixesOverlap(a, b)).toBe(same && inB.some(value => inA.has(value)))
      }),
      { numRuns: 1000 },
    )
  })

  test('reaches from the whole of a version to one address', () => {
    expect(prefixRange(read('0.0.0.0/0'))).toEqual({ first: 0n, last: 2n ** 32n - 1n })
    expect(prefixRange(read('::/0'))).toEqual({ first: 0n, last: 2n ** 128n - 1n })
    expect(prefixSize(read('::/0'))).toBe(2n ** 128n)
    expect(prefixSize(read('192.0.2.1/32'))).toBe(1n)
    expect(prefixHolds(read('0.0.0.0/0'), { version: 6, value: 1n })).toBe(false)
  })
})

test.each([
  ['0.0.0.0/0', 1n, 2n ** 32n - 2n],
  ['0.0.0.0/24', 1n, 254n],
  ['0.0.0.4/30', 5n, 6n],
  ['0.0.0.4/31', 4n, 5n],
  ['0.0.0.4/32', 4n, 4n],
  ['::/29', 0n, 2n ** 99n - 1n],
  ['::/64', 0n, 2n ** 64n - 1n],
  ['::4/126', 4n, 7n],
  ['::4/128', 4n, 4n],
])('hostRange of %s is %s to %s', (text, first, last) => {
  expect(hostRange(read(text))).toEqual({ first, last })
})
