import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressBits, type IpVersion } from './address.ts'
import { formatPrefix, type Prefix, prefixRange } from './prefix.ts'
import {
  freeRanges,
  largestPrefixLength,
  mergeRanges,
  prefixesOf,
  type Range,
  rangeSize,
} from './range.ts'

const rangeWithin = (first: bigint, last: bigint) =>
  fc
    .tuple(fc.bigInt(first, last), fc.bigInt(first, last))
    .map(([a, b]): Range => (a <= b ? { first: a, last: b } : { first: b, last: a }))
const range = rangeWithin(0n, 60n)
const covers = (ranges: readonly Range[], ip: bigint) =>
  ranges.some(({ first, last }) => first <= ip && ip <= last)
const hasGaps = (ranges: readonly Range[]) =>
  ranges.slice(1).every(({ first }, index) => first > (ranges[index]?.last ?? first) + 1n)

/** Ranges of a version: short ones at both ends of its space, where carries happen, and any. */
const versionedRange = fc.constantFrom<IpVersion>(4, 6).chain(version => {
  const last = 2n ** BigInt(addressBits(version)) - 1n
  const place = fc.oneof(
    rangeWithin(0n, 70n),
    rangeWithin(last - 70n, last),
    rangeWithin(last / 2n - 35n, last / 2n + 35n),
    rangeWithin(0n, last),
  )
  return fc.record({ version: fc.constant(version), range: place })
})

describe('freeRanges', () => {
  test('returns the gaps between allocations, lowest first', () => {
    const taken = [
      { first: 6n, last: 7n },
      { first: 2n, last: 3n },
    ]
    expect(freeRanges({ first: 1n, last: 9n }, taken)).toEqual([
      { first: 1n, last: 1n },
      { first: 4n, last: 5n },
      { first: 8n, last: 9n },
    ])
  })

  test('an address of the pool is free exactly when nothing takes it', () => {
    fc.assert(
      fc.property(range, fc.array(range), fc.bigInt(0n, 60n), (pool, taken, ip) => {
        const free = covers(freeRanges(pool, taken), ip)
        expect(free).toBe(covers([pool], ip) && !covers(taken, ip))
      }),
      { numRuns: 2000 },
    )
  })

  test('the free ranges are in order, and something taken lies between any two', () => {
    fc.assert(
      fc.property(range, fc.array(range), (pool, taken) => {
        expect(hasGaps(freeRanges(pool, taken))).toBe(true)
      }),
    )
  })
})

describe('mergeRanges', () => {
  test('joins what overlaps, touches or lies within', () => {
    const ranges = [
      { first: 8n, last: 9n },
      { first: 0n, last: 5n },
      { first: 1n, last: 2n },
      { first: 6n, last: 6n },
    ]
    expect(mergeRanges(ranges)).toEqual([
      { first: 0n, last: 6n },
      { first: 8n, last: 9n },
    ])
  })

  test('covers the same addresses, in order, with a gap between any two ranges', () => {
    fc.assert(
      fc.property(fc.array(range), fc.bigInt(0n, 60n), (ranges, ip) => {
        const merged = mergeRanges(ranges)
        expect(covers(merged, ip)).toBe(covers(ranges, ip))
        expect(hasGaps(merged)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  test('with the free ranges of a pool gives back the pool', () => {
    fc.assert(
      fc.property(range, fc.array(range), (pool, taken) => {
        const inside = taken.filter(({ first, last }) => pool.first <= first && last <= pool.last)
        expect(mergeRanges([...inside, ...freeRanges(pool, inside)])).toEqual([pool])
      }),
    )
  })
})

describe('prefixesOf', () => {
  const texts = (range: Range, version: IpVersion) =>
    [...prefixesOf(range, version)].map(formatPrefix)

  test('covers a range with prefixes that grow and then shrink', () => {
    expect(texts({ first: 1n, last: 12n }, 4)).toEqual([
      '0.0.0.1/32',
      '0.0.0.2/31',
      '0.0.0.4/30',
      '0.0.0.8/30',
      '0.0.0.12/32',
    ])
  })

  test('covers a whole version with one prefix, and its worst range with two per bit', () => {
    expect(texts({ first: 0n, last: 2n ** 32n - 1n }, 4)).toEqual(['0.0.0.0/0'])
    expect(texts({ first: 0n, last: 2n ** 128n - 1n }, 6)).toEqual(['::/0'])
    expect(texts({ first: 1n, last: 2n ** 128n - 2n }, 6)).toHaveLength(254)
  })

  test('covers a range exactly: each prefix begins where the one before ended', () => {
    fc.assert(
      fc.property(versionedRange, ({ range, version }) => {
        const parts = [...prefixesOf(range, version)].map(prefixRange)
        expect(mergeRanges(parts)).toEqual([range])
        expect(parts.reduce((sum, part) => sum + rangeSize(part), 0n)).toBe(rangeSize(range))
        expect(parts).toEqual(parts.toSorted((a, b) => Number(a.first - b.first)))
      }),
      { numRuns: 1000 },
    )
  })

  test('is aligned and minimal: no prefix could be twice as large inside the range', () => {
    const parent = ({ version, first, length }: Prefix): Prefix => {
      const size = 2n ** BigInt(addressBits(version) - length + 1)
      return { version, first: (first / size) * size, length: length - 1 }
    }
    fc.assert(
      fc.property(versionedRange, ({ range, version }) => {
        for (const prefix of prefixesOf(range, version)) {
          const { first, last } = prefixRange(prefix)
          expect(first % (last - first + 1n)).toBe(0n)
          if (prefix.length === 0) continue
          const larger = prefixRange(parent(prefix))
          expect(range.first <= larger.first && larger.last <= range.last).toBe(false)
        }
      }),
    )
  })
})

describe('largestPrefixLength', () => {
  test('is the length of the largest prefix that prefixesOf gives', () => {
    fc.assert(
      fc.property(versionedRange, ({ range, version }) => {
        const lengths = Array.from(prefixesOf(range, version), ({ length }) => length)
        expect(largestPrefixLength(range, version)).toBe(Math.min(...lengths))
      }),
      { numRuns: 1000 },
    )
  })

  test('does not round up when the range is large enough but not aligned', () => {
    expect(largestPrefixLength({ first: 0n, last: 7n }, 4)).toBe(29)
    expect(largestPrefixLength({ first: 1n, last: 8n }, 4)).toBe(30)
    expect(largestPrefixLength({ first: 1n, last: 2n ** 128n - 1n }, 6)).toBe(1)
    expect(largestPrefixLength({ first: 0n, last: 2n ** 128n - 1n }, 6)).toBe(0)
  })

  test('refuses an empty range', () => {
    expect(() => largestPrefixLength({ first: 5n, last: 4n }, 4)).toThrow(RangeError)
  })
})
