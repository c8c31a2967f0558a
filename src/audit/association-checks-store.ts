import { type Sql, sql } from '../db/sql.ts'

// I14, without the functions and triggers that keep it.

/** When each allocation began and ended; one that lasts has no end. */
const lives = sql`
  select id, address, scope_id, is_prefix, started_at, null::timestamptz as ended_at
  from allocations
  union all
  select id, address, scope_id, is_prefix, started_at, ended_at from allocation_history`

/** Associations of one thing that begin before the one before has ended. */
const overlapping = (thing: Sql) => sql`
  select ${thing}::text as subject,
    'from ' || started_at || ', but the one before until ' || coalesce(before::text, 'now') as detail
  from (
    select *, lag(id) over w as earlier, lag(ended_at) over w as before
    from floating_ip_associations
    window w as (partition by ${thing} order by started_at, ended_at nulls last)
  ) sorted
  where earlier is not null and coalesce(before > started_at, true)`

export const associationChecks: Readonly<Record<string, Sql>> = {
  'I14 floating IP without its allocation': sql`
    select f.id::text as subject,
      format('is %s, its allocation %s', f.address, coalesce(a.address::text, 'is none')) as detail
    from floating_ips f left join allocations a on a.id = f.allocation_id
    where a.id is null or a.is_prefix
      or (a.address, a.scope_id, a.project_id) <> (f.address, f.scope_id, f.project_id)`,

  'I14 floating IP points at nothing': sql`
    select f.id::text as subject, format('points at %s, which %s', f.private_address,
      coalesce('is ' || a.address, 'is not allocated')) as detail
    from floating_ips f left join allocations a on a.id = f.private_allocation_id
    where f.private_allocation_id is not null and (a.id is null or a.is_prefix
      or a.address is distinct from f.private_address or a.scope_id = f.scope_id
      or family(a.address) <> family(f.address))`,

  'I14 floating IP and its history differ': sql`
    select coalesce(f.id, s.floating_ip_id)::text as subject,
      format('points at %s since %s, in the history at %s since %s', f.private_address,
        f.since, s.private_address, s.started_at) as detail
    from (select * from floating_ips where private_allocation_id is not null) f
      full join (select * from floating_ip_associations where ended_at is null) s
        on s.floating_ip_id = f.id
    where (f.allocation_id, f.private_allocation_id, f.private_address, f.since)
      is distinct from (s.allocation_id, s.private_allocation_id, s.private_address, s.started_at)`,

  'I14 two associations at one time': sql`
    ${overlapping(sql`floating_ip_id`)}
    union all
    ${overlapping(sql`private_allocation_id`)}`,

  'I14 association outside the life of its allocation': sql`
    select s.id::text as subject, format('from %s until %s, but the allocation %s from %s until %s',
      s.started_at, s.ended_at, l.address, l.started_at, l.ended_at) as detail
    from floating_ip_associations s
      join (${lives}) l on l.id in (s.allocation_id, s.private_allocation_id)
    where s.started_at < l.started_at or s.ended_at > l.ended_at
      or s.ended_at is null and l.ended_at is not null`,

  'I14 NAT mapping of what has ended': sql`
    select m.id::text as subject, format('maps %s to %s, which are allocated as %s and %s',
      m.inside_local_address, m.inside_global_address, l.address, g.address) as detail
    from nat_mappings m left join allocations l on l.id = m.inside_local_id
      left join allocations g on g.id = m.inside_global_id
    where m.ended_at is null and (l.address, g.address)
      is distinct from (m.inside_local_address, m.inside_global_address)`,

  'I14 NAT mapping twice at one time': sql`
    select id::text as subject, 'from ' || started_at as detail
    from (
      select *, lag(id) over w as earlier, lag(ended_at) over w as before
      from nat_mappings
      window w as (
        partition by inside_local_id, inside_global_id order by started_at, ended_at nulls last)
    ) sorted
    where earlier is not null and coalesce(before > started_at, true)`,

  'I14 NAT mapping outside the life of an allocation': sql`
    select m.id::text as subject, format('from %s until %s, but the allocation %s from %s until %s',
      m.started_at, m.ended_at, l.address, l.started_at, l.ended_at) as detail
    from nat_mappings m join (${lives}) l on l.id in (m.inside_local_id, m.inside_global_id)
    where m.started_at < l.started_at or m.ended_at > l.ended_at`,

  'I14 NAT mapping without its event': sql`
    select m.id::text as subject, 'no event of its ' || e.change as detail
    from nat_mappings m,
      lateral (values ('beginning', 'nat_mapping.created', m.started_at),
        ('end', 'nat_mapping.deleted', m.ended_at)) e (change, type, at)
    where e.at > (select coalesce(min(at), 'infinity') from events)
      and exists (select from event_horizon where removed_through = 0)
      and not exists (select from events t where t.object_id = m.id and t.type = e.type)`,

  // Only of what is younger than the oldest event.
  'I14 newest event tells otherwise': sql`
    select f.id::text as subject, format('points at %s, at event %s (%s) at %s',
      f.private_allocation_id, e.seq, e.type, e.data ->> 'private_allocation_id') as detail
    from floating_ips f
      join (
        select object_id, max(seq) as seq from events
        where type like 'floating\\_ip.%' group by object_id
      ) newest on newest.object_id = f.id
      join events e on e.seq = newest.seq
    where (e.data ->> 'private_allocation_id')::uuid is distinct from f.private_allocation_id
      or e.type = 'floating_ip.deleted'`,
}
