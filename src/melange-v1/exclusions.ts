import { Fault } from './fault.ts'

/** What a policy can hold of ours. */
const offsetsMax = 64

type Range = { readonly offset: number | null; readonly length: number | null }

/**
 * Unusable ranges as the offsets of a policy: both ends are inclusive, and a negative one counts from
 * the end of a block. A range from there that is too long ends with the block, an empty one is none.
 *
 * @throws {Fault} 422 when there are more than a policy can hold
 */
export function offsetsOf(ranges: readonly Range[]): { from: string; to: string }[] {
  const ends = ranges.flatMap(({ offset, length }) => {
    if (offset === null || length === null) return []
    // An empty range at the start is the first address, as the original's address library has it.
    if (offset === 0 && length === 0) return [{ from: 0n, to: 0n }]
    if (length === 0) return []
    const to = BigInt(offset) + BigInt(length) - 1n
    return [{ from: BigInt(offset), to: offset < 0 && to > -1n ? -1n : to }]
  })
  const joined: { from: bigint; to: bigint }[] = []
  for (const end of ends.toSorted((a, b) => (a.from < b.from ? -1 : 1))) {
    const before = joined.at(-1)
    // -1 is the last address of a block and 0 its first: they are no neighbours.
    const isNeighbour = before && end.from <= before.to + 1n && before.from < 0n === end.from < 0n
    if (isNeighbour) before.to = end.to > before.to ? end.to : before.to
    else joined.push({ ...end })
  }
  if (joined.length > offsetsMax) {
    throw new Fault(422, `A policy can have ${offsetsMax} separate ranges at most`)
  }
  return joined.map(({ from, to }) => ({ from: String(from), to: String(to) }))
}

/**
 * Unusable octets as those of a policy. Others than 0 to 255 fit no address.
 *
 * @throws {Fault} 422 when none would be left
 */
export function octetsOf(rules: readonly { readonly octet: number | null }[]): number[] {
  const octets = rules.flatMap(({ octet }) =>
    octet !== null && octet >= 0 && octet <= 255 ? [octet] : [],
  )
  const all = [...new Set(octets)].toSorted((a, b) => a - b)
  if (all.length === 256) throw new Fault(422, 'A policy has to leave an octet')
  return all
}
