import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import type { FilterOf } from '../../schema.ts'
import { readAllocated } from '../allocations/read-request.ts'
import { appendEvents, type EventType, type NewEvent } from '../events/store.ts'
import { allowedColumns } from './parts-store.ts'
import {
  AllowedAddress,
  type AllowedAddressPatch,
  type AllowedAddressQuery,
  type AllowedAddressRequest,
  AllowedPeriod,
  type AllowedPeriodQuery,
  type Interface,
} from './schema.ts'
import { getInterface, withoutNetwork } from './store.ts'

/** An allowed address of an interface. */
export type AllowedTarget = Target & { readonly interface_id: string }

function notFound({ id, interface_id }: AllowedTarget): IpamError {
  const detail = `Interface ${interface_id} has no allowed address ${id}.`
  return new IpamError('allowed_address_not_found', detail)
}

/** @throws {IpamError} `allowed_address_not_found` */
export async function getAllowedAddress(
  db: Database,
  target: AllowedTarget,
  lock: Sql = sql``,
): Promise<AllowedAddress> {
  const [found] = await rows(db, AllowedAddress)`
    select ${allowedColumns} from allowed_addresses
    where id = ${target.id} and interface_id = ${target.interface_id} ${lock}`
  if (!found) throw notFound(target)
  return found
}

/**
 * What interfaces may use beside their own addresses, of one of them or of all; in the order of
 * their ids, one more than a page holds.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`
 */
export function listAllowedAddresses(
  db: Database,
  filter: FilterOf<AllowedAddressQuery> & { readonly interface_id?: string | undefined },
  { limit, after, bound }: { limit: number; after: string | null; bound: Bound },
): Promise<AllowedAddress[]> {
  const { interface_id, network_id, address } = filter
  const conditions = [
    ...(bound.kind === 'all' ? [] : [ofInterfacesWithin(bound)]),
    ...(interface_id ? [sql`interface_id = ${interface_id}`] : []),
    ...(network_id ? [sql`network_id = ${network_id}`] : []),
    ...(address === undefined ? [] : [sql`address && ${readAllocated(address, 'address')}::inet`]),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, AllowedAddress)`
    select ${allowedColumns} from allowed_addresses
    where ${allOf(conditions)} order by id limit ${limit + 1}`
}

/** They are whose the interface is that has them. */
const ofInterfacesWithin = (bound: Bound): Sql => sql`
  interface_id in (select i.id from interfaces i where ${allOf(boundedTo(bound, sql`i.project_id`))})`

/**
 * Allows an interface to use an address, or the addresses of a prefix.
 *
 * @throws {IpamError} `interface_not_found`, `allowed_address_taken`, `primary_taken`,
 * `allowed_address_exists`, `interface_without_network`, `invalid_request`, `cidr_has_host_bits`
 */
export function createAllowedAddress(
  db: Database,
  interface_id: string,
  { address, role = 'exclusive' }: AllowedAddressRequest,
): Promise<AllowedAddress> {
  const canonical = readAllocated(address, 'address')
  return namingField('address', db, async tx => {
    await tx.query(sql`select from interfaces where id = ${interface_id} for share`)
    const holder = await getInterface(tx, interface_id)
    if (holder.network_id === null) throw withoutNetwork(interface_id)
    const [data] = await rows(tx, AllowedAddress)`
      insert into allowed_addresses (id, interface_id, network_id, project_id, address, role, role_since)
      values (${newId()}, ${holder.id}, ${holder.network_id}, ${holder.project_id}, ${canonical},
        ${role}, wall_time())
      returning ${allowedColumns}`
    if (!data) throw new Error('an allowed address that was inserted did not come back')
    await appendEvents(tx, [eventOf('allowed_address.created', data, holder)])
    return data
  })
}

