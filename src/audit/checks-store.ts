import { type Sql, sql } from '../db/sql.ts'
import { associationChecks } from './association-checks-store.ts'
import { grantChecks } from './grant-checks-store.ts'
import { interfaceChecks } from './interface-checks-store.ts'
import { leaseChecks } from './lease-checks-store.ts'
import { macChecks } from './mac-checks-store.ts'
import { countOf, lastOf } from './prefixes-store.ts'
import { spaceChecks } from './space-checks-store.ts'

// Each check finds rows (subject, detail) that contradict an invariant of docs/architecture.md.
// It starts from allocations and blocks, and uses none of the functions that maintain the rest.
// What rules come to is worked out in rules-store.ts.

/** Every allocation that there is or was; without `ended_at` while it lasts. */
const held = sql`
  select id, scope_id, address, is_prefix, generation, started_at, expires_at, ended_at,
    quarantined_until from allocation_history
  union all
  select id, scope_id, address, is_prefix, generation, started_at, expires_at, null, null
  from allocations`

/** What lies inside prefix p. The offset keeps this a look into the index for each prefix. */
const insideOf = (select: Sql) => sql`(
  ${select} where scope_id = p.scope_id and address > p.address
    and address <= ${lastOf(sql`p.address`)} offset 0)`

const nothingRemoved = sql`exists (select from event_horizon where removed_through = 0)`

/** What each project has in each scope, and (without a scope) in all of them, counted anew. */
const projectCounts = sql`
  select project_id, scope_id, count(allocation) as allocations, count(block) as blocks,
    count(floating) as floating_ips, count(interface) as interfaces,
    coalesce(sum(div(${countOf(sql`allocation`)}, 18446744073709551616)), 0) as ipv6_64s
  from (
    select project_id, scope_id, address as allocation, null::cidr as block,
      null::uuid as floating, null::uuid as interface
    from allocations
    union all
    select project_id, null, address, null, null, null from allocations
    union all
    select project_id, scope_id, null, cidr, null, null from blocks where project_id is not null
    union all
    select project_id, null, null, cidr, null, null from blocks where project_id is not null
    union all
    select project_id, scope_id, null, null, id, null from floating_ips
    union all
    select project_id, null, null, null, id, null from floating_ips
    union all
    select project_id, null, null, null, null, id from interfaces
  ) had
  group by project_id, scope_id`

