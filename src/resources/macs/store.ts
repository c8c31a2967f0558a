import { Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { type ErrorCode, IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { formatMac } from '../../ip/mac.ts'
import { type FilterOf, Nullable } from '../../schema.ts'
import { appendEvents, type EventType, type NewEvent } from '../events/store.ts'
import { readMac, readUnicastMac } from './read-mac.ts'
import { Mac, type MacQuery, type MacRequest } from './schema.ts'

const columns = sql`
  id, mac_text(mac) as address, range_id, network_id, interface_id, project_id, owner_type,
  owner_id, started_at`
const current = sql`
  select ${columns}, null::timestamptz as ended_at, null::timestamptz as reusable_at from macs`
const ended = sql`select ${columns}, ended_at, reusable_at from mac_history`

const notFound = (id: string) => new IpamError('mac_not_found', `There is no MAC ${id}.`)

/** A MAC that somebody has, or had. @throws {IpamError} `mac_not_found` */
export async function getMac(db: Database, id: string): Promise<Mac> {
  const [mac] = await rows(db, Mac)`${current} where id = ${id} union all ${ended} where id = ${id}`
  if (!mac) throw notFound(id)
  return mac
}

export type MacFilter = FilterOf<MacQuery> & Pick<MacQuery, 'state'>

/**
 * Who has MACs, and who had them, in the order of their ids; one more than a page holds.
 *
 * @throws {IpamError} `invalid_request`
 */
export function listMacs(
  db: Database,
  filter: MacFilter,
  { limit, after }: { limit: number; after: string | null },
): Promise<Mac[]> {
  const { address, range_id, network_id, interface_id, project_id, owner_id, state, at } = filter
  const mac = address === undefined ? undefined : readMac(address, 'address').toString()
  const conditions: Sql[] = [
    ...(mac === undefined ? [] : [sql`mac = ${mac}`]),
    ...(range_id ? [sql`range_id = ${range_id}`] : []),
    ...(network_id ? [sql`network_id = ${network_id}`] : []),
    ...(interface_id ? [sql`interface_id = ${interface_id}`] : []),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(owner_id ? [sql`owner_id = ${owner_id}`] : []),
    ...(at ? [sql`started_at <= ${at}`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  const wants = (one: 'current' | 'ended') => at !== undefined || state === 'all' || state === one
  const behind = sql`order by id limit ${limit + 1}`
  const parts = [
    ...(wants('current') ? [sql`${current} where ${allOf(conditions)}`] : []),
    ...(wants('ended')
      ? [sql`${ended} where ${allOf([...conditions, ...(at ? [sql`ended_at > ${at}`] : [])])}`]
      : []),
  ]
  const union = parts
    .map(part => sql`(${part} ${behind})`)
    .reduce((all, one) => sql`${all} union all ${one}`)
  return rows(db, Mac)`select * from (${union}) found ${behind}`
}

/** A MAC that is wanted, and for whom; one of a range if it is not said which. */
export type WantedMac = {
  readonly mac?: bigint | undefined
  readonly range_id?: string | undefined
  readonly network_id?: string | undefined
  readonly project_id: string
  readonly owner_type?: string | undefined
  readonly owner_id?: string | undefined
  readonly interface_id?: string | undefined
}

const Refusal = Type.Object({ refusal: Nullable(Type.String()) })

/** Takes a MAC; the event is for the caller to write. It locks network and pool, and no event. */
export async function takeMac(tx: Database, wanted: WantedMac): Promise<Mac> {
  const { mac, range_id, network_id, project_id, owner_type, owner_id, interface_id } = wanted
  const id = newId()
  const [row] = await rows(tx, Refusal)`
    select take_mac(${id}, ${range_id ?? null}, ${mac?.toString() ?? null}, ${network_id ?? null},
      ${project_id}, ${owner_type ?? null}, ${owner_id ?? null}, ${interface_id ?? null})
      as refusal`
  if (row?.refusal) throw refusalOf(row.refusal as ErrorCode, wanted)
  return getMac(tx, id)
}

function refusalOf(code: ErrorCode, { mac, range_id, network_id, project_id }: WantedMac) {
  const address = mac === undefined ? '' : formatMac(mac)
  const details: Partial<Record<ErrorCode, string>> = {
    network_not_found: `There is no network ${network_id}.`,
    mac_range_not_found: `There is no MAC range ${range_id}.`,
    mac_outside_range: `${address} is not in MAC range ${range_id}.`,
    mac_taken: `Somebody has ${address}.`,
    mac_waits: `${address} waits for the one who had it last.`,
    mac_forbidden: `${address} is forbidden in its range.`,
    no_mac_range: `There is no MAC range for project ${project_id} or for all.`,
  }
  return new IpamError(code, details[code])
}

/**
 * Gives somebody a MAC.
 *
 * @throws {IpamError} `invalid_request`, `network_not_found`, `mac_range_not_found`,
 * `mac_range_full`, `no_mac_range`, `mac_needs_network`, `mac_outside_range`, `mac_forbidden`,
 * `mac_taken`, `mac_waits`
 */
export function createMac(db: Database, { address, ...wanted }: MacRequest): Promise<Mac> {
  const mac = address === undefined ? undefined : readUnicastMac(address, 'address')
  return retryTransaction(db, async tx => {
    const taken = await takeMac(tx, { ...wanted, mac })
    await appendEvents(tx, [macEvent('mac.created', taken)])
    return taken
  })
}

/**
 * Releases a MAC; to do so again gives the same answer and changes nothing.
 *
 * @throws {IpamError} `mac_not_found`, `mac_in_use` by an interface, which is to be deleted instead
 */
export function releaseMac(db: Database, id: string): Promise<Mac> {
  return retryTransaction(db, async tx => {
    const gone = await rows(tx, Type.Object({}))`
      delete from macs where id = ${id} and interface_id is null returning id`
    const mac = await getMac(tx, id)
    if (gone.length > 0) await appendEvents(tx, [macEvent('mac.released', mac)])
    else if (mac.ended_at === null) {
      const detail = `${mac.address} is that of interface ${mac.interface_id}.`
      throw new IpamError('mac_in_use', detail)
    }
    return mac
  })
}

export const macEvent = (type: EventType, data: Mac): NewEvent => {
  return { type, object_id: data.id, project_id: data.project_id, data }
}
