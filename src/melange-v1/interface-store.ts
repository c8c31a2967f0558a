import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { type Sql, sql } from '../db/sql.ts'
import { IpamError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { NewEvent } from '../resources/events/store.ts'
import { putInterfaces, takeMacsOf } from '../resources/interfaces/parts-store.ts'
import type { Mac } from '../resources/macs/schema.ts'
import { macEvent } from '../resources/macs/store.ts'
import { Id, Nullable, Time } from '../schema.ts'
import { Fault } from './fault.ts'
import { isUuid } from './ids.ts'

const Row = Type.Object({
  id: Id,
  vif_id: Nullable(Type.String()),
  tenant_id: Type.String(),
  device_id: Nullable(Type.String()),
  network_id: Nullable(Id),
  follows_addresses: Type.Boolean(),
  mac: Nullable(Type.String()),
  created_at: Time,
  updated_at: Time,
})
/** An interface; `vif_id` is the name that was given to it in this API, if one was. */
export type InterfaceRow = Static<typeof Row>

const select = sql`
  select i.id, i.v1_id as vif_id, i.project_id as tenant_id, i.device_id, i.network_id,
    i.follows_addresses, i.created_at, i.updated_at, mac_text(m.mac) as mac
  from interfaces i left join macs m on m.interface_id = i.id`

/** What an interface `i` is called. */
export const interfaceName = sql`coalesce(i.v1_id, i.id::text)`

async function find(db: Database, condition: Sql): Promise<InterfaceRow | null> {
  const [found] = await rows(db, Row)`
    ${select} where ${condition} order by i.v1_id is null, i.id limit 1`
  return found ?? null
}

/** Locks an interface before its network, its blocks and all else. */
async function lock(tx: Database, condition: Sql): Promise<InterfaceRow | null> {
  const [locked] = await rows(tx, Type.Object({ id: Id }))`
    select i.id from interfaces i where ${condition}
    order by i.v1_id is null, i.id limit 1 for no key update`
  return locked ? find(tx, sql`i.id = ${locked.id}`) : null
}

/** A text that is an id as this server writes it. */
const isCanonicalId = (text: string) => isUuid(text) && text === text.toLowerCase()

/**
 * One that was made here is called as it was named, and not at all if it was not; one that was made
 * elsewhere is called by its id.
 */
function isCalled(name: string, tenant_id?: string): Sql {
  const ofTenant = tenant_id === undefined ? sql`true` : sql`i.project_id = ${tenant_id}`
  const byId = isCanonicalId(name) ? sql`i.id = ${name} and not i.follows_addresses` : sql`false`
  return sql`(i.v1_id = ${name} or ${byId}) and ${ofTenant}`
}

/** By its name, of a tenant or of whomever. */
export const findByName = (db: Database, name: string, tenant_id?: string) =>
  find(db, isCalled(name, tenant_id))

export const lockByName = (tx: Database, name: string, tenant_id?: string) =>
  lock(tx, isCalled(name, tenant_id))

/** The one that serves all requests of a tenant that name none. It is looked for by one at a time. */
export async function lockNameless(tx: Database, tenant_id: string) {
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${tenant_id}, 11))`)
  return lock(tx, sql`i.v1_id is null and i.follows_addresses and i.project_id = ${tenant_id}`)
}

type Place = {
  readonly id: string
  readonly device_id: string
  readonly tenant_id?: string | undefined
}

/** By the id that this server gave to it, at its device; locked if it is to change. */
export async function findOfDevice(db: Database, { id, device_id, tenant_id }: Place) {
  return isUuid(id) ? find(db, isOfDevice({ id, device_id, tenant_id })) : null
}

export async function lockOfDevice(tx: Database, { id, device_id, tenant_id }: Place) {
  return isUuid(id) ? lock(tx, isOfDevice({ id, device_id, tenant_id })) : null
}

function isOfDevice({ id, device_id, tenant_id }: Place): Sql {
  const ofTenant = tenant_id === undefined ? sql`true` : sql`i.project_id = ${tenant_id}`
  return sql`i.id = ${id} and i.device_id = ${device_id} and ${ofTenant}`
}

export const getInterfaceRow = async (db: Database, id: string): Promise<InterfaceRow> => {
  const found = await find(db, sql`i.id = ${id}`)
  if (!found) throw new Error('an interface that was inserted did not come back')
  return found
}

/** How many interfaces of a device are shown. */
const interfacesMax = 10_000

/** All of a device, in the order of their making. */
export function listOfDevice(db: Database, device_id: string): Promise<InterfaceRow[]> {
  return rows(db, Row)`
    ${select} where i.device_id = ${device_id} order by i.created_at, i.id limit ${interfacesMax}`
}

/** Whether an interface has addresses of a network other than this one. */
export async function hasAddressesElsewhere(
  db: Database,
  { id, tenant_id }: Pick<InterfaceRow, 'id' | 'tenant_id'>,
  network_id: string | null,
): Promise<boolean> {
  const other = sql`b.network_id is not null and b.network_id is distinct from ${network_id}::uuid`
  return someOf(
    db,
    sql`
      from allocations a join blocks b on b.id = a.block_id
      where a.owner_id = ${id}::uuid::text and a.owner_type = 'interface'
        and a.project_id = ${tenant_id} and ${other}`,
  )
}

const Some = Type.Object({ some: Type.Boolean() })

async function someOf(db: Database, found: Sql): Promise<boolean> {
  const [row] = await rows(db, Some)`select exists (select ${found}) as some`
  return row?.some ?? false
}

export type NewInterface = {
  readonly vif_id: string | null
  readonly tenant_id: string
  readonly device_id: string | null
  readonly network_id: string | null
}

/**
 * Puts an interface there, without a MAC; answers its id, which is its name if that can be one.
 *
 * @throws {IpamError} `interface_exists` when somebody has just taken the name
 */
export async function insertInterface(tx: Database, wanted: NewInterface): Promise<string> {
  const { vif_id, tenant_id, device_id, network_id } = wanted
  const isFree =
    vif_id !== null &&
    isCanonicalId(vif_id) &&
    !(await someOf(tx, sql`from interfaces where id = ${vif_id}`))
  const id = isFree ? vif_id : newId()
  const row = { id, network_id, name: vif_id ?? '', tags: [], v1_id: vif_id }
  await putInterfaces(tx, { project_id: tenant_id, device_id }, [
    { ...row, follows_addresses: true },
  ])
  return id
}

/** All ranges are used up. */
export class NoMoreMacs extends Fault {
  constructor() {
    super(422, 'No more mac Addresses')
  }
}

/** One at a time takes these MACs, whatever the network. It is locked before ranges and pools. */
export async function lockMacs(tx: Database, macs: readonly (bigint | null)[]): Promise<void> {
  const named = macs.flatMap(mac => mac?.toString() ?? []).toSorted()
  for (const mac of named) {
    await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${mac}, 12))`)
  }
}

