import { type Sql, sql } from '../db/sql.ts'
import { countOf, firstOf, lastOf, numberOf, runOf } from './prefixes-store.ts'

// The space of blocks: what each is divided into, how that is counted and found (I2, I3, I6).

const isLeaf = sql`not exists (select from blocks c where c.parent_id = b.id)`

const startOf = (prefix: Sql) => sql`case when is_prefix then ${firstOf(prefix)} else ${prefix} end`
const endOf = (prefix: Sql) => sql`case when is_prefix then ${lastOf(prefix)} else ${prefix} end`

/** What is somebody's, a child's, or free; and, as `kept`, what belongs to nobody else. */
const pieces = sql`
  select block_id, 'free' as kind, first, last from free_ranges
  union all
  select block_id, case when expires_at is null then 'allocated' else 'held' end,
    ${startOf(sql`address`)}, ${endOf(sql`address`)}
  from allocations
  union all
  select block_id, 'quarantined', ${firstOf(sql`address`)}, ${lastOf(sql`address`)} from quarantine
  union all
  select parent_id, 'given to a child', ${firstOf(sql`cidr`)}, ${lastOf(sql`cidr`)} from blocks
  where parent_id is not null
  union all
  select block_id, 'kept', first, last from kept_ranges where purpose is null`

/** Free runs with their ends as numbers; `behind` is the number after the last address. */
const runs = sql`
  select f.block_id, f.first, f.last, f.purpose, f.largest_prefix, f.pool, f.excluded_octets,
    ${numberOf(sql`f.first`)} as low, ${numberOf(sql`f.last`)} + 1 as behind
  from free_ranges f offset 0`

/** How many addresses of a run are skipped for their last octet: those below its end, less those
 * below its beginning. */
const skipped = sql`case when excluded_octets <> '{}' then (
    select sum(div(behind + 255 - o, 256) - div(low + 255 - o, 256)) from unnest(excluded_octets) o)
  else 0 end`

/** Counts of what is in use: a row for each block that has anything. */
const used = sql`
  select block_id, sum(size) filter (where kind = 'allocated') as allocated,
    sum(size) filter (where kind = 'held') as held,
    sum(size) filter (where kind = 'quarantined') as quarantined,
    sum(size) filter (where kind = 'in_children') as in_children
  from (
    select block_id, case when expires_at is null then 'allocated' else 'held' end as kind,
      ${countOf(sql`address`)} as size from allocations
    union all
    select block_id, 'quarantined', ${countOf(sql`address`)} from quarantine
    union all
    select parent_id, 'in_children', ${countOf(sql`cidr`)} from blocks where parent_id is not null
  ) sizes
  group by block_id`

/** What is free, and how much of that is not for single addresses. */
const free = sql`
  select block_id, sum(behind - low) as size, sum(${skipped}) as skipped
  from (${runs}) runs group by block_id`

const counted = (u: Sql) => sql`(${u}.total, ${u}.allocated, ${u}.held, ${u}.quarantined,
  ${u}.excluded, ${u}.in_children)`

/** Whether a prefix with 2^exponent addresses lies in a run: it starts at a multiple of that. */
const holds = (exponent: Sql) => sql`
  div(low + power(2::numeric, ${exponent}) - 1, power(2::numeric, ${exponent}))
    * power(2::numeric, ${exponent}) + power(2::numeric, ${exponent}) <= behind`

