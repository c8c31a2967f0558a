import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import type { FilterOf } from '../../schema.ts'
import type { EventType, NewEvent } from '../events/store.ts'
import { readMac } from './read-mac.ts'
import { Mac, type MacQuery } from './schema.ts'

const columns = sql`
  id, mac_text(mac) as address, range_id, network_id, interface_id, project_id, owner_type,
  owner_id, started_at`
const current = sql`
  select ${columns}, null::timestamptz as ended_at, null::timestamptz as reusable_at from macs`
const ended = sql`select ${columns}, ended_at, reusable_at from mac_history`

export const macNotFound = (id: string) => new IpamError('mac_not_found', `There is no MAC ${id}.`)

/** A MAC that somebody has, or had. @throws {IpamError} `mac_not_found` */
export async function getMac(db: Database, id: string): Promise<Mac> {
  const [mac] = await rows(db, Mac)`${current} where id = ${id} union all ${ended} where id = ${id}`
  if (!mac) throw macNotFound(id)
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
  { limit, after, bound }: { limit: number; after: string | null; bound: Bound },
): Promise<Mac[]> {
  const { address, range_id, network_id, interface_id, project_id, owner_id, state, at } = filter
  const mac = address === undefined ? undefined : readMac(address, 'address').toString()
  const conditions: Sql[] = [
    ...boundedTo(bound),
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

export const macEvent = (type: EventType, data: Mac): NewEvent => {
  return { type, object_id: data.id, project_id: data.project_id, data }
}
