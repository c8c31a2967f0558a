import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { noGrants, type UnderGrants } from '../../access/sources.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { canonicalAddress } from '../../fields.ts'
import { type FilterOf, Id } from '../../schema.ts'
import { appendEvents, type EventType, type NewEvent } from '../events/store.ts'
import { readMac } from '../macs/read-mac.ts'
import {
  giveAddresses,
  heldBy,
  insertInterfaces,
  lockManyMacs,
  lockSpace,
  macEventsOf,
  namingField,
  releaseAddresses,
  removeInterfaces,
} from './parts-store.ts'
import { canonicalHex, namesIn, readInterface, readKnownBy } from './rules.ts'
import {
  Interface,
  type InterfaceAddressRequest,
  type InterfacePatch,
  InterfacePeriod,
  type InterfacePeriodQuery,
  type InterfaceQuery,
  type InterfaceRequest,
} from './schema.ts'

/** An interface i as it is shown, with its MAC and its addresses. */
const shown = sql`
  i.id, i.device_id, i.project_id, i.network_id, i.name, i.tags, mac_text(m.mac) as mac_address,
  m.range_id as mac_range_id, i.client_id, i.duid, i.iaid, coalesce((
    select json_agg(json_build_object('allocation_id', a.id, 'block_id', a.block_id, 'address',
      a.address) order by family(a.address), a.id)
    from allocations a
    where a.owner_id = i.id::text and a.owner_type = 'interface' and a.project_id = i.project_id
  ), '[]') as addresses, i.generation, i.created_at, i.updated_at`
const source = sql`interfaces i left join macs m on m.interface_id = i.id`

const notFound = (id: string) =>
  new IpamError('interface_not_found', `There is no interface ${id}.`)

/** Why an interface cannot have what is a network's. */
export const withoutNetwork = (id: string) =>
  new IpamError('interface_without_network', `Interface ${id} is on no network.`)

/** @throws {IpamError} `interface_not_found` */
export async function getInterface(db: Database, id: string): Promise<Interface> {
  const [found] = await rows(db, Interface)`select ${shown} from ${source} where i.id = ${id}`
  if (!found) throw notFound(id)
  return found
}

/** Interfaces that are there, in the order of asking. */
export async function getInterfaces(db: Database, ids: readonly string[]): Promise<Interface[]> {
  const found = await rows(db, Interface)`
    select ${shown} from ${source} where i.id = any (${ids}::uuid[])`
  const byId = new Map(found.map(one => [one.id, one]))
  return ids.map(id => {
    const one = byId.get(id)
    if (!one) throw notFound(id)
    return one
  })
}

export type DevicePlace = {
  readonly device_id: string
  readonly project_id?: string | undefined
  readonly bound: Bound
}

/** The interfaces of a device, all of them or those of a project, in the order of their ids. */
export function interfacesOfDevice(
  db: Database,
  { device_id, project_id, bound }: DevicePlace,
): Promise<Interface[]> {
  const ofProject = allOf([
    ...boundedTo(bound, sql`i.project_id`),
    ...(project_id === undefined ? [] : [sql`i.project_id = ${project_id}`]),
  ])
  return rows(db, Interface)`
    select ${shown} from ${source} where i.device_id = ${device_id} and ${ofProject} order by i.id`
}

/**
 * In the order of their ids; one more than a page holds.
 *
 * @throws {IpamError} `invalid_request`
 */
export function listInterfaces(
  db: Database,
  filter: FilterOf<InterfaceQuery>,
  { limit, after, bound }: { limit: number; after: string | null; bound: Bound },
): Promise<Interface[]> {
  const { project_id, device_id, network_id, mac_address, address, name, tag } = filter
  const { client_id, duid } = filter
  const conditions: Sql[] = [
    ...boundedTo(bound, sql`i.project_id`),
    ...(project_id ? [sql`i.project_id = ${project_id}`] : []),
    ...(device_id ? [sql`i.device_id = ${device_id}`] : []),
    ...(network_id ? [sql`i.network_id = ${network_id}`] : []),
    ...(name === undefined ? [] : [sql`i.name = ${name}`]),
    ...(tag ? [sql`i.tags @> ${tag}`] : []),
    ...(client_id ? [sql`i.client_id = ${canonicalHex(client_id)}`] : []),
    ...(duid ? [sql`i.duid = ${canonicalHex(duid)}`] : []),
    ...(after ? [sql`i.id > ${after}`] : []),
  ]
  if (mac_address !== undefined) {
    const mac = readMac(mac_address, 'mac_address').toString()
    conditions.push(sql`m.mac = ${mac}`)
  }
  if (address !== undefined) {
    // An owner id that others made up may be no UUID.
    conditions.push(sql`(i.id, i.project_id) in (
      select case when a.owner_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then a.owner_id::uuid end, a.project_id
      from allocations a
      where a.scope_id = any (array(select s.id from address_scopes s))
        and a.address = ${canonicalAddress(address, 'address')}::inet
        and a.owner_type = 'interface')`)
  }
  return rows(db, Interface)`
    select ${shown} from ${source} where ${allOf(conditions)} order by i.id limit ${limit + 1}`
}

