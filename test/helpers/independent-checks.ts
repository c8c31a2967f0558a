import type { Query } from './direct-sql.ts'

// What must be true of a database, computed by other means than the product and its audit:
// plain queries, addresses as bytes (inet_send), and arithmetic on bigint here.

const hex = (address: string) => `substr(encode(inet_send(${address}), 'hex'), 9)`

const pairs: Readonly<Record<string, string>> = {
  'one address, two current allocations': `
    select scope_id, address, count(*) from allocations
    group by scope_id, address having count(*) > 1`,

  'current allocations overlap': `
    select a.address as one, b.address as other from allocations a
    join allocations b on a.scope_id = b.scope_id and a.id <> b.id and a.address >>= b.address`,

  'blocks of a scope overlap, and neither holds the other as a descendant': `
    with recursive ancestors as (
      select id, parent_id as ancestor from blocks where parent_id is not null
      union all
      select a.id, b.parent_id from ancestors a join blocks b on b.id = a.ancestor
      where b.parent_id is not null
    )
    select a.cidr as one, b.cidr as other from blocks a
    join blocks b on a.scope_id = b.scope_id and a.id < b.id and a.cidr && b.cidr
    where not exists (
      select from ancestors x
      where (x.id, x.ancestor) = (a.id, b.id) or (x.id, x.ancestor) = (b.id, a.id))`,

  'an allocation outside its block': `
    select a.id, a.address from allocations a left join blocks b on b.id = a.block_id
    where b.id is null or not a.address <<= b.cidr or a.scope_id <> b.scope_id`,

  'an allocation in a block that has children': `
    select a.id, a.address from allocations a
    where exists (select from blocks c where c.parent_id = a.block_id)`,

  'two held one address at the same time': `
    with held as (
      select id, scope_id, address, started_at, ended_at from allocation_history
      union all
      select id, scope_id, address, started_at, 'infinity' from allocations
    )
    select a.address as one, b.address as other, a.started_at, b.started_at as other_started_at
    from held a join held b on a.scope_id = b.scope_id and a.address = b.address and a.id < b.id
      and a.started_at < b.ended_at and b.started_at < a.ended_at`,

  'an address was held while its prefix was': `
    with held as (
      select id, scope_id, address, started_at, ended_at from allocation_history
      union all
      select id, scope_id, address, started_at, 'infinity' from allocations
    )
    select a.address as one, b.address as other, a.started_at, b.started_at as other_started_at
    from (select * from held where masklen(address) < length(inet_send(address)) * 8 - 32) a
    join held b on a.scope_id = b.scope_id and a.address >> b.address
      and a.started_at < b.ended_at and b.started_at < a.ended_at`,

  'an allocation both current and ended': `
    select id from allocations join allocation_history using (id)`,
}

/** Every contradiction in what the database holds now. */
export async function findContradictions(query: Query): Promise<string[]> {
  const found: string[] = []
  for (const [name, text] of Object.entries(pairs)) {
    const rows = await query(`select * from (${text}) pairs limit 20`)
    found.push(...rows.map(row => `${name}: ${JSON.stringify(row)}`))
  }
  return [...found, ...(await findGaps(query)), ...(await findEventFaults(query))]
}

type Piece = { readonly kind: string; readonly first: bigint; readonly last: bigint }

/** The pieces of each block must tile it, and its counts must be their sums. */
async function findGaps(query: Query): Promise<string[]> {
  const blocks = await query(`
    select b.id, b.cidr, family(b.cidr) as family, masklen(b.cidr) as length,
      ${hex('b.cidr::inet')} as first, ${hex('b.gateway_ip')} as gateway,
      b.gateway_ip <<= b.cidr as has_gateway, b.allocate_network_address,
      u.total::text, u.allocated::text, u.excluded::text, u.in_children::text, u.free::text
    from blocks b left join block_usage u on u.block_id = b.id`)
  const pieces = await query(`
    select block_id, 'free' as kind, family(last) as family, ${hex('first')} as first,
      ${hex('last')} as last, 0 as length from free_ranges
    union all
    select block_id, 'allocated', family(address), ${hex('address')}, null, masklen(address)
    from allocations
    union all
    select parent_id, 'in_children', family(cidr), ${hex('cidr::inet')}, null, masklen(cidr)
    from blocks where parent_id is not null`)
  const piecesOf = new Map<unknown, Piece[]>()
  for (const { block_id, kind, family, first, last, length } of pieces) {
    const start = BigInt(`0x${first}`)
    const end = last === null ? endOf(start, Number(family), Number(length)) : BigInt(`0x${last}`)
    const piece = { kind: String(kind), first: start, last: end }
    piecesOf.set(block_id, [...(piecesOf.get(block_id) ?? []), piece])
  }
  return blocks.flatMap(block => faultsOf(block, piecesOf.get(block.id) ?? []))
}

