import type { LeaseReport } from '../../src/dhcp/served.ts'
import type { Query } from './direct-sql.ts'

// What is promised of leases (I16), by means of the test's own: from all reports that were sent, in
// whatever order, it is worked out what has to be there.

/** The report that counts of each lease: that of its end, else the one told last. */
function expectedOf(reports: readonly LeaseReport[]): Map<string, LeaseReport> {
  const expected = new Map<string, LeaseReport>()
  const ranked = reports.toSorted(
    (a, b) =>
      Number(a.state !== 'bound') - Number(b.state !== 'bound') ||
      Date.parse(a.told_at) - Date.parse(b.told_at),
  )
  for (const one of ranked) expected.set(one.id, one)
  return expected
}

const asText = (column: string) =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** What leases, allocations, events and withheld addresses contradict, after these reports. */
export async function findLeaseContradictions(
  query: Query,
  reports: readonly LeaseReport[],
): Promise<string[]> {
  const found: string[] = []
  const expected = expectedOf(reports)
  const kept = await query(`
    select id, allocation_id, state, ${asText('told_at')} as told_at, ${asText('ends_at')} as ends_at
    from leases`)
  for (const { id, ...row } of kept) {
    const one = expected.get(String(id))
    const lines = [one && [one.allocation_id, one.state, one.told_at, one.ends_at].join(' ')]
    const line = [row.allocation_id, row.state, row.told_at, row.ends_at].join(' ')
    if (!lines.includes(line)) found.push(`lease ${id}: ${line}, not ${lines}`)
    expected.delete(String(id))
  }
  for (const id of expected.keys()) found.push(`lease ${id} is not kept`)

  const odd = await query(`
    select l.id, count(e.seq)::int as events from leases l left join events e
      on e.type = 'lease.declined' and e.data ->> 'lease_id' = l.id::text
    where l.state = 'declined' group by l.id having count(e.seq) <> 1
    union all
    select e.object_id, -1 from events e where e.type = 'lease.declined' and not exists (
      select from leases l where l.id::text = e.data ->> 'lease_id' and l.state = 'declined')`)
  for (const { id, events } of odd) found.push(`declined ${id}: ${events} events`)

  const ends = await query(`
    select a.id, 'goes on after its client ' || l.state || ' it' as what
    from leases l join allocations a on a.id = l.allocation_id
    where l.state <> 'bound' and a.owner_type = 'dhcp_client'
    union all
    select h.id, 'waits for ' || coalesce((h.quarantined_until - h.ended_at)::text, 'nobody')
    from leases l join allocation_history h on h.id = l.allocation_id
    join events e on e.type = 'lease.declined' and e.object_id = h.id
    where l.state = 'declined' and h.owner_type = 'dhcp_client'
      and e.data ->> 'withheld_until' is not null
      and h.quarantined_until is distinct from (e.data ->> 'withheld_until')::timestamptz
    union all
    select a.id, 'is not withheld' from leases l join allocations a on a.id = l.allocation_id
    where l.state = 'declined' and a.owner_type is distinct from 'dhcp_client'
      and not exists (select from withheld_addresses w where w.allocation_id = a.id)
      and not exists (select from events e
        where e.type = 'lease.withholding_ended' and e.object_id = a.id)
    union all
    select w.allocation_id, 'is withheld' from withheld_addresses w where not exists (
      select from leases l where l.allocation_id = w.allocation_id and l.state = 'declined')
    union all
    select h.id, 'ended, but nobody released it' from allocation_history h
    where h.owner_type = 'dhcp_client' and h.ended_at < h.expires_at and not exists (
        select from leases l where l.allocation_id = h.id and l.state <> 'bound')`)
  for (const { id, what } of ends) found.push(`allocation ${id} ${what}`)
  return found
}
