import { type Sql, sql } from '../db/sql.ts'

// Each check finds rows (subject, detail) that contradict an invariant of docs/architecture.md.
// It starts from allocations and blocks, and uses none of the functions that maintain the rest.

const bits = (address: Sql) => sql`case family(${address}) when 4 then 32 else 128 end`
const firstOf = (prefix: Sql) => sql`set_masklen(network(${prefix})::inet, ${bits(prefix)})`
const lastOf = (prefix: Sql) => sql`set_masklen(broadcast(${prefix}), ${bits(prefix)})`
const countOf = (prefix: Sql) =>
  sql`power(2::numeric, ${bits(prefix)} - masklen(${prefix}))::numeric(39, 0)`

const isLeaf = sql`not exists (select from blocks c where c.parent_id = b.id)`

/** The addresses that a block without children keeps back, from the rules as they are documented. */
const excluded = sql`
  select distinct b.id as block_id, e.address
  from blocks b cross join lateral (
    select ${firstOf(sql`b.cidr`)} as address
    where not b.allocate_network_address
      and (family(b.cidr) = 4 and masklen(b.cidr) <= 30
        or family(b.cidr) = 6 and masklen(b.cidr) between 64 and 126)
    union all
    select ${lastOf(sql`b.cidr`)} where family(b.cidr) = 4 and masklen(b.cidr) <= 30
    union all
    select b.gateway_ip where b.gateway_ip <<= b.cidr::inet
  ) e
  where ${isLeaf}`

/** Everything that a block's addresses are divided into. */
const pieces = sql`
  select block_id, 'free' as kind, first, last from free_ranges
  union all
  select block_id, 'allocated', ${firstOf(sql`address`)}, ${lastOf(sql`address`)} from allocations
  union all
  select block_id, 'excluded', address, address from (${excluded}) x
  union all
  select parent_id, 'child', ${firstOf(sql`cidr`)}, ${lastOf(sql`cidr`)} from blocks
  where parent_id is not null`

/** Every allocation that there is or was; without `ended_at` while it lasts. */
const held = sql`
  select id, scope_id, address, is_prefix, generation, started_at, ended_at from allocation_history
  union all
  select id, scope_id, address, is_prefix, generation, started_at, null::timestamptz from allocations`

/** What lies inside prefix p. The offset keeps this a look into the index for each prefix. */
const insideOf = (select: Sql) => sql`(
  ${select} where scope_id = p.scope_id and address > p.address
    and address <= ${lastOf(sql`p.address`)} offset 0)`

const nothingRemoved = sql`exists (select from event_horizon where removed_through = 0)`

