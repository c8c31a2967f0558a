import { addressBits, formatAddress, type IpVersion, parseAddress } from '../../src/ip/address.ts'
import { formatPrefix, type Prefix, parsePrefix } from '../../src/ip/prefix.ts'

// Arithmetic on space for the model: lists that are computed anew every time, nothing clever.

export type Range = { readonly first: bigint; readonly last: bigint }

export const bitsOf = ({ version }: { readonly version: IpVersion }) => addressBits(version)

export function sizeOf({ first, last }: Range): bigint {
  return last - first + 1n
}

export function total(ranges: readonly Range[]): bigint {
  return ranges.reduce((sum, range) => sum + sizeOf(range), 0n)
}

export function rangeOf(prefix: Prefix): Range {
  const size = 2n ** BigInt(bitsOf(prefix) - prefix.length)
  return { first: prefix.first, last: prefix.first + size - 1n }
}

export function isInside(inner: Range, outer: Range): boolean {
  return outer.first <= inner.first && inner.last <= outer.last
}

export function overlaps(a: Range, b: Range): boolean {
  return a.first <= b.last && b.first <= a.last
}

/** The same for prefixes, which may be of two versions. */
export function prefixIsInside(inner: Prefix, outer: Prefix): boolean {
  return inner.version === outer.version && isInside(rangeOf(inner), rangeOf(outer))
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixIsInside(a, b) || prefixIsInside(b, a)
}

/** What of the ranges none of the holes covers, lowest first. */
export function subtract(ranges: readonly Range[], holes: readonly Range[]): Range[] {
  let left = [...ranges]
  for (const hole of holes) {
    left = left.flatMap(range => {
      if (!overlaps(range, hole)) return [range]
      const below = { first: range.first, last: hole.first - 1n }
      const above = { first: hole.last + 1n, last: range.last }
      return [below, above].filter(({ first, last }) => first <= last)
    })
  }
  return left.sort(byFirst)
}

/** The same addresses, what touches as one; the ranges come lowest first and do not overlap. */
export function joined(ranges: readonly Range[]): Range[] {
  const runs: Range[] = []
  for (const range of ranges) {
    const before = runs.at(-1)
    if (before && before.last + 1n === range.first) {
      runs[runs.length - 1] = { ...before, last: range.last }
    } else runs.push(range)
  }
  return runs
}

/** The largest prefixes of which a range consists, lowest first. */
export function prefixesIn(range: Range, version: IpVersion): Prefix[] {
  const prefixes: Prefix[] = []
  for (let first = range.first; first <= range.last; ) {
    let length = 0
    while (!fits({ version, first, length }, range)) length += 1
    prefixes.push({ version, first, length })
    first = rangeOf({ version, first, length }).last + 1n
  }
  return prefixes
}

function fits(prefix: Prefix, range: Range): boolean {
  const isAligned = prefix.first % sizeOf(rangeOf(prefix)) === 0n
  return isAligned && isInside(rangeOf(prefix), range)
}

/**
 * Best fit: of the runs that hold a prefix of this length, that whose largest prefix is the
 * smallest, the lowest of several; in it the lowest place, unless the highest breaks a smaller one.
 */
export function bestFit(
  runs: readonly Range[],
  { version, length }: { version: IpVersion; length: number },
): Prefix | null {
  if (length > addressBits(version)) return null
  let best: { piece: number; place: Prefix } | null = null
  for (const run of runs) {
    const pieces = prefixesIn(run, version).filter(piece => piece.length <= length)
    const [lowest, highest] = [pieces.at(0), pieces.at(-1)]
    if (!lowest || !highest) continue
    const largest = Math.min(...pieces.map(piece => piece.length))
    if (best && largest <= best.piece) continue
    const size = 2n ** BigInt(addressBits(version) - length)
    const first = highest.length > lowest.length ? rangeOf(highest).last - size + 1n : lowest.first
    best = { piece: largest, place: { version, first, length } }
  }
  return best?.place ?? null
}

/** An address or a CIDR as the database writes it. */
export function readPrefix(text: string): Prefix {
  const address = parseAddress(text)
  if (address) return singleOf(address.version, address.value)
  const parsed = parsePrefix(text)
  if (!parsed || parsed.host_bits) throw new Error(`not an address or a CIDR: ${text}`)
  return parsed.prefix
}

/** A prefix as an allocation shows it: one of full length is an address. */
export function showPrefix(prefix: Prefix): string {
  const { version, first: value } = prefix
  return prefix.length === bitsOf(prefix) ? formatAddress({ version, value }) : formatPrefix(prefix)
}

export function singleOf(version: IpVersion, first: bigint): Prefix {
  return { version, first, length: addressBits(version) }
}

export function byFirst(a: { first: bigint }, b: { first: bigint }): number {
  return a.first < b.first ? -1 : Number(a.first > b.first)
}

/** IPv4 before IPv6, then by address, then the larger first: the order of a list of CIDRs. */
export function byPrefix(a: Prefix, b: Prefix): number {
  return a.version - b.version || byFirst(a, b) || a.length - b.length
}
