import type { Query } from './direct-sql.ts'
import { findSpaceFaults } from './independent-space.ts'

// What must be true of a database, computed by other means than the product and its audit:
// plain queries, addresses as bytes (inet_send), and arithmetic on bigint here.

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

  'an address held and in quarantine': `
    select a.address as one, q.address as other from allocations a
    join quarantine q on a.scope_id = q.scope_id and a.address && q.address`,

  'two overlap in quarantine': `
    select a.address as one, b.address as other from quarantine a
    join quarantine b on a.scope_id = b.scope_id and a.allocation_id < b.allocation_id
      and a.address && b.address`,

  'quarantine of what has not ended so': `
    select q.allocation_id, q.address from quarantine q
    where not exists (
      select from allocation_history h
      where h.id = q.allocation_id and h.scope_id = q.scope_id and h.block_id = q.block_id
        and h.address = q.address and masklen(h.address) = masklen(q.address)
        and h.ended_at = q.ended_at and h.quarantined_until = q.quarantined_until)`,

  'quarantine in no leaf that holds its address': `
    select q.allocation_id, q.address from quarantine q
    where not exists (
      select from blocks b where b.id = q.block_id and b.scope_id = q.scope_id
        and b.cidr >>= q.address and not exists (select from blocks c where c.parent_id = b.id))`,

  'an end with a quarantine that was over before': `
    select id, ended_at, quarantined_until from allocation_history
    where quarantined_until <= ended_at`,
}

/** Every contradiction in what the database holds now. */
export async function findContradictions(query: Query): Promise<string[]> {
  const found: string[] = []
  for (const [name, text] of Object.entries(pairs)) {
    const rows = await query(`select * from (${text}) pairs limit 20`)
    found.push(...rows.map(row => `${name}: ${JSON.stringify(row)}`))
  }
  for (const find of [findSpaceFaults, findCountsOfProjects, findEventFaults]) {
    found.push(...(await find(query)))
  }
  return found
}

/** What each project has, in each scope and in all of them, against what is counted. */
async function findCountsOfProjects(query: Query): Promise<string[]> {
  const things = await query(`
    select project_id, scope_id, false as is_block, family(address) as family,
      masklen(address) as length from allocations
    union all
    select project_id, scope_id, true, null, null from blocks where project_id is not null`)
  type Counts = { allocations: number; ipv6_64s: bigint; blocks: number }
  const counts = new Map<string, Counts>()
  for (const { project_id, scope_id, is_block, family, length } of things) {
    for (const place of [scope_id, null]) {
      const key = JSON.stringify([project_id, place])
      const count = counts.get(key) ?? { allocations: 0, ipv6_64s: 0n, blocks: 0 }
      counts.set(key, count)
      if (is_block) count.blocks += 1
      else count.allocations += 1
      if (family === 6 && Number(length) <= 64) count.ipv6_64s += 1n << BigInt(64 - Number(length))
    }
  }
  const stored = await query(`
    select project_id, scope_id, allocations::text, ipv6_64s::text, blocks::text from project_usage`)
  const faults: string[] = []
  for (const { project_id, scope_id, ...row } of stored) {
    const key = JSON.stringify([project_id, scope_id])
    const { allocations, ipv6_64s, blocks } = counts.get(key) ?? {
      allocations: 0,
      ipv6_64s: 0n,
      blocks: 0,
    }
    counts.delete(key)
    const right = [allocations, ipv6_64s, blocks].join()
    const shown = [row.allocations, row.ipv6_64s, row.blocks].join()
    if (shown !== right) faults.push(`${key} counts ${shown}, has ${right}`)
  }
  return [...faults, ...[...counts.keys()].map(key => `${key} is not counted`)]
}

const changes: Readonly<Record<string, readonly string[]>> = {
  allocation: ['created', 'updated', 'renewed', 'confirmed', 'released', 'expired'],
  block: ['created', 'updated', 'deleted'],
  network: ['created', 'updated', 'deleted'],
  policy: ['created', 'updated', 'deleted'],
  address_scope: ['created', 'updated', 'deleted'],
  quota: ['updated', 'deleted'],
  floating_ip: ['created', 'updated', 'associated', 'moved', 'disassociated', 'deleted'],
  interface: ['created', 'updated', 'deleted'],
  allowed_address: ['created', 'updated', 'deleted'],
  mac_range: ['created', 'updated', 'deleted'],
  mac: ['created', 'released'],
  block_route: ['created', 'updated', 'deleted'],
  dhcp_option: ['created', 'updated', 'deleted'],
}
/** Things whose ids callers may use again. */
const reusable = ['network', 'floating_ip', 'interface']
/** What is made by the first change of it. */
const firstOf = (kind: string) => (kind === 'quota' ? 'updated' : 'created')

/** The events of each object tell its whole life, in order, up to its present state. */
async function findEventFaults(query: Query): Promise<string[]> {
  const events = await query(`
    select type, object_id, coalesce((data ->> 'generation')::int, 1) as generation from events
    where split_part(type, '.', 2) not in ('threshold_reached', 'threshold_left')
      and split_part(type, '.', 1) not in ('nat_mapping', 'lease') order by seq`)
  // What the migration made has no event of its beginning.
  const builtIn = await query(`select id from address_scopes where project_id is null`)
  const present = new Map<unknown, { generation: number; isGone: boolean }>(
    builtIn.map(({ id }) => [id, { generation: 1, isGone: false }]),
  )
  const faults: string[] = []
  for (const { type, object_id, generation } of events) {
    const [kind = '', change = ''] = String(type).split('.')
    const before = present.get(object_id)
    const step = change === 'deleted' || kind === 'mac' ? 0 : 1
    const isAgain = reusable.includes(kind) && before?.isGone
    const isNext =
      before && !isAgain
        ? !before.isGone && Number(generation) === before.generation + step
        : change === firstOf(kind) && Number(generation) === 1
    if (!isNext || !changes[kind]?.includes(change)) {
      faults.push(`${type} ${generation} of ${object_id} follows ${before?.generation}`)
    }
    const isGone = ['deleted', 'released', 'expired'].includes(change)
    present.set(object_id, { generation: Number(generation), isGone })
  }
  const objects = await query(`
    select id, generation, false as is_gone from allocations
    union all select id, generation, true from allocation_history
    union all select id, generation, false from blocks
    union all select id, generation, false from networks
    union all select id, generation, false from policies
    union all select id, generation, false from floating_ips
    union all select id, generation, false from interfaces
    union all select id, generation, false from allowed_addresses
    union all select id, generation, false from mac_ranges
    union all select id, generation, false from block_routes
    union all select id, generation, false from dhcp_options
    union all select id, 1, false from macs
    union all select id, 1, true from mac_history
    union all select id, generation, false from address_scopes
    union all select id, generation, false from quotas`)
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