export const checks: Readonly<Record<string, Sql>> = {
  'I1 address held twice': sql`
    select scope_id::text || ' ' || address as subject, 'also held as ' || before as detail
    from (
      select scope_id, address, lag(address) over w as before,
        max(${lastOf(sql`address`)}) over (
          partition by scope_id, family(address) order by ${firstOf(sql`address`)}, id
          rows between unbounded preceding and 1 preceding) as taken_to
      from allocations
      window w as (partition by scope_id, family(address) order by ${firstOf(sql`address`)}, id)
    ) held
    where taken_to >= ${firstOf(sql`address`)}`,

  'I2 siblings overlap': sql`
    select a.cidr::text as subject, 'overlaps ' || b.cidr as detail
    from blocks a join blocks b on coalesce(a.parent_id, a.scope_id) = coalesce(b.parent_id, b.scope_id)
      and a.id < b.id and a.cidr && b.cidr::inet`,

  'I2 blocks of a network overlap': sql`
    select a.cidr::text as subject, 'overlaps ' || b.cidr || ' in network ' || a.network_id as detail
    from (
      select c.* from blocks c left join blocks p on p.id = c.parent_id
      where c.network_id is not null and p.network_id is null
    ) a join (
      select c.* from blocks c left join blocks p on p.id = c.parent_id
      where c.network_id is not null and p.network_id is null
    ) b on a.network_id = b.network_id and a.id < b.id and a.cidr && b.cidr::inet`,

  'I2 child outside its parent': sql`
    select c.cidr::text as subject, 'parent ' || p.cidr as detail
    from blocks c join blocks p on p.id = c.parent_id
    where not c.cidr <<= p.cidr or c.scope_id <> p.scope_id or c.parent_cidr <> p.cidr
      or p.network_id is not null and c.network_id is distinct from p.network_id`,

  'I3 allocation outside its block': sql`
    select a.id::text as subject, a.address || ' in block ' || coalesce(b.cidr::text, 'none') as detail
    from allocations a left join blocks b on b.id = a.block_id
    where b.id is null or not a.address <<= b.cidr::inet or a.scope_id <> b.scope_id`,

  'I3 block with children and allocations': sql`
    select b.cidr::text as subject, b.id::text as detail from blocks b
    where exists (select from allocations a where a.block_id = b.id) and not ${isLeaf}`,

  // Sorted, the pieces of a block must follow each other from its first address to its last.
  'I3 space lost or used twice': sql`
    select cidr::text as subject, kind || ' ' || first || '-' || last || ' follows ' ||
      coalesce(before::text, 'the start') as detail
    from (
      select b.cidr, p.kind, p.first, p.last, lag(p.last) over w as before, lead(p.first) over w as after
      from blocks b left join (${pieces}) p on p.block_id = b.id
      window w as (partition by b.id order by p.first, p.last)
    ) sorted
    where first is null
      or before is null and first <> ${firstOf(sql`cidr`)}
      or before is not null and (before >= first or before + 1 <> first)
      or after is null and last <> ${lastOf(sql`cidr`)}`,

  'I3 free neighbours not joined': sql`
    select block_id::text as subject, before || ' and ' || first as detail
    from (
      select *, lag(last) over w as before, lag(free_since) over w as before_since
      from free_ranges window w as (partition by block_id order by last)
    ) sorted
    where before < first and before + 1 = first and before_since is not distinct from free_since`,

  'I3 ages of free space': sql`
    select b.cidr::text as subject, f.first || '-' || f.last || ' since ' ||
      coalesce(f.free_since::text, 'nothing') as detail
    from free_ranges f join blocks b on b.id = f.block_id
    where ${isLeaf} and (b.strategy = 'least_recently_used') <> (f.free_since is not null)`,

  'I3 counts': sql`
    select b.cidr::text as subject,
      format('counts (total, allocated, excluded, in_children, held + quarantined) %s, has %s',
        (u.total, u.allocated, u.excluded, u.in_children, u.held + u.quarantined),
        (t.total, t.allocated, t.excluded, t.in_children, 0)) as detail
    from blocks b left join block_usage u on u.block_id = b.id,
      lateral (
        select ${countOf(sql`b.cidr`)} as total,
          (select coalesce(sum(${countOf(sql`a.address`)}), 0) from allocations a
            where a.block_id = b.id and a.scope_id = b.scope_id and a.address <<= b.cidr::inet) as allocated,
          (select count(*) from (${excluded}) x where x.block_id = b.id) as excluded,
          (select coalesce(sum(${countOf(sql`c.cidr`)}), 0) from blocks c where c.parent_id = b.id)
            as in_children
      ) t
    where (u.total, u.allocated, u.excluded, u.in_children, u.held + u.quarantined)
      is distinct from (t.total, t.allocated, t.excluded, t.in_children, 0::numeric)`,

  'I4 address held by two at one time': sql`
    select scope_id::text || ' ' || address as subject,
      'from ' || started_at || ', but the holder before until ' || coalesce(before::text, 'now') as detail
    from (
      select *, lag(id) over w as earlier, lag(coalesce(ended_at, 'infinity')) over w as before
      from (${held}) held
      window w as (partition by scope_id, address order by started_at, ended_at nulls last)
    ) sorted
    where earlier is not null and before > started_at
    union all
    select p.scope_id::text || ' ' || a.address,
      'from ' || a.started_at || ', in ' || p.address || ', held from ' || p.started_at
    from (${held}) p cross join lateral (
      ${insideOf(sql`select address, started_at, null::timestamptz as ended_at from allocations`)}
      union all
      ${insideOf(sql`select address, started_at, ended_at from allocation_history`)}
    ) a
    where p.is_prefix and a.started_at < coalesce(p.ended_at, 'infinity')
      and p.started_at < coalesce(a.ended_at, 'infinity')`,

  'I4 allocation both current and ended': sql`
    select a.id::text as subject, a.address::text as detail
    from allocations a join allocation_history h on h.id = a.id`,

  'I4 allocation gone from the record': sql`
    select e.object_id::text as subject, 'known from event ' || min(e.seq) as detail
    from events e left join (${held}) h on h.id = e.object_id
    where e.type like 'allocation.%' and h.id is null
    group by e.object_id`,

  // The last event of what is deleted shows it as it was before. The ids of networks are chosen by
  // callers, who may use them again.
  'I9 events out of order': sql`
    select object_id::text as subject, 'generation ' || generation || ' at event ' || seq as detail
    from (
      select object_id, type, seq, (data ->> 'generation')::int as generation,
        lag((data ->> 'generation')::int) over w as before, lag(type) over w as type_before
      from events
      where type not like '%.threshold%' -- Those change no generation.
      window w as (partition by object_id, split_part(type, '.', 1) order by seq)
    ) sorted
    where generation <> case
        when type_before = 'network.deleted' then (type = 'network.created')::int
        when type like '%.deleted' then before else before + 1 end
      or before is null and generation <> 1 and ${nothingRemoved}`,

  // Only while all events are kept, and of what is younger than the oldest of them.
  'I9 change without its event': sql`
    select o.id::text as subject, 'no event of generation ' || o.generation as detail
    from (
      select id, generation, started_at as since from (${held}) held
      union all
      select id, generation, created_at from blocks
      union all
      select id, generation, created_at from address_scopes where project_id is not null
      union all
      select id, generation, created_at from networks
    ) o
      left join events e on e.object_id = o.id and (e.data ->> 'generation')::int = o.generation
    where e.seq is null and ${nothingRemoved}
      and o.since > (select coalesce(min(at), 'infinity') from events)`,
}
