import { addressBits, type IpVersion, type Range } from './address.ts'
import type { Prefix } from './prefix.ts'

// Defined in address.ts, because prefix.ts needs it and this file needs prefix.ts: no cycle.
export type { Range } from './address.ts'

/** The number of addresses in a range. */
export function rangeSize({ first, last }: Range): bigint {
  return last - first + 1n
}

/** The parts of `pool` that no range in `taken` covers, lowest first. */
export function freeRanges(pool: Range, taken: readonly Range[]): Range[] {
  const free: Range[] = []
  let next = pool.first // Every address below `next` is already decided.
  for (const range of taken.toSorted(byFirst)) {
    if (range.last < next) continue
    if (range.first > pool.last) break
    if (range.first > next) free.push({ first: next, last: range.first - 1n })
    next = range.last + 1n
  }
  if (next <= pool.last) free.push({ first: next, last: pool.last })
  return free
}

/** The same addresses in the fewest ranges, lowest first: what overlaps or touches becomes one. */
export function mergeRanges(ranges: readonly Range[]): Range[] {
  const merged: Range[] = []
  for (const range of ranges.toSorted(byFirst)) {
    const previous = merged.at(-1) // Nothing in `merged` reaches higher than this one.
    if (!previous || range.first > previous.last + 1n) merged.push(range)
    else if (range.last > previous.last) {
      merged[merged.length - 1] = { first: previous.first, last: range.last }
    }
  }
  return merged
}

/** The fewest prefixes (RFC 4632 §3.1) that cover a range exactly, lowest first. */
export function* prefixesOf(range: Range, version: IpVersion): Generator<Prefix> {
  let first = range.first // Every address below `first` is already covered.
  while (first <= range.last) {
    const alignment = first & -first // The lowest bit that is set: 0 at address 0, which fits all.
    const room = floorLog2(range.last - first + 1n)
    const hostBits = alignment === 0n ? room : Math.min(room, floorLog2(alignment))
    yield { version, first, length: addressBits(version) - hostBits }
    first += 1n << BigInt(hostBits)
  }
}

/** The length of the largest aligned prefix (RFC 4632 §3.1) inside a range. */
export function largestPrefixLength(range: Range, version: IpVersion): number {
  // With 2^n addresses or more, a prefix of 2^(n-1) always fits, and one of 2^n if it is aligned.
  const hostBits = floorLog2(rangeSize(range))
  const size = 1n << BigInt(hostBits)
  const aligned = (range.first + size - 1n) & -size
  const fits = aligned + size - 1n <= range.last
  return addressBits(version) - (fits ? hostBits : hostBits - 1)
}

function byFirst(a: Range, b: Range): number {
  return a.first < b.first ? -1 : Number(a.first > b.first)
}

function floorLog2(value: bigint): number {
  if (value < 1n) throw new RangeError('an empty range has no prefix')
  return value.toString(2).length - 1
}
