import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { formatMac } from '../../ip/mac.ts'
import { type FilterOf, Id } from '../../schema.ts'
import { readMac } from '../macs/read-mac.ts'
import { Lease, type LeaseQuery } from './schema.ts'

const columns = sql`
  id, server, project_id, network_id, allocation_id, scope_id, address, mac::text as mac_address,
  encode(client_id, 'hex') as client_id, encode(duid, 'hex') as duid, iaid, host_name,
  case when relay_address is not null then json_build_object('address', host(relay_address),
    'circuit_id', encode(relay_circuit_id, 'hex'), 'remote_id', encode(relay_remote_id, 'hex'))
  end as relay,
  state, started_at, told_at, ends_at, reported_at`

/** When a lease ends, or ended. */
const end = sql`case state when 'bound' then coalesce(ends_at, 'infinity') else told_at end`
const isCurrent = sql`state = 'bound' and coalesce(ends_at, 'infinity') > (select wall_time())`

export type LeasePage = {
  readonly limit: number
  /** The beginning and the id of the lease behind which the page begins. */
  readonly after: readonly string[] | null
  readonly bound: Bound
}

export type LeaseFilter = FilterOf<LeaseQuery> & Pick<LeaseQuery, 'state'>

/**
 * What machines were told, the newest lease first; one more than a page holds.
 *
 * @throws {IpamError} `invalid_request`
 */
export function listLeases(
  db: Database,
  filter: LeaseFilter,
  { limit, after, bound }: LeasePage,
): Promise<Lease[]> {
  const { network_id, allocation_id, scope_id, address, server, project_id, state, at } = filter
  const { mac_address, client_id, duid } = filter
  const conditions: Sql[] = boundedTo(bound)
  if (network_id) conditions.push(sql`network_id = ${network_id}`)
  if (allocation_id) conditions.push(sql`allocation_id = ${allocation_id}`)
  if (scope_id) conditions.push(sql`scope_id = ${scope_id}`)
  else if (address !== undefined) {
    conditions.push(sql`scope_id = any (array(select s.id from address_scopes s))`)
  }
  if (address !== undefined) conditions.push(sql`address = ${address}::inet`)
  if (mac_address !== undefined) {
    conditions.push(sql`mac = ${formatMac(readMac(mac_address, 'mac_address'))}::macaddr`)
  }
  if (client_id) conditions.push(sql`client_id = decode(${client_id}, 'hex')`)
  if (duid) conditions.push(sql`duid = decode(${duid}, 'hex')`)
  if (server !== undefined) conditions.push(sql`server = ${server}`)
  if (project_id) conditions.push(sql`project_id = ${project_id}`)
  if (at) conditions.push(sql`started_at <= ${at} and ${end} > ${at}`)
  if (state === 'current') conditions.push(isCurrent)
  if (state === 'ended') conditions.push(sql`not (${isCurrent})`)
  if (after) conditions.push(sql`(started_at, id) < (${after[0]}, ${after[1]})`)
  return rows(db, Lease)`
    select ${columns} from leases where ${allOf(conditions)}
    order by started_at desc, id desc limit ${limit + 1}`
}

/** The newest lease of an address of a block; undefined if it never had any. */
export async function newestLeaseOf(
  db: Database,
  { block_id, address }: { readonly block_id: string; readonly address: string },
): Promise<Lease | undefined> {
  const [lease] = await rows(db, Lease)`
    select ${columns} from leases
    where scope_id = (select b.scope_id from blocks b where b.id = ${block_id})
      and address = ${address}::inet
    order by started_at desc, id desc limit 1`
  return lease
}

const Removed = Type.Object({ id: Id })

/** Removes at most `limit` leases that ended more than `days` ago; tells how many. */
export async function removeOldLeases(
  db: Database,
  { days, limit }: { readonly days: number; readonly limit: number },
): Promise<number> {
  // A row that a report is about to change is left alone: it may be locked in another order.
  const ended = await rows(db, Removed)`
    delete from leases where id in (
      select id from leases
      where ends_on <= ((now() - make_interval(days => ${days})) at time zone 'UTC')::date
        and ${end} < now() - make_interval(days => ${days})
      order by ends_on limit ${limit} for update skip locked)
    returning id`
  if (ended.length === limit) return limit
  // One without an end is over with its allocation.
  const endless = await rows(db, Removed)`
    delete from leases where id in (
      select l.id from leases l join allocation_history h on h.id = l.allocation_id
      where l.ends_on is null and h.ended_at < now() - make_interval(days => ${days})
      limit ${limit - ended.length} for update of l skip locked)
    returning id`
  return ended.length + endless.length
}
