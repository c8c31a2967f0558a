import type { Query } from './direct-sql.ts'

// What floating IPs promise (I14), by means of the test's own: the events are replayed in the order
// of the commits, and the history is held against them.

type Data = {
  readonly id: string
  readonly private_allocation_id: string | null
  readonly associated_at: string | null
  readonly generation: number
}

/** What the events of floating IPs contradict. */
export async function findFloatingContradictions(query: Query): Promise<string[]> {
  const found: string[] = []
  const states = new Map<string, Data>()
  const holders = new Map<string, string>()
  /** Each association that the events tell of: from when to when. */
  const told: string[] = []
  const end = (before: Data | undefined, at: string) => {
    if (!before?.private_allocation_id) return
    holders.delete(before.private_allocation_id)
    told.push(`${before.id} ${before.private_allocation_id} ${before.associated_at} ${at}`)
  }
  const begin = (data: Data, what: string) => {
    const target = data.private_allocation_id
    if (!target) return
    const other = holders.get(target)
    if (other !== undefined) found.push(`${what}: ${target} is behind ${other} and ${data.id}`)
    holders.set(target, data.id)
  }
  const events = await query(`
    select seq, type, data, private_end from (
      select e.seq, e.type, e.data, (
        select to_char(s.ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        from floating_ip_associations s
        where s.floating_ip_id = e.object_id and s.started_at = before.since::timestamptz
      ) as private_end
      from (
        select *, lag(data ->> 'associated_at') over (partition by object_id order by seq) as since
        from events where type like 'floating\\_ip.%'
      ) before join events e using (seq)
    ) told order by seq`)
  for (const { seq, type, data, private_end } of events) {
    const now = data as Data
    const what = `event ${seq}, ${type}`
    const before = states.get(now.id)
    const change = `${before?.private_allocation_id ? 'on' : 'off'} ${now.private_allocation_id ? 'on' : 'off'}`
    const right: Record<string, string> = {
      'floating_ip.associated': 'off on',
      'floating_ip.moved': 'on on',
      'floating_ip.disassociated': 'on off',
      'floating_ip.deleted': 'off off',
    }
    if (right[String(type)] && right[String(type)] !== change) found.push(`${what}: ${change}`)
    if (type === 'floating_ip.created' && before) found.push(`${what}: is there already`)
    if (type !== 'floating_ip.created' && !before) found.push(`${what}: is not there`)
    if (type === 'floating_ip.deleted') {
      states.delete(now.id)
      continue
    }
    if (type === 'floating_ip.updated') {
      if (before?.private_allocation_id !== now.private_allocation_id) found.push(`${what}: moves`)
    } else {
      // A move ends the one at the instant at which it begins the other.
      end(before, type === 'floating_ip.moved' ? String(now.associated_at) : String(private_end))
      begin(now, what)
    }
    states.set(now.id, now)
  }
  const last = [...states.values()].filter(one => one.private_allocation_id)
  for (const one of last) {
    told.push(`${one.id} ${one.private_allocation_id} ${one.associated_at} null`)
  }
  const time = (column: string) =>
    `coalesce(to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'null')`
  const kept = await query(`
    select concat_ws(' ', floating_ip_id, private_allocation_id, ${time('started_at')},
      ${time('ended_at')}) as line from floating_ip_associations`)
  const lines = new Set(kept.map(({ line }) => String(line)))
  for (const line of told) if (!lines.delete(line)) found.push(`not in the history: ${line}`)
  for (const line of lines) found.push(`only in the history: ${line}`)
  const twice = await query(`
    select a.id, b.id as other from floating_ip_associations a join floating_ip_associations b
      on a.id < b.id and (a.floating_ip_id = b.floating_ip_id
        or a.private_allocation_id = b.private_allocation_id)
      and a.started_at < coalesce(b.ended_at, 'infinity')
      and b.started_at < coalesce(a.ended_at, 'infinity')`)
  for (const { id, other } of twice) found.push(`${id} and ${other} at one time`)
  return found
}
