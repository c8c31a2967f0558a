import { endOf, hex, toNumber } from './bytes.ts'
import type { Query } from './direct-sql.ts'
import { type Expected, expectRules } from './independent-rules.ts'

// What becomes of every address of a block, from interval to interval: bytes and bigint.

type Kind = 'free' | 'allocated' | 'held' | 'quarantined' | 'in_children' | 'kept' | 'rule'
/** Addresses that are something; the purpose is that of free space, or what they are kept for. */
type Piece = {
  readonly kind: Kind
  readonly first: bigint
  readonly last: bigint
  readonly purpose: string | null
}

const pieces = `
  select block_id, 'free' as kind, family(last) as family, ${hex('first')} as first,
    ${hex('last')} as last, 0 as length, purpose from free_ranges
  union all
  select block_id, 'kept', family(last), ${hex('first')}, ${hex('last')}, 0, purpose
  from kept_ranges
  union all
  select block_id, case when expires_at is null then 'allocated' else 'held' end, family(address),
    ${hex('address')}, null, masklen(address), null from allocations
  union all
  select block_id, 'quarantined', family(address), ${hex('address')}, null, masklen(address), null
  from quarantine
  union all
  select parent_id, 'in_children', family(cidr), ${hex('cidr::inet')}, null, masklen(cidr), null
  from blocks where parent_id is not null`

const blocks = `
  select b.id, b.cidr, family(b.cidr) as family, masklen(b.cidr) as length,
    ${hex('b.cidr::inet')} as first, b.excluded_octets, u.total::text, u.allocated::text,
    u.held::text, u.quarantined::text, u.excluded::text, u.in_children::text, u.free::text
  from blocks b left join block_usage u on u.block_id = b.id`

/** Every address of a block is just one thing, as its rules say, and counted as that. */
export async function findSpaceFaults(query: Query): Promise<string[]> {
  const expected = await expectRules(query)
  const piecesOf = new Map<unknown, Piece[]>()
  for (const { block_id, kind, family, first, last, length, purpose } of await query(pieces)) {
    const start = toNumber(first)
    const end = last === null ? endOf(start, Number(family), Number(length)) : toNumber(last)
    const found = piecesOf.get(block_id) ?? []
    piecesOf.set(block_id, found)
    found.push({
      kind: kind as Kind,
      first: start,
      last: end,
      purpose: purpose === null ? null : String(purpose),
    })
  }
  const found = await query(blocks)
  return [
    ...found.flatMap(block =>
      faultsOf(block, piecesOf.get(block.id) ?? [], expected.get(block.id)),
    ),
    ...expected.faults,
    ...(await findFaultsOfRuns(query)),
  ]
}

type Block = Readonly<Record<string, unknown>>

function faultsOf(block: Block, found: readonly Piece[], expected: Expected | undefined): string[] {
  const faults: string[] = []
  const fault = (text: string) => faults.push(`${block.cidr} (${block.id}) ${text}`)
  const first = toNumber(block.first)
  const last = endOf(first, Number(block.family), Number(block.length))
  const rules = (expected?.kept ?? []).map((kept): Piece => ({ kind: 'rule', ...kept }))
  const octets = block.excluded_octets as number[] | null
  const sizes: Record<string, bigint> = { excluded: 0n, free: 0n, total: last - first + 1n }
  for (const kind of ['allocated', 'held', 'quarantined', 'in_children']) sizes[kind] = 0n

  let next = first
  for (const { from, to, over } of intervals([...found, ...rules])) {
    const of = (...kinds: Kind[]) => over.filter(({ kind }) => kinds.includes(kind))
    const used = of('free', 'allocated', 'held', 'quarantined', 'in_children')
    const [kept, ...more] = of('kept')
    const rule = of('rule')[0] // The first of them counts.
    const where = `at ${from}-${to}: ${over.map(({ kind, purpose }) => `${kind} ${purpose}`)}`
    if (from !== next || to > last) fault(`reaches elsewhere ${where}`)
    next = to + 1n
    if (used.length > 1) fault(`has a place twice ${where}`)
    if (used.length === 0 && kept?.purpose !== null) fault(`has lost space ${where}`)
    if (more.length > 0) fault(`keeps a place twice ${where}`)
    if ((kept?.purpose ?? null) !== (rule?.purpose ?? null) || !kept !== !rule) {
      fault(`keeps what no rule says, or not what one says ${where}`)
    }
    const [one] = used
    const size = to - from + 1n
    if (one?.kind === 'free') {
      if (kept ? kept.purpose !== one.purpose : one.purpose !== '') fault(`has a purpose ${where}`)
      const skipped = countOctets(from, to, octets ?? [])
      sizes.excluded = (sizes.excluded ?? 0n) + skipped
      sizes.free = (sizes.free ?? 0n) + size - skipped
    } else {
      const kind = one?.kind ?? 'excluded'
      sizes[kind] = (sizes[kind] ?? 0n) + size
    }
  }
  if (next !== last + 1n) fault(`ends at ${next - 1n}, not at ${last}`)
  for (const [kind, size] of Object.entries(sizes)) {
    if (String(size) !== block[kind]) fault(`counts ${block[kind]} ${kind}, has ${size}`)
  }
  const isParent = (sizes.in_children ?? 0n) > 0n
  if (isParent && found.some(({ kind }) => kind !== 'free' && kind !== 'in_children')) {
    fault('has children, and something else')
  }
  return faults
}