export const spaceChecks: Readonly<Record<string, Sql>> = {
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

  // Sorted by their first addresses, all pieces leave no gap from the first address of the block to
  // the last one, and those that are not just kept from everyone share no address: what is kept
  // back may be somebody's who had it before.
  'I3 space lost or used twice': sql`
    select cidr::text as subject, case
        when first is null then 'nothing is known of its space'
        when kind <> 'kept' and used_to >= first then kind || ' ' || ${runOf(sql`first`, sql`last`)}
          || ' begins below ' || host(used_to) || ', up to which it is in use or free already'
        else 'what becomes of the addresses next to ' || ${runOf(sql`first`, sql`last`)} || ' ('
          || kind || ') is not known' end as detail
    from (
      select b.cidr, p.kind, p.first, p.last, max(p.last) over before as covered_to,
        max(p.last) filter (where p.kind <> 'kept') over before as used_to,
        row_number() over (partition by b.id order by p.first desc, p.last desc, p.kind desc) = 1
          as is_last
      from blocks b left join (${pieces}) p on p.block_id = b.id
      window before as (partition by b.id order by p.first, p.last, p.kind
        rows between unbounded preceding and 1 preceding)
    ) sorted
    where first is null
      or case when covered_to is null then first <> ${firstOf(sql`cidr`)}
        when covered_to < first then covered_to + 1 < first else false end
      or kind <> 'kept' and used_to >= first
      or is_last and greatest(last, covered_to) <> ${lastOf(sql`cidr`)}`,

  // Kept ranges are disjoint, or the rules are out of date: a run can be in none but the first that
  // does not end before it.
  'I3 free space of a wrong purpose': sql`
    select b.cidr::text as subject, ${runOf(sql`f.first`, sql`f.last`)} || ' is free for '
      || coalesce(nullif(f.purpose, ''), 'every purpose') || ', not for '
      || case when k.last is null then 'every purpose' when k.purpose is null then 'nobody'
        else k.purpose || ' within ' || ${runOf(sql`k.first`, sql`k.last`)} end as detail
    from free_ranges f join blocks b on b.id = f.block_id
      left join lateral (
        select k.first, k.last, k.purpose from kept_ranges k
        where k.block_id = f.block_id and k.last >= f.first order by k.last limit 1
      ) k on k.first <= f.last
    where case when k.last is null then f.purpose <> ''
      else k.purpose is null or k.purpose <> f.purpose or f.first < k.first or f.last > k.last end`,

  'I3 excluded octets of free space': sql`
    select b.cidr::text as subject, format('%s skips %s, the block %s',
      ${runOf(sql`f.first`, sql`f.last`)}, f.excluded_octets, b.excluded_octets) as detail
    from free_ranges f join blocks b on b.id = f.block_id
    where f.excluded_octets is distinct from b.excluded_octets`,

  'I3 free neighbours not joined': sql`
    select block_id::text as subject, before || ' and ' || first as detail
    from (
      select *, lag(last) over w as before, lag(free_since) over w as before_since,
        lag(purpose) over w as before_purpose
      from free_ranges window w as (partition by block_id order by last)
    ) sorted
    where case when before < first then before + 1 = first else false end
      and before_since is not distinct from free_since and before_purpose = purpose`,

  'I3 ages of free space': sql`
    select b.cidr::text as subject, ${runOf(sql`f.first`, sql`f.last`)} || ' since ' ||
      coalesce(f.free_since::text, 'nothing') as detail
    from free_ranges f join blocks b on b.id = f.block_id
    where (b.strategy = 'least_recently_used') <> (f.free_since is not null)`,

  // The database derives them from the run, but by functions of ours.
  'I3 what free space is found by': sql`
    select block_id::text as subject, format('%s with largest prefix /%s, pool %s',
      ${runOf(sql`first`, sql`last`)}, largest_prefix, coalesce(pool, 'none')) as detail
    from (select *, ${sql`masklen(last) - largest_prefix`} as exponent from (${runs}) runs) runs
    where not (${holds(sql`exponent`)})
      or exponent < masklen(last) and (${holds(sql`exponent + 1`)})
      or pool is distinct from case
        when excluded_octets is not null and behind - low > ${skipped} then purpose end`,

  // What is neither anybody's nor a child's nor free is excluded, and so is what is free in runs
  // but skipped when single addresses are taken.
  'I3 counts': sql`
    select b.cidr::text as subject,
      format('counts (total, allocated, held, quarantined, excluded, in_children) %s, has %s',
        ${counted(sql`u`)}, ${counted(sql`t`)}) as detail
    from blocks b left join block_usage u on u.block_id = b.id
      left join (${used}) used on used.block_id = b.id
      left join (${free}) free on free.block_id = b.id,
      lateral (
        select ${countOf(sql`b.cidr`)} as total, coalesce(used.allocated, 0) as allocated,
          coalesce(used.held, 0) as held, coalesce(used.quarantined, 0) as quarantined,
          coalesce(used.in_children, 0) as in_children
      ) parts,
      lateral (
        select parts.*, parts.total - parts.allocated - parts.held - parts.quarantined
          - parts.in_children - coalesce(free.size, 0) + coalesce(free.skipped, 0) as excluded
      ) t
    where ${counted(sql`u`)} is distinct from ${counted(sql`t`)}`,

  // A hold that has lapsed, and a quarantine that is over, may still be there: to clear them away
  // is work that may come late, and who needs the address does it at once. So time is not looked at.
  'I6 quarantine without its allocation': sql`
    select q.allocation_id::text as subject, q.address || ' until ' || q.quarantined_until
      || case when h.id is null then ', of no allocation that ended' else ', after an end at '
        || h.ended_at || ' of ' || h.address || ' with quarantine until '
        || coalesce(h.quarantined_until::text, 'none') end as detail
    from quarantine q left join allocation_history h on h.id = q.allocation_id
    where (q.scope_id, q.block_id, q.address, q.ended_at, q.quarantined_until)
      is distinct from (h.scope_id, h.block_id, h.address, h.ended_at, h.quarantined_until)
      or exists (select from allocations a where a.id = q.allocation_id)`,

  'I6 quarantine outside its block': sql`
    select q.allocation_id::text as subject, q.address || ' in block '
      || coalesce(b.cidr || case when ${isLeaf} then '' else ', which has children' end, 'none')
      as detail
    from quarantine q left join blocks b on b.id = q.block_id
    where b.id is null or not q.address <<= b.cidr::inet or q.scope_id <> b.scope_id or not ${isLeaf}`,

  'I6 address held or quarantined twice': sql`
    select scope_id::text || ' ' || address as subject,
      case when is_waiting then 'in quarantine' else 'held' end || ', as is ' || before as detail
    from (
      select *, lag(address) over w as before,
        max(last) over (w rows between unbounded preceding and 1 preceding) as used_to,
        max(last) filter (where is_waiting)
          over (w rows between unbounded preceding and 1 preceding) as waiting_to
      from (
        select scope_id, address, ${firstOf(sql`address`)} as first, ${lastOf(sql`address`)} as last,
          true as is_waiting from quarantine
        union all
        select scope_id, address, ${startOf(sql`address`)}, ${endOf(sql`address`)}, false
        from allocations
      ) used
      window w as (partition by scope_id, family(address) order by first, last, is_waiting)
    ) sorted
    where case when is_waiting then used_to else waiting_to end >= first`,
}
