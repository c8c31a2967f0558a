import type { Database } from '../db/database.ts'
import { appendEvents, type NewEvent } from '../resources/events/store.ts'
import { moveInterface } from '../resources/interfaces/move-store.ts'
import { lockSpace, releaseAddresses } from '../resources/interfaces/parts-store.ts'
import { changeInterface, getInterface, interfaceEvent } from '../resources/interfaces/store.ts'
import type { BlockRow } from './block-store.ts'
import { Fault, FieldErrors, refuseField } from './fault.ts'
import {
  findByName,
  getInterfaceRow,
  giveMac,
  hasAddressesElsewhere,
  type InterfaceRow,
  insertInterface,
  lockByName,
  lockMacs,
  lockNameless,
  NoMoreMacs,
} from './interface-store.ts'
import type { Call } from './route-table.ts'
import { type Fields, readMac, textOf } from './values.ts'

/** An interface as a request describes it. */
export type Described = {
  readonly vif_id: string | null
  readonly tenant_id: string
  readonly device_id: string | null
  readonly mac: bigint | null
}

const lengthMax = 255

/**
 * A text that may be left out.
 *
 * @throws {Fault} 400
 */
export function optionalText(fields: Fields, name: string): string | null {
  const value = fields.get(name)
  if (value === undefined || value === null || value === '') return null
  const text = textOf(value)
  if (text === undefined || text.length > lengthMax) {
    refuseField(name, `${name} should be a text of up to ${lengthMax} characters`)
  }
  return text
}

/** Whose address it shall be: that of the path, if the body says nothing. @throws {Fault} 400 */
export function tenantOf(fields: Fields, ofPath: string | undefined): string {
  if (!fields.has('tenant_id')) return ofPath ?? ''
  return (
    optionalText(fields, 'tenant_id') ?? refuseField('tenant_id', 'tenant_id should be present')
  )
}

/** @throws {Fault} 400 */
export function readMacOf(fields: Fields): bigint | null {
  const text = optionalText(fields, 'mac_address')
  if (text === null) return null
  const mac = readMac(text)
  if (mac === null) refuseField('mac_address', 'mac_address is not a valid address')
  return mac
}

/**
 * An interface that takes addresses. It and all that it may take are locked; what became of it so far
 * is to be told (`tell`) when its addresses have been taken.
 */
export type Plug = {
  readonly taker: InterfaceRow
  readonly became: 'created' | 'moved' | 'nothing'
  readonly events: readonly NewEvent[]
}

/** A new interface; where there are no more MACs it is made without one, which is refused all the same. */
export type Made = Plug & { readonly refusal: NoMoreMacs | null }

type Blocks = readonly Pick<BlockRow, 'id' | 'network_id'>[]

/**
 * The interface of a tenant by its name, or the nameless one; if it is not there it is made. What is
 * said of one that is there is not looked at. It comes to the network of the blocks.
 *
 * @throws {Fault} 400, 422
 */
export async function obtainInterface(
  { db }: Pick<Call, 'db'>,
  said: Described,
  findBlocks: () => Promise<Blocks>,
): Promise<Plug> {
  const { vif_id, tenant_id } = said
  const found =
    vif_id === null ? await lockNameless(db, tenant_id) : await lockByName(db, vif_id, tenant_id)
  const blocks = await findBlocks()
  if (found) return bringTo(db, found, blocks)
  const made = await createInterface(db, said, blocks)
  if (made.refusal) throw made.refusal
  return made
}

/** What the addresses that an interface takes of some blocks need to be locked. */
const spaceOf = (blocks: Blocks) => ({
  networks: blocks.flatMap(({ network_id }) => network_id ?? []),
  blocks: blocks.map(({ id }) => id),
  taking: [],
  held: [],
})

/**
 * Brings an interface, which is locked, to the network of some blocks, if it is not there.
 *
 * @throws {Fault} 422
 */
export async function bringTo(db: Database, taker: InterfaceRow, blocks: Blocks): Promise<Plug> {
  const network_id = blocks[0]?.network_id ?? null
  const { id, vif_id, tenant_id: project_id, follows_addresses } = taker
  const isThere = network_id === taker.network_id
  if (follows_addresses ? await hasAddressesElsewhere(db, taker, network_id) : !isThere) {
    throw new Fault(422, `Interface ${vif_id ?? id} is configured on another network`)
  }
  await lockSpace(db, { project_id, more: 0, ...spaceOf(blocks) })
  if (isThere) return { taker, became: 'nothing', events: [] }
  const events = await moveInterface(db, { id, project_id }, network_id)
  return { taker: { ...taker, network_id }, became: 'moved', events }
}

/**
 * A new interface on the network of some blocks.
 *
 * @throws {Fault} 400
 */
export async function createInterface(
  db: Database,
  said: Described,
  blocks: Blocks,
): Promise<Made> {
  await refuseTaken(db, said)
  const { vif_id, tenant_id: project_id } = said
  const names = vif_id === null ? [] : [vif_id]
  await lockSpace(db, { project_id, more: 1, names, ...spaceOf(blocks) })
  await lockMacs(db, [said.mac])
  return putThere(db, said, blocks)
}

/** @throws {Fault} 400 where the tenant is missing or the name is somebody's */
export async function refuseTaken(db: Database, { vif_id, tenant_id }: Described): Promise<void> {
  const errors = new FieldErrors()
  if (tenant_id === '') errors.add('tenant_id', 'tenant_id should be present')
  if (vif_id !== null && (await findByName(db, vif_id))) {
    errors.add('virtual_interface_id', `Virtual Interface ${vif_id} already exists`)
  }
  errors.throwIfAny()
}

/** The same where its name, its space and its MAC are locked. */
export async function putThere(db: Database, said: Described, blocks: Blocks): Promise<Made> {
  const { vif_id, tenant_id, device_id, mac } = said
  const network_id = blocks[0]?.network_id ?? null
  const id = await insertInterface(db, { vif_id, tenant_id, device_id, network_id })
  let events: readonly NewEvent[] = []
  let refusal: NoMoreMacs | null = null
  try {
    events = await giveMac(db, { id, tenant_id, network_id }, mac)
  } catch (error) {
    if (!(error instanceof NoMoreMacs)) throw error
    refusal = error
  }
  return { taker: await getInterfaceRow(db, id), became: 'created', events, refusal }
}

/** Writes the events of an interface; `isChanged` is whether it has got addresses. */
export async function tell(
  db: Database,
  { taker: { id }, became, events }: Plug,
  { isChanged }: { readonly isChanged: boolean },
): Promise<void> {
  if (became === 'created') {
    const created = await getInterface(db, id)
    await appendEvents(db, [...events, interfaceEvent('interface.created', created)])
  } else if (became === 'moved' || isChanged) {
    const updated = await changeInterface(db, await getInterface(db, id))
    await appendEvents(db, [...events, interfaceEvent('interface.updated', updated)])
  }
}

/** Takes addresses from an interface, which is locked; they wait. */
export async function takeFrom(
  db: Database,
  taker: InterfaceRow,
  { releasing, blocks = [] }: { releasing: readonly string[]; blocks?: readonly string[] },
): Promise<void> {
  const { tenant_id: project_id } = taker
  await lockSpace(db, { project_id, more: 0, taking: [], held: releasing, blocks })
  if (releasing.length === 0) return
  await releaseAddresses(db, releasing)
  await tell(db, { taker, became: 'nothing', events: [] }, { isChanged: true })
}