/** @throws {IpamError} `allowed_address_not_found`, `precondition_failed`, as creating one does */
export function updateAllowedAddress(
  db: Database,
  target: AllowedTarget,
  { role }: AllowedAddressPatch,
): Promise<AllowedAddress> {
  return namingField('role', db, async tx => {
    await lockAllowed(tx, target)
    const [data] = await rows(tx, AllowedAddress)`
      update allowed_addresses set role = ${role}, generation = generation + 1,
        updated_at = clock_timestamp()
      where id = ${target.id} returning ${allowedColumns}`
    if (!data) throw notFound(target)
    const holder = await getInterface(tx, data.interface_id)
    await appendEvents(tx, [eventOf('allowed_address.updated', data, holder)])
    return data
  })
}

/** @throws {IpamError} `allowed_address_not_found`, `precondition_failed` */
export function deleteAllowedAddress(db: Database, target: AllowedTarget): Promise<void> {
  return retryTransaction(db, async tx => {
    const gone = await lockAllowed(tx, target)
    await tx.query(sql`delete from allowed_addresses where id = ${target.id}`)
    const holder = await getInterface(tx, gone.interface_id)
    await appendEvents(tx, [eventOf('allowed_address.deleted', gone, holder)])
  })
}

/** Locks an allowed address, behind all other changes of its network, if it is as expected. */
async function lockAllowed(tx: Database, target: AllowedTarget): Promise<AllowedAddress> {
  const { network_id } = await getAllowedAddress(tx, target)
  await tx.query(sql`select lock_allowed_addresses(${network_id})`)
  const locked = await getAllowedAddress(tx, target, sql`for update`)
  refuseUnexpected(locked, target.expected)
  return locked
}

const taken = ['allowed_address_exists', 'allowed_address_taken', 'primary_taken']

/** Runs a transaction; what a constraint refuses names the field. */
async function namingField<T>(
  field: string,
  db: Database,
  work: (tx: Database) => Promise<T>,
): Promise<T> {
  try {
    return await retryTransaction(db, work)
  } catch (cause) {
    if (!(cause instanceof IpamError) || !taken.includes(cause.code)) throw cause
    throw new IpamError(cause.code, cause.message, { cause, field })
  }
}

/**
 * Who may use addresses beside their own, and who might, the earliest first; one more than a page
 * holds. `after` is the time and the allowed address behind which the page begins.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`
 */
export function listAllowedPeriods(
  db: Database,
  filter: FilterOf<AllowedPeriodQuery>,
  { limit, after, bound }: { limit: number; after: readonly string[] | null; bound: Bound },
): Promise<AllowedPeriod[]> {
  const { interface_id, network_id, project_id, address, at } = filter
  const conditions = [
    ...boundedTo(bound),
    ...(interface_id ? [sql`interface_id = ${interface_id}`] : []),
    ...(network_id ? [sql`network_id = ${network_id}`] : []),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(address === undefined ? [] : [sql`address && ${readAllocated(address, 'address')}::inet`]),
    ...(at ? [sql`started_at <= ${at}`] : []),
    ...(after ? [sql`(started_at, allowed_address_id) > (${after[0]}, ${after[1]})`] : []),
  ]
  const behind = sql`order by started_at, allowed_address_id limit ${limit + 1}`
  const common = sql`interface_id, network_id, project_id, address, role`
  return rows(db, AllowedPeriod)`
    select * from (
      (select * from (
        select id as allowed_address_id, ${common}, role_since as started_at,
          null::timestamptz as ended_at
        from allowed_addresses
      ) current where ${allOf(conditions)} ${behind})
      union all
      (select allowed_address_id, ${common}, started_at, ended_at from allowed_address_history
      where ${allOf([...conditions, ...(at ? [sql`ended_at > ${at}`] : [])])} ${behind})
    ) found ${behind}`
}

type Holder = Pick<Interface, 'project_id'>
const eventOf = (type: EventType, data: AllowedAddress, { project_id }: Holder): NewEvent => {
  return { type, object_id: data.id, project_id, data }
}