/**
 * Where interfaces are and were, the earliest first; one more than a page holds. `after` is the
 * time and the interface behind which the page begins.
 */
export function listInterfacePeriods(
  db: Database,
  { interface_id, device_id, at }: FilterOf<InterfacePeriodQuery>,
  { limit, after, bound }: { limit: number; after: readonly string[] | null; bound: Bound },
): Promise<InterfacePeriod[]> {
  const conditions = [
    ...boundedTo(bound),
    ...(interface_id ? [sql`interface_id = ${interface_id}`] : []),
    ...(device_id ? [sql`device_id = ${device_id}`] : []),
    ...(at ? [sql`started_at <= ${at}`] : []),
    ...(after ? [sql`(started_at, interface_id) > (${after[0]}, ${after[1]})`] : []),
  ]
  const behind = sql`order by started_at, interface_id limit ${limit + 1}`
  const current = sql`
    select i.id as interface_id, i.device_id, i.project_id, i.network_id, i.name,
      mac_text(m.mac) as mac_address, i.attached_at as started_at, null::timestamptz as ended_at
    from ${source}`
  const ended = sql`
    select interface_id, device_id, project_id, network_id, name, mac_text(mac), started_at,
      ended_at
    from interface_history
    where ${at ? sql`ended_at > ${at}` : sql`true`}`
  return rows(db, InterfacePeriod)`
    select * from (
      (select * from (${current}) periods where ${allOf(conditions)} ${behind})
      union all
      (select * from (${ended}) periods (interface_id, device_id, project_id, network_id, name,
        mac_address, started_at, ended_at) where ${allOf(conditions)} ${behind})
    ) found ${behind}`
}

/**
 * Creates an interface with its MAC and its addresses, all of it or nothing.
 *
 * @throws {IpamError} `interface_exists`, `client_id_taken`, `duid_taken`, `network_not_found`,
 * `quota_exceeded`, and what taking a MAC or an address may end in
 */
export function createInterface(
  db: Database,
  request: InterfaceRequest,
  underGrants: UnderGrants = noGrants,
): Promise<Interface> {
  const { project_id, device_id = null, ...spec } = request
  const wanted = readInterface(spec)
  return retryTransaction(db, async tx => {
    const names = [...(wanted.id ? [wanted.id] : []), ...namesIn(wanted.network_id, wanted)]
    await lockSpace(tx, { project_id, more: 1, names, taking: [wanted], held: [] })
    const inserted = await insertInterfaces(tx, { project_id, device_id, wanted: [wanted] })
    await giveAddresses(
      tx,
      inserted.map(({ id, mac }) => ({ ...wanted, id, project_id, mac: mac?.address ?? null })),
      underGrants,
    )
    const created = await getInterfaces(
      tx,
      inserted.map(({ id }) => id),
    )
    const events = created.map(one => interfaceEvent('interface.created', one))
    await appendEvents(tx, [...macEventsOf(inserted), ...events])
    return created[0] as Interface
  })
}

/**
 * @throws {IpamError} `interface_not_found`, `precondition_failed`, `invalid_request`,
 * `client_id_taken`, `duid_taken`
 */
export function updateInterface(
  db: Database,
  target: Target,
  patch: InterfacePatch,
): Promise<Interface> {
  return retryTransaction(db, async tx => {
    const before = await lockInterface(tx, target)
    const known = readKnownBy(patch, before)
    const names = namesIn(before.network_id, known)
    await tx.query(sql`select lock_interface_names(${names}, ${[before.id]}::uuid[])`)
    const updated = await changeInterface(tx, { ...before, ...patch, ...known })
    await appendEvents(tx, [interfaceEvent('interface.updated', updated)])
    return updated
  })
}

type Changeable = Pick<
  Interface,
  'id' | 'device_id' | 'name' | 'tags' | 'client_id' | 'duid' | 'iaid'
>

/**
 * Writes what can change of an interface, and makes it a generation older.
 *
 * @throws {IpamError} `client_id_taken`, `duid_taken`
 */
export async function writeInterface(
  tx: Database,
  { id, device_id, name, tags, client_id, duid, iaid }: Changeable,
): Promise<void> {
  await namingField(() =>
    tx.query(sql`
      update interfaces set device_id = ${device_id}, name = ${name}, tags = ${tags},
        client_id = ${client_id}, duid = ${duid}, iaid = ${iaid}, generation = generation + 1,
        updated_at = clock_timestamp()
      where id = ${id}`),
  )
}

