import type { Query } from './direct-sql.ts'

// What interfaces and MACs promise (I13), by means of the test's own.

const macsEver = `
  select id, mac, range_id, network_id, owner_id, started_at, 'infinity'::timestamptz as ended_at
  from macs
  union all
  select id, mac, range_id, network_id, owner_id, started_at, ended_at from mac_history`

const periods = `
  select id as interface_id, attached_at as started_at, 'infinity'::timestamptz as ended_at
  from interfaces
  union all
  select interface_id, started_at, ended_at from interface_history`

const allowedEver = `
  select id as allowed_id, network_id, address, role, role_since as started_at,
    'infinity'::timestamptz as ended_at from allowed_addresses
  union all
  select allowed_address_id, network_id, address, role, started_at, ended_at
  from allowed_address_history`

const contradictions: Readonly<Record<string, string>> = {
  'a MAC was held by two at one time': `
    select a.id, b.id as other from (${macsEver}) a join (${macsEver}) b
      on a.mac = b.mac and a.id < b.id
        and (a.network_id is not distinct from b.network_id
          or a.range_id in (select id from mac_ranges where uniqueness = 'range'))
    where a.started_at < b.ended_at and b.started_at < a.ended_at`,
  'a MAC was given again too early': `
    select h.id, n.id as other from mac_history h join (${macsEver}) n
      on n.mac = h.mac and n.id <> h.id and n.started_at >= h.ended_at
        and n.started_at < h.reusable_at and n.range_id = h.range_id
        and n.network_id is not distinct from h.network_id
    where n.owner_id is distinct from h.owner_id`,
  'an interface has no MAC': `
    select i.id from interfaces i where not exists (
      select from macs m where m.interface_id = i.id and m.network_id = i.network_id)`,
  'an address is of no interface, or of another network': `
    select a.id from allocations a join blocks b on b.id = a.block_id
      left join interfaces i on i.id::text = a.owner_id and i.network_id = b.network_id
        and i.project_id = a.project_id
    where a.owner_type = 'interface' and i.id is null`,
  'an interface that moved was nowhere, or at two devices': `
    select * from (
      select interface_id, started_at, lag(ended_at) over w as before
      from (${periods}) p window w as (partition by interface_id order by started_at)
    ) s where before <> started_at`,
  'who may use an address alone is not alone, or was not': `
    select a.allowed_id, b.allowed_id as other from (${allowedEver}) a join (${allowedEver}) b
      on a.network_id = b.network_id and a.address && b.address
        and (a.allowed_id, a.started_at) <> (b.allowed_id, b.started_at)
        and a.started_at < b.ended_at and b.started_at < a.ended_at
    where a.role = 'exclusive' or a.role = 'primary' and b.role = 'primary'`,
  'a role was neither kept nor given': `
    select * from (
      select allowed_id, started_at, lag(ended_at) over w as before
      from (${allowedEver}) p window w as (partition by allowed_id order by started_at)
    ) s where before <> started_at`,
  'interfaces of a project are counted wrong': `
    select u.project_id, u.interfaces, count(i.id) from project_usage u
      left join interfaces i on i.project_id = u.project_id
    where u.scope_id is null group by 1, 2 having u.interfaces <> count(i.id)
    union all
    select i.project_id, 0, count(*) from interfaces i
    where i.project_id not in (select project_id from project_usage where scope_id is null)
    group by 1`,
  'floating IPs of a project are counted wrong': `
    select u.project_id, u.scope_id::text, u.floating_ips, count(f.id) from project_usage u
      left join floating_ips f on f.project_id = u.project_id
        and (u.scope_id is null or f.scope_id = u.scope_id)
    group by 1, 2, 3 having u.floating_ips <> count(f.id)`,
}

/** What the tables of interfaces, MACs and allowed addresses contradict. */
export async function findInterfaceContradictions(query: Query): Promise<string[]> {
  const found: string[] = []
  for (const [name, text] of Object.entries(contradictions)) {
    const rows = await query(`select * from (${text}) faults limit 5`)
    found.push(...rows.map(row => `${name}: ${JSON.stringify(row)}`))
  }
  return [...found, ...(await findMacFaults(query))]
}

type Run = readonly [bigint, bigint]

/** Free, held and waiting MACs of each pool and those forbidden are its range, each once. */
async function findMacFaults(query: Query): Promise<string[]> {
  const pools = await query(`
    select p.id, r.first, r.last, r.forbidden, p.held, p.waiting from mac_pools p
      join mac_ranges r on r.id = p.range_id`)
  const faults: string[] = []
  for (const { id, first, last, forbidden, held, waiting } of pools) {
    const runsOf = async (text: string): Promise<Run[]> =>
      (await query(text, [id])).map(row => [BigInt(String(row.low)), BigInt(String(row.high))])
    const taken = await runsOf('select mac as low, mac as high from macs where pool_id = $1')
    const late = await runsOf('select mac as low, mac as high from mac_waiting where pool_id = $1')
    const free = await runsOf(
      'select first as low, last as high from mac_free_ranges where pool_id = $1',
    )
    if (BigInt(String(held)) !== BigInt(taken.length)) faults.push(`${id} holds ${taken.length}`)
    if (BigInt(String(waiting)) !== BigInt(late.length)) faults.push(`${id} waits ${late.length}`)
    const kept = (forbidden as string[]).map(prefixRun)
    // Who has a MAC that was forbidden later keeps it.
    const allowed = [...taken, ...late].filter(([mac]) => !kept.some(run => isIn(mac, run)))
    const all = [...free, ...allowed, ...withoutOverlap(kept)].sort((a, b) =>
      a[0] < b[0] ? -1 : 1,
    )
    let next = BigInt(String(first))
    for (const [low, high] of all) {
      if (low !== next) faults.push(`pool ${id}: ${low.toString(16)} follows ${next.toString(16)}`)
      next = high + 1n
    }
    if (next !== BigInt(String(last)) + 1n) faults.push(`pool ${id} ends at ${next.toString(16)}`)
  }
  return faults
}

const isIn = (mac: bigint, [low, high]: Run) => low <= mac && mac <= high

function prefixRun(prefix: string): Run {
  const [mac = '', length = '48'] = prefix.split('/')
  const low = BigInt(`0x${mac.replaceAll(':', '')}`)
  return [low, low + (1n << BigInt(48 - Number(length))) - 1n]
}

/** Prefixes hold each other or share nothing. */
const withoutOverlap = (runs: readonly Run[]): Run[] =>
  runs.filter(
    (run, n) =>
      !runs.some(
        (other, o) =>
          o !== n &&
          isIn(run[0], other) &&
          isIn(run[1], other) &&
          (other[1] - other[0] > run[1] - run[0] || o < n),
      ),
  )
