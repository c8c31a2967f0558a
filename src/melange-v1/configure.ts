import type { Database } from '../db/database.ts'
import { formatAddress, parseAddress } from '../ip/address.ts'
import { addressesOf } from './address-store.ts'
import { showConfiguration, showInterface } from './address-views.ts'
import { allocateOfNetwork, NoMoreAddresses } from './allocate.ts'
import { type BlockRow, listGrantedBlocks } from './block-store.ts'
import { originOf } from './block-views.ts'
import { createDescribedBlock } from './block-write-store.ts'
import { networkBlocks } from './blocks.ts'
import { Fault, notFound, refuseField } from './fault.ts'
import { getInterfaceRow, type InterfaceRow, type NoMoreMacs } from './interface-store.ts'
import { findNetwork } from './network-store.ts'
import { readFields } from './request-body.ts'
import type { Answer, Call } from './route-table.ts'
import {
  createInterface,
  type Described,
  type Made,
  optionalText,
  type Plug,
  readMacOf,
  tell,
} from './takers.ts'
import { type Data, type Fields, readNetwork, textOf } from './values.ts'

/** @throws {Fault} 404 */
export const required = (row: InterfaceRow | null): InterfaceRow => {
  if (!row) throw notFound('Interface')
  return row
}

/** An interface with its addresses as they are configured. */
export async function showOne({ db, settings }: Call, row: InterfaceRow): Promise<Data> {
  return showInterface(row, await showConfiguration(db, await addressesOf(db, row.id), settings))
}

/** A network by its name, as far as it is a tenant's. */
export type NetworkPlace = { readonly name: string; readonly tenant_id: string }

/**
 * The blocks of a tenant in a network. Where there are none, one is made of `default_cidr`.
 *
 * @throws {Fault} 404
 */
export async function obtainBlocks(call: Call, place: NetworkPlace): Promise<readonly BlockRow[]> {
  const { db, settings } = call
  const prefix = settings.default_cidr === undefined ? null : readNetwork(settings.default_cidr)
  try {
    return await networkBlocks(db, place)
  } catch (fault) {
    const granted = await grantedBlocks(db, place)
    if (granted.length > 0) return granted
    if (!prefix || !(fault instanceof Fault)) throw fault
  }
  const { dns1, dns2 } = settings
  const servers = [dns1, dns2].flatMap(text => parseAddress(text) ?? []).map(formatAddress)
  await createDescribedBlock(db, {
    tenant_id: place.tenant_id,
    prefix,
    place: 'private',
    origin: originOf(prefix, settings),
    gateway: null,
    gateway_ip: null,
    dns1,
    dns2,
    dns_nameservers: [...new Set(servers)],
    policy_id: null,
    network: place.name,
    empty_members: [],
  })
  return networkBlocks(db, place)
}

/** The blocks of a network that is granted to the tenant; none if it is not. */
async function grantedBlocks(db: Database, { name, tenant_id }: NetworkPlace): Promise<BlockRow[]> {
  const network = await findNetwork(db, name)
  return network ? listGrantedBlocks(db, { network_id: network.id, tenant_id }) : []
}

/** The addresses that are asked for. @throws {Fault} 400 */
export function readAddresses(fields: Fields): string[] {
  const value = fields.get('addresses')
  if (value === undefined || value === null || value === '') return []
  if (!Array.isArray(value)) throw new Fault(400, 'addresses should be a list')
  return value.map(one => textOf(one) ?? refuseField('addresses', 'addresses should be texts'))
}

/** Which network an interface is to be on, and with which addresses; null if it is to be on none. */
function readNetworkOf(fields: Fields) {
  const network = readFields(fields.get('network'), 'network')
  if (network.size === 0) return null
  const name = optionalText(network, 'id')
  const tenant_id = optionalText(network, 'tenant_id')
  if (name === null) refuseField('id', 'id of network should be present')
  if (tenant_id === null) refuseField('tenant_id', 'tenant_id of network should be present')
  return { place: { name, tenant_id }, addresses: readAddresses(network) }
}

/** What is said of a new interface. @throws {Fault} 400 */
export const readInterface = (
  fields: Fields,
  given: { vif: string; device_id: string | null },
): Described => ({
  vif_id: optionalText(fields, given.vif),
  tenant_id: optionalText(fields, 'tenant_id') ?? '',
  device_id: given.device_id ?? optionalText(fields, 'device_id'),
  mac: readMacOf(fields),
})

/** An interface as it is to be made: where, and with which addresses. */
export type Wanted = {
  readonly said: Described
  /** Empty if it is to be on no network. */
  readonly blocks: readonly BlockRow[]
  readonly addresses: readonly string[]
}

/** @throws {Fault} 400, 404 */
export async function readWanted(call: Call, said: Described, fields: Fields): Promise<Wanted> {
  const network = readNetworkOf(fields)
  const blocks = network ? await obtainBlocks(call, network.place) : []
  return { said, blocks, addresses: network?.addresses ?? [] }
}

/**
 * Makes an interface with its MAC and the addresses of its network, or nothing of it. Where there are
 * no more MACs it is made without any, as in the original, and the refusal is returned.
 *
 * @throws {Fault} 400, 404, 422
 */
export async function configure(
  call: Call,
  said: Described,
  fields: Fields,
): Promise<InterfaceRow | NoMoreMacs> {
  const wanted = await readWanted(call, said, fields)
  const made = await createInterface(call.db, said, wanted.blocks)
  if (!made.refusal) return giveAddresses(call, made, wanted)
  await tell(call.db, made, { isChanged: false })
  return made.refusal
}

/** Gives a new interface its addresses, and tells of it. @throws {Fault} 422 */
export async function giveAddresses(
  { db, settings }: Call,
  made: Made,
  { blocks, addresses }: Wanted,
): Promise<InterfaceRow> {
  const { taker } = made
  if (blocks.length > 0) await allocateOfNetwork({ db, settings }, { blocks, taker, addresses })
  await tell(db, made, { isChanged: true })
  return getInterfaceRow(db, taker.id)
}

type Request = {
  readonly blocks: readonly BlockRow[]
  readonly plug: Plug
  readonly addresses: readonly string[]
}

/** Allocates; where nothing is free the blocks stay marked, and the interface stays where it is now. */
export async function allocateFor(
  { db, settings }: Call,
  { blocks, plug, addresses }: Request,
): Promise<Answer> {
  const { taker } = plug
  try {
    const found = await allocateOfNetwork({ db, settings }, { blocks, taker, addresses })
    await tell(db, plug, { isChanged: found.length > 0 })
    const held = await addressesOf(db, taker.id)
    const named = found.map(({ id }) => held.find(one => one.id === id) ?? null)
    const shown = named.filter(one => one !== null)
    const data = await showConfiguration(db, shown, settings)
    return { status: 201, root: 'ip_addresses', data }
  } catch (fault) {
    if (!(fault instanceof NoMoreAddresses)) throw fault
    await tell(db, plug, { isChanged: false })
    return { status: fault.status, fault }
  }
}
