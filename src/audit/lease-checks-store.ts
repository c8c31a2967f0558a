import { type Sql, sql } from '../db/sql.ts'

// I16, without the functions that keep it.

const held = sql`
  select id, scope_id, address, project_id from allocations
  union all
  select id, scope_id, address, project_id from allocation_history`

/** Of what is younger than the oldest event, and only while all events are kept. */
const hasEvents = sql`
  l.reported_at > (select coalesce(min(at), 'infinity') from events)
  and exists (select from event_horizon where removed_through = 0)`

export const leaseChecks: Readonly<Record<string, Sql>> = {
  'I16 lease of no such allocation': sql`
    select l.id::text as subject, format('%s of project %s in %s, but allocation %s is %s',
      l.address, l.project_id, l.scope_id, l.allocation_id,
      coalesce(h.address || ' of project ' || h.project_id, 'none')) as detail
    from leases l left join (${held}) h on h.id = l.allocation_id
    where (h.address, h.scope_id, h.project_id)
      is distinct from (l.address, l.scope_id, l.project_id)`,

  'I16 allocation goes on that a client declined': sql`
    select a.id::text as subject, a.address || ' was declined in lease ' || l.id as detail
    from leases l join allocations a on a.id = l.allocation_id
    where l.state = 'declined' and a.owner_type = 'dhcp_client'`,

  'I16 declined without its event': sql`
    select l.id::text as subject, l.address || ' has ' || count(e.seq) || ' events' as detail
    from leases l left join events e on e.object_id = l.allocation_id
      and e.type = 'lease.declined' and e.data ->> 'lease_id' = l.id::text
    where l.state = 'declined' and ${hasEvents}
    group by l.id having count(e.seq) <> 1`,

  'I16 withheld address and its allocation': sql`
    select w.allocation_id::text as subject, w.address || ', of project ' || w.project_id as detail
    from withheld_addresses w left join (${held}) h on h.id = w.allocation_id
    where (h.address, h.scope_id, h.project_id)
      is distinct from (w.address, w.scope_id, w.project_id)`,

  'I16 address withheld that nobody declined': sql`
    select w.allocation_id::text as subject, w.address || ' for lease ' || w.lease_id as detail
    from withheld_addresses w join leases l on l.id = w.lease_id
    where (l.allocation_id, l.state) is distinct from (w.allocation_id, 'declined')
      and w.withheld_until > wall_time()`,
}