/** Before interfaces are known by what others of them were known by. */
export async function forgetNames(tx: Database, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await tx.query(sql`
    update interfaces set client_id = null, duid = null, iaid = null where id = any (${ids}::uuid[])`)
}

/** The same; answers it as it is then. */
export async function changeInterface(tx: Database, wanted: Changeable): Promise<Interface> {
  await writeInterface(tx, wanted)
  return getInterface(tx, wanted.id)
}

/**
 * Deletes an interface; its MAC and its addresses are released.
 *
 * @throws {IpamError} `interface_not_found`, `precondition_failed`, `too_many_allocations`
 */
export function deleteInterface(db: Database, target: Target): Promise<void> {
  return retryTransaction(db, async tx => deleteInterfaces(tx, [await lockInterface(tx, target)]))
}

/** The same for some that are locked. @throws {IpamError} `too_many_allocations` */
export async function deleteInterfaces(tx: Database, gone: readonly Interface[]): Promise<void> {
  const [project_id, ...other_projects] = gone.map(one => one.project_id)
  if (project_id === undefined) return
  const held = heldBy(gone)
  const ids = gone.map(({ id }) => id)
  await lockSpace(tx, { project_id, other_projects, more: 0, gone: ids, taking: [], held })
  if (gone.length > 1) await lockManyMacs(tx)
  const events = await removeInterfaces(tx, gone)
  await releaseAddresses(tx, held)
  await appendEvents(tx, [...events, ...gone.map(one => interfaceEvent('interface.deleted', one))])
}

/**
 * Gives an interface more addresses of its network, all or none.
 *
 * @throws {IpamError} `interface_not_found`, `interface_without_network`, `precondition_failed`, and
 * what allocating may end in
 */
export function addAddresses(
  db: Database,
  target: Target,
  request: InterfaceAddressRequest,
  underGrants: UnderGrants = noGrants,
): Promise<Interface> {
  return retryTransaction(db, async tx => {
    const before = await lockInterface(tx, target)
    const { id, project_id, network_id, mac_address } = before
    if (network_id === null) throw withoutNetwork(id)
    const { families, addresses } = readInterface({ network_id, ...request })
    const taking = [{ network_id, families, addresses }]
    await lockSpace(tx, { project_id, more: 0, taking, held: [] })
    const giving = { id, project_id, network_id, families, addresses, mac: mac_address }
    await giveAddresses(tx, [giving], underGrants)
    const updated = await changeInterface(tx, before)
    await appendEvents(tx, [interfaceEvent('interface.updated', updated)])
    return updated
  })
}

/**
 * Takes an address from an interface.
 *
 * @throws {IpamError} `interface_not_found`, `precondition_failed`, `allocation_not_found`
 */
export function removeAddress(
  db: Database,
  target: Target,
  allocation_id: string,
): Promise<Interface> {
  return retryTransaction(db, async tx => {
    const before = await lockInterface(tx, target)
    if (!before.addresses.some(one => one.allocation_id === allocation_id.toLowerCase())) {
      const detail = `Interface ${before.id} has no address by allocation ${allocation_id}.`
      throw new IpamError('allocation_not_found', detail)
    }
    const held = [allocation_id]
    await lockSpace(tx, { project_id: before.project_id, more: 0, taking: [], held })
    await releaseAddresses(tx, held)
    const updated = await changeInterface(tx, before)
    await appendEvents(tx, [interfaceEvent('interface.updated', updated)])
    return updated
  })
}

/** Locks an interface, if it is as expected; before its network, its blocks and all else. */
export async function lockInterface(tx: Database, { id, expected }: Target): Promise<Interface> {
  const locked = await rows(tx, Type.Object({ id: Id }))`
    select id from interfaces where id = ${id} for no key update`
  if (locked.length === 0) throw notFound(id)
  const found = await getInterface(tx, id)
  refuseUnexpected(found, expected)
  return found
}

const Locked = Type.Object({ ids: Type.Array(Id) })

/** Locks all interfaces of a device, before their networks, their blocks and all else. */
export async function lockInterfacesOfDevice(
  tx: Database,
  device_id: string,
): Promise<Interface[]> {
  const [locked] = await rows(tx, Locked)`select lock_interfaces_of(${device_id}) as ids`
  return getInterfaces(tx, locked?.ids ?? [])
}

/**
 * Locks the interfaces of a device, of a project or of all, for whoever replaces them for that
 * project: one at a time does.
 */
export async function lockDevice(
  tx: Database,
  device: { readonly device_id: string; readonly project_id: string },
  { only_own }: { readonly only_own: boolean },
): Promise<Interface[]> {
  const [locked] = await rows(tx, Locked)`
    select lock_device(${device.project_id}, ${device.device_id}, ${only_own}) as ids`
  return getInterfaces(tx, locked?.ids ?? [])
}

export const interfaceEvent = (type: EventType, data: Interface): NewEvent => {
  return { type, object_id: data.id, project_id: data.project_id, data }
}