const endOf = (first: bigint, family: number, length: number) =>
  first + (1n << BigInt((family === 4 ? 32 : 128) - length)) - 1n

function faultsOf(block: Record<string, unknown>, found: readonly Piece[]): string[] {
  const [family, length] = [Number(block.family), Number(block.length)]
  const first = BigInt(`0x${block.first}`)
  const last = endOf(first, family, length)
  const isParent = found.some(({ kind }) => kind === 'in_children')
  const kept = new Set<bigint>()
  if (!isParent) {
    const hasEnds = family === 4 ? length < 31 : length >= 64 && length < 127
    if (hasEnds && !block.allocate_network_address) kept.add(first)
    if (hasEnds && family === 4) kept.add(last)
    if (block.has_gateway === true) kept.add(BigInt(`0x${block.gateway}`))
  }
  const excluded = [...kept].map(address => ({ kind: 'excluded', first: address, last: address }))
  const pieces = [...found, ...excluded].sort((a, b) => (a.first < b.first ? -1 : 1))
  const faults: string[] = []
  let next = first
  for (const piece of pieces) {
    if (piece.first !== next) {
      faults.push(`${block.cidr}: ${piece.kind} begins at ${piece.first}, expected ${next}`)
    }
    next = piece.last + 1n
  }
  if (next !== last + 1n) faults.push(`${block.cidr} ends at ${next - 1n}, not at ${last}`)
  for (const kind of ['free', 'allocated', 'excluded', 'in_children']) {
    const size = pieces
      .filter(piece => piece.kind === kind)
      .reduce((sum, piece) => sum + piece.last - piece.first + 1n, 0n)
    // In a parent, what is free for more children is counted as free, too.
    if (String(size) !== block[kind])
      faults.push(`${block.cidr}: ${size} ${kind}, not ${block[kind]}`)
  }
  if (String(last - first + 1n) !== block.total) faults.push(`${block.cidr}: ${block.total} in all`)
  return faults
}

const changes: Readonly<Record<string, readonly string[]>> = {
  allocation: ['created', 'updated', 'released'],
  block: ['created', 'updated', 'deleted'],
  address_scope: ['created', 'updated', 'deleted'],
}

/** The events of each object tell its whole life, in order, up to its present state. */
async function findEventFaults(query: Query): Promise<string[]> {
  const events = await query(`
    select type, object_id, (data ->> 'generation')::int as generation from events
    where split_part(type, '.', 2) not in ('threshold_reached', 'threshold_left') order by seq`)
  const present = new Map<unknown, { generation: number; isGone: boolean }>()
  const faults: string[] = []
  for (const { type, object_id, generation } of events) {
    const [kind = '', change = ''] = String(type).split('.')
    const before = present.get(object_id)
    const step = change === 'deleted' ? 0 : 1
    const isNext = before
      ? !before.isGone && Number(generation) === before.generation + step
      : change === 'created' && Number(generation) === 1
    if (!isNext || !changes[kind]?.includes(change)) {
      faults.push(`${type} ${generation} of ${object_id} follows ${before?.generation}`)
    }
    const isGone = change === 'deleted' || change === 'released'
    present.set(object_id, { generation: Number(generation), isGone })
  }
  const objects = await query(`
    select id, generation, false as is_gone from allocations
    union all select id, generation, true from allocation_history
    union all select id, generation, false from blocks
    union all select id, generation, false from address_scopes where project_id is not null`)
  for (const { id, generation, is_gone } of objects) {
    const told = present.get(id)
    present.delete(id)
    if (told?.generation !== Number(generation) || told.isGone !== is_gone) {
      faults.push(`${id} has generation ${generation}, events say ${JSON.stringify(told)}`)
    }
  }
  const lost = [...present].filter(([, { isGone }]) => !isGone)
  return [...faults, ...lost.map(([id]) => `events know ${id}, the tables do not`)]
}