/** The parts of the number line, as far as it is covered, and what is over each of them. */
function* intervals(all: readonly Piece[]) {
  const bounds = all.flatMap(piece => [
    { at: piece.first, piece, begins: true },
    { at: piece.last + 1n, piece, begins: false },
  ])
  bounds.sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at)))
  const ranks = new Map(all.map((piece, rank): [Piece, number] => [piece, rank]))
  const rankOf = (piece: Piece) => ranks.get(piece) ?? 0
  const open = new Set<Piece>()
  let from = bounds[0]?.at ?? 0n
  for (const { at, piece, begins } of bounds) {
    if (at > from) {
      // In the order in which the pieces were given: of rules the first one counts.
      const over = [...open].sort((a, b) => rankOf(a) - rankOf(b))
      if (open.size > 0) yield { from, to: at - 1n, over }
      from = at
    }
    if (begins) open.add(piece)
    else open.delete(piece)
  }
}

/** How many addresses of a run end in one of the octets, by looking at each of up to 512. */
function countOctets(first: bigint, last: bigint, octets: readonly number[]): bigint {
  if (octets.length === 0) return 0n
  const isExcluded = (value: bigint) => octets.includes(Number(value % 256n))
  let count = 0n
  let next = first
  while (next <= last && next % 256n !== 0n) count += BigInt(isExcluded(next++))
  const whole = next <= last ? (last + 1n - next) / 256n : 0n
  count += whole * BigInt(octets.length)
  next += whole * 256n
  while (next <= last) count += BigInt(isExcluded(next++))
  return count
}

const runs = `
  select f.block_id, b.cidr, b.strategy, family(f.last) as family, ${hex('f.first')} as first,
    ${hex('f.last')} as last, f.largest_prefix, f.free_since::text, f.purpose, f.pool,
    f.excluded_octets, b.excluded_octets as octets_of_block
  from free_ranges f join blocks b on b.id = f.block_id order by f.block_id, f.last`

/** What each run bears beside its addresses, and that neighbours which are alike are one. */
async function findFaultsOfRuns(query: Query): Promise<string[]> {
  const faults: string[] = []
  let before: Block | undefined
  for (const run of await query(runs)) {
    const fault = (what: string) => faults.push(`${run.cidr}: run ${run.first}-${run.last} ${what}`)
    const [first, last] = [toNumber(run.first), toNumber(run.last)]
    const octets = run.excluded_octets as number[] | null
    if (JSON.stringify(octets) !== JSON.stringify(run.octets_of_block)) fault('has other octets')
    const usable = last - first + 1n - countOctets(first, last, octets ?? [])
    if (run.pool !== (octets && usable > 0n ? run.purpose : null)) fault(`is in pool ${run.pool}`)
    const wanted = largestPrefix(first, last, Number(run.family))
    if (run.largest_prefix !== wanted) fault(`holds a /${wanted}, not a /${run.largest_prefix}`)
    const keepsAge = run.strategy === 'least_recently_used'
    if (keepsAge !== (run.free_since !== null)) fault(`is free since ${run.free_since}`)
    const alike = ['block_id', 'purpose', 'free_since'].every(key => before?.[key] === run[key])
    if (alike && before && toNumber(before.last) + 1n === first) fault('follows one like it')
    before = run
  }
  return faults
}

/** The length of the largest prefix in a run: the first, from the largest on, that fits. */
function largestPrefix(first: bigint, last: bigint, family: number): number {
  const bits = family === 4 ? 32 : 128
  for (let length = 0; ; length++) {
    const size = 1n << BigInt(bits - length)
    const start = first % size === 0n ? first : (first / size + 1n) * size
    if (start + size - 1n <= last) return length
  }
}