type Holder = {
  readonly id: string
  readonly tenant_id: string
  readonly network_id: string | null
}

/**
 * Gives an interface its MAC: the one that is asked for, which nobody may have on any network, or
 * else one of a range, if there are any ranges. The event is for the caller to write.
 *
 * @throws {NoMoreMacs}
 * @throws {IpamError} `mac_taken` and what else taking a MAC may end in
 */
export async function giveMac(
  tx: Database,
  { id, tenant_id: project_id, network_id }: Holder,
  mac: bigint | null,
): Promise<NewEvent[]> {
  const wanted = { id, project_id, network_id }
  if (mac !== null) {
    if (await someOf(tx, sql`from macs where mac = ${mac.toString()}`)) {
      throw new IpamError('mac_taken', 'Somebody has this MAC address.')
    }
    return macEvents(await takeMacsOf(tx, [{ ...wanted, mac }]))
  }
  if (!(await someOf(tx, sql`from mac_ranges`))) return []
  try {
    return macEvents(await takeMacsOf(tx, [{ ...wanted, mac: undefined }]))
  } catch (error) {
    const isFull =
      error instanceof IpamError && /^(mac_range_full|no_mac_range|mac_needs)/.test(error.code)
    throw isFull ? new NoMoreMacs() : error
  }
}

const macEvents = (taken: readonly Mac[]) => taken.map(one => macEvent('mac.created', one))