export const checks: Readonly<Record<string, Sql>> = {
  ...spaceChecks,
  ...associationChecks,
  ...grantChecks,
  ...macChecks,
  ...interfaceChecks,
  ...leaseChecks,

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

  'route of another IP version than its block': sql`
    select r.id::text as subject, r.destination || ' by ' || r.gateway || ' in ' || b.cidr as detail
    from block_routes r join blocks b on b.id = r.block_id
    where family(r.destination) <> family(b.cidr) or family(r.gateway) <> family(b.cidr)`,

  'I4 quarantine ends before it begins': sql`
    select id::text as subject, 'from ' || ended_at || ' until ' || quarantined_until as detail
    from allocation_history where quarantined_until < ended_at`,
  // A row for what a project had, and has not any more, may be there or not.
  'I7 counts of projects': sql`
    select coalesce(u.project_id, t.project_id)
        || coalesce(' in ' || coalesce(u.scope_id, t.scope_id), '') as subject,
      format('counts (allocations, IPv6 /64s, blocks, floating IPs, interfaces) %s, has %s',
        (u.allocations, u.ipv6_64s, u.blocks, u.floating_ips, u.interfaces),
        (t.allocations, t.ipv6_64s, t.blocks, t.floating_ips, t.interfaces)) as detail
    from project_usage u full join (${projectCounts}) t on t.project_id = u.project_id
      and coalesce(t.scope_id::text, '') = coalesce(u.scope_id::text, '')
    where (coalesce(u.allocations, 0), coalesce(u.ipv6_64s, 0), coalesce(u.blocks, 0),
        coalesce(u.floating_ips, 0), coalesce(u.interfaces, 0))
      <> (coalesce(t.allocations, 0), coalesce(t.ipv6_64s, 0), coalesce(t.blocks, 0),
        coalesce(t.floating_ips, 0), coalesce(t.interfaces, 0))`,

  // The last event of what is deleted shows it as it was before. The ids of networks, interfaces and
  // floating IPs are chosen by callers, who may use them again. The built-in scope was there before all events. That a
  // threshold is passed changes no object.
  'I9 events out of order': sql`
    select object_id::text as subject,
      type || ' of generation ' || generation || ' at event ' || seq || ' follows '
        || coalesce(type_before || ' of generation ' || before, 'nothing') as detail
    from (
      select object_id, type, seq, generation, lag(generation) over w as before,
        lag(type) over w as type_before
      from (
        select object_id, type, seq, (data ->> 'generation')::int as generation
        from events where type not like '%.threshold%' offset 0
      ) changes
      window w as (partition by object_id, split_part(type, '.', 1) order by seq)
    ) sorted
    where generation <> case
        when type_before in ('network.deleted', 'interface.deleted', 'floating_ip.deleted')
          then (type like '%.created')::int
        when type like '%.deleted' then before else before + 1 end
      or type_before not in ('network.deleted', 'interface.deleted', 'floating_ip.deleted')
        and (type like '%.created' or type_before ~ '[.](deleted|released|expired)$')
      or before is null and ${nothingRemoved} and generation <> 1
        + (object_id in (select id from address_scopes where project_id is null))::int`,

  // Times with all of their microseconds, or none as in an event from before there were any.
  'I9 newest event tells otherwise': sql`
    select h.id::text as subject, format('%s at event %s (%s until %s, ended %s), is (%s until %s, '
      || 'ended %s)', e.type, e.seq, e.address, coalesce(e.expires_at::text, 'released'),
      coalesce(e.ended_at::text, 'never'), h.address, coalesce(h.expires_at::text, 'released'),
      coalesce(h.ended_at::text, 'never')) as detail
    from (${held}) h join (
      select object_id, max(seq) as seq from events where type like 'allocation.%' group by object_id
    ) newest on newest.object_id = h.id
      join (
        select seq, type, data.* from events, lateral json_to_record(data) as data (
          address inet, expires_at timestamptz, ended_at timestamptz, quarantined_until timestamptz)
        where type like 'allocation.%'
      ) e on e.seq = newest.seq
    where (e.address, e.expires_at, e.ended_at, e.quarantined_until)
      is distinct from (h.address, h.expires_at, h.ended_at, h.quarantined_until)
      or (e.type = 'allocation.expired') <> coalesce(h.expires_at <= h.ended_at, false)
      or (e.type = 'allocation.released') <> (h.ended_at is not null
        and coalesce(h.expires_at > h.ended_at, true))`,

  // Only while all events are kept, and of what is younger than the oldest of them.
  'I9 change without its event': sql`
    select o.id::text as subject, 'no event of generation ' || o.generation as detail
    from (
      select id, generation, started_at as since from (${held}) held
      union all
      select id, generation, created_at from blocks
      union all
      select id, generation, created_at from address_scopes
      where project_id is not null or generation > 1
      union all
      select id, generation, created_at from networks
      union all
      select id, generation, created_at from policies
      union all
      select id, generation, created_at from floating_ips
      union all
      select id, generation, created_at from quotas
      union all
      select id, generation, created_at from block_routes
      union all
      select id, generation, created_at from dhcp_options
      union all
      select id, generation, created_at from mac_ranges
      union all
      select id, generation, created_at from interfaces
      union all
      select id, generation, created_at from allowed_addresses
    ) o
      left join events e on e.object_id = o.id and (e.data ->> 'generation')::int = o.generation
    where e.seq is null and ${nothingRemoved}
      and o.since > (select coalesce(min(at), 'infinity') from events)`,
}
