import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { type Sql, sql } from '../db/sql.ts'
import { IpamError } from '../errors.ts'
import { appendEvents } from '../resources/events/store.ts'
import { releaseMac, takeMac } from '../resources/macs/allocator-store.ts'
import { macEvent } from '../resources/macs/store.ts'
import { Id, Nullable, Time } from '../schema.ts'
import { Fault } from './fault.ts'
import { isUuid } from './ids.ts'

const Row = Type.Object({
  id: Id,
  vif_id: Nullable(Type.String()),
  tenant_id: Type.String(),
  device_id: Nullable(Type.String()),
  mac: Nullable(Type.String()),
  created_at: Time,
  updated_at: Time,
})
/** A virtual NIC. Its addresses are the allocations of owner type `interface` with its id. */
export type InterfaceRow = Static<typeof Row>

const select = sql`
  select i.id, i.vif_id, i.tenant_id, i.device_id, i.created_at, i.updated_at, (
    select mac_text(m.mac) from macs m
    where m.owner_id = i.id::text and m.owner_type = 'interface' limit 1) as mac
  from v1_interfaces i`

async function find(db: Database, condition: Sql): Promise<InterfaceRow | null> {
  const [found] = await rows(db, Row)`${select} where ${condition} order by i.id limit 1`
  return found ?? null
}

/** By the name that was given to it, of a tenant or of whomever. */
export function findByName(db: Database, name: string, tenant_id?: string) {
  const ofTenant = tenant_id === undefined ? sql`true` : sql`i.tenant_id = ${tenant_id}`
  return find(db, sql`i.vif_id = ${name} and ${ofTenant}`)
}

/** The one that serves all requests of a tenant that name none. */
export const findNameless = (db: Database, tenant_id: string) =>
  find(db, sql`i.vif_id is null and i.tenant_id = ${tenant_id}`)

type Place = {
  readonly id: string
  readonly device_id: string
  readonly tenant_id?: string | undefined
}

/** By the id that this server gave to it, at its device. */
export async function findOfDevice(db: Database, { id, device_id, tenant_id }: Place) {
  if (!isUuid(id)) return null
  const ofTenant = tenant_id === undefined ? sql`true` : sql`i.tenant_id = ${tenant_id}`
  return find(db, sql`i.id = ${id} and i.device_id = ${device_id} and ${ofTenant}`)
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

export type NewInterface = {
  readonly id: string
  readonly vif_id: string | null
  readonly tenant_id: string
  readonly device_id: string | null
}

/** @throws {IpamError} `interface_exists` when somebody has just taken the name */
export async function insertInterface(tx: Database, wanted: NewInterface): Promise<void> {
  const { id, vif_id, tenant_id, device_id } = wanted
  await tx.query(sql`
    insert into v1_interfaces (id, vif_id, tenant_id, device_id)
    values (${id}, ${vif_id}, ${tenant_id}, ${device_id})`)
}

/** All ranges are used up. */
export class NoMoreMacs extends Fault {
  constructor() {
    super(422, 'No more mac Addresses')
  }
}

const Some = Type.Object({ some: Type.Boolean() })

/**
 * Takes the MAC of an interface that is to be: the one that is asked for, or else one of a range, if
 * there are any ranges. Null if it has none.
 *
 * @throws {NoMoreMacs}
 * @throws {IpamError} `mac_taken` and what else taking a MAC may end in
 */
export async function giveMac(
  tx: Database,
  { id, tenant_id }: Pick<NewInterface, 'id' | 'tenant_id'>,
  mac: bigint | null,
) {
  const wanted = { project_id: tenant_id, owner_type: 'interface', owner_id: id }
  if (mac !== null) {
    const [taken] = await rows(tx, Some)`
      select exists (select from macs where mac = ${mac.toString()}) as some`
    if (taken?.some) throw new IpamError('mac_taken', 'Somebody has this MAC address.')
    return takeMac(tx, { ...wanted, mac })
  }
  const [ranges] = await rows(tx, Some)`select exists (select from mac_ranges) as some`
  if (!ranges?.some) return null
  try {
    return await takeMac(tx, wanted)
  } catch (error) {
    const isFull =
      error instanceof IpamError && /^(mac_range_full|no_mac_range|mac_needs)/.test(error.code)
    throw isFull ? new NoMoreMacs() : error
  }
}

/** Tells of a MAC that an interface was given. */
export const tellMac = (tx: Database, mac: NonNullable<Awaited<ReturnType<typeof giveMac>>>) =>
  appendEvents(tx, [macEvent('mac.created', mac)])

/** Removes an interface with its MAC; what it had of addresses has been released. */
export async function removeInterface(tx: Database, id: string): Promise<void> {
  const macs = await rows(tx, Type.Object({ id: Id }))`
    select id from macs where owner_id = ${id}::uuid::text and owner_type = 'interface'`
  for (const mac of macs) await releaseMac(tx, mac.id)
  await tx.query(sql`delete from v1_interfaces where id = ${id}`)
}
