import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { parseMac } from '../../ip/mac.ts'
import { Id, Nullable } from '../../schema.ts'
import { allocateAll } from '../allocations/allocator-store.ts'
import { prepareAll } from '../allocations/prepare-store.ts'
import { readWanted } from '../allocations/read-request.ts'
import { type AllocationRequest, countMax } from '../allocations/schema.ts'
import { releaseAll } from '../allocations/store.ts'
import type { NewEvent } from '../events/store.ts'
import { takeMacs } from '../macs/allocator-store.ts'
import type { Mac } from '../macs/schema.ts'
import { getMac, macEvent } from '../macs/store.ts'
import type { WantedInterface } from './rules.ts'
import { AllowedAddress, type Interface } from './schema.ts'

// The parts of which operations on interfaces are made. Each is one step of a transaction, in this
// order, which is that of the locks: the space, interfaces and MACs, addresses, events.

/** The addresses that are wanted of a network. */
export type WantedAddresses = Pick<WantedInterface, 'network_id' | 'families' | 'addresses'>

type Space = {
  readonly project_id: string
  /** How many interfaces there will be more. */
  readonly more: number
  readonly taking: readonly WantedAddresses[]
  /** Ids of allocations that are released, or that have to stay. */
  readonly held: readonly string[]
}

const Locked = Type.Object({ missing: Nullable(Id), refusal: Nullable(Type.String()) })

/**
 * Locks the networks, the blocks and what the project uses, before anything of it is changed.
 *
 * @throws {IpamError} `network_not_found`, `quota_exceeded`
 */
export async function lockSpace(tx: Database, space: Space): Promise<void> {
  const { project_id, more, held } = space
  const taking = space.taking.map(({ network_id, families, addresses }) => {
    return { network_id, families, addresses }
  })
  const [locked] = await rows(tx, Locked)`
    select missing, refusal
    from lock_interface_space(${project_id}, ${more}, ${JSON.stringify(taking)}, ${held}::uuid[])`
  if (locked?.missing) {
    const detail = `There is no network ${locked.missing}.`
    throw new IpamError('network_not_found', detail, { field: 'network_id' })
  }
  if (locked?.refusal) throw new IpamError('quota_exceeded', locked.refusal)
}

type NewInterfaces = {
  readonly project_id: string
  readonly device_id: string | null
  readonly wanted: readonly WantedInterface[]
}

/** An interface that was put there, with the MAC that it was given. */
export type Inserted = { readonly id: string; readonly mac: Mac | null }

const Ids = Type.Object({ ids: Type.Array(Id) })

/**
 * Puts interfaces with their MACs there, in the order of asking; the events are for the caller to
 * write.
 *
 * @throws {IpamError} `interface_exists`, and what taking a MAC may end in
 */
export async function insertInterfaces(
  tx: Database,
  { project_id, device_id, wanted }: NewInterfaces,
): Promise<Inserted[]> {
  if (wanted.length === 0) return []
  const made = wanted.map(one => ({ ...one, id: one.id ?? newId() }))
  const values = made.map(({ id, network_id, name, tags }) => ({ id, network_id, name, tags }))
  const [inserted] = await rows(tx, Ids)`
    select insert_interfaces(${project_id}, ${device_id}, ${JSON.stringify(values)}) as ids`
  const distinct = new Set(made.map(({ id }) => id))
  const taken = made.find(({ id }) => !inserted?.ids.includes(id))
  if (taken || distinct.size < made.length) {
    const id = taken?.id ?? made.find((one, n) => made.findIndex(o => o.id === one.id) < n)?.id
    const detail = `There is an interface ${id} already.`
    throw new IpamError('interface_exists', detail, { field: 'id' })
  }
  const withMac = made.filter(({ mac }) => mac !== null)
  const macs = await takeMacs(
    tx,
    withMac.map(({ id, network_id, mac, mac_range_id }) => ({
      mac: mac ? (parseMac(mac) ?? undefined) : undefined,
      range_id: mac_range_id,
      network_id,
      project_id,
      owner_type: 'interface',
      owner_id: id,
      interface_id: id,
    })),
    { address: 'mac_address', range_id: 'mac_range_id' },
  )
  const macOf = new Map(macs.map(mac => [mac.interface_id, mac]))
  return made.map(({ id }) => ({ id, mac: macOf.get(id) ?? null }))
}

/** The events of what interfaces were given at their beginning. */
export const macEventsOf = (inserted: readonly Inserted[]): NewEvent[] =>
  inserted.flatMap(({ mac }) => (mac ? [macEvent('mac.created', mac)] : []))

export const allowedColumns = sql`
  id, interface_id, network_id, address, role, generation, created_at, updated_at`

type Leaving = Pick<Interface, 'id' | 'project_id'>
const LeavingMac = Type.Object({ id: Id })

/**
 * Deletes interfaces with their MACs and what they may use beside their addresses; the events of
 * these are for the caller to write.
 */
export async function removeInterfaces(
  tx: Database,
  leaving: readonly Leaving[],
): Promise<NewEvent[]> {
  if (leaving.length === 0) return []
  const ids = leaving.map(({ id }) => id)
  const projects = new Map(leaving.map(({ id, project_id }) => [id, project_id]))
  await tx.query(sql`
    select lock_allowed_addresses(n.network_id) from (
      select distinct network_id from allowed_addresses
      where interface_id = any (${ids}::uuid[]) order by network_id) n`)
  const allowed = await rows(tx, AllowedAddress)`
    select ${allowedColumns} from allowed_addresses
    where interface_id = any (${ids}::uuid[]) order by id for update`
  const macs = await rows(tx, LeavingMac)`
    select id from macs where interface_id = any (${ids}::uuid[])`
  await tx.query(sql`delete from interfaces where id = any (${ids}::uuid[])`)
  const events = allowed.map((data): NewEvent => {
    const project_id = projects.get(data.interface_id) ?? null
    return { type: 'allowed_address.deleted', object_id: data.id, project_id, data }
  })
  for (const { id } of macs) events.push(macEvent('mac.released', await getMac(tx, id)))
  return events
}

/**
 * The allocations that are the addresses of interfaces.
 *
 * @throws {IpamError} `too_many_allocations`
 */
export function heldBy(interfaces: readonly Pick<Interface, 'addresses'>[]): string[] {
  const held = interfaces.flatMap(({ addresses }) => addresses.map(one => one.allocation_id))
  if (held.length <= countMax) return held
  throw new IpamError('too_many_allocations', `There are more than ${countMax} addresses.`)
}

/** Releases allocations, which locks the events. */
export async function releaseAddresses(tx: Database, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) {
    await releaseAll(
      tx,
      ids.map(id => ({ id })),
    )
  }
}

/** What an interface with this MAC shall get. */
export type Giving = WantedAddresses & {
  readonly id: string
  readonly project_id: string
  readonly mac: string | null
}

/** Gives interfaces addresses, those that are named first. It locks the events. */
export async function giveAddresses(tx: Database, givings: readonly Giving[]): Promise<void> {
  const requests = givings.flatMap(requestsOf)
  const wanted = requests.map(body => ({ wanted: readWanted(body), body }))
  await allocateAll(tx, await prepareAll(tx, wanted))
}

function requestsOf({ id, project_id, network_id, families, addresses, mac }: Giving) {
  const common = {
    network_id,
    project_id,
    owner_type: 'interface',
    owner_id: id,
    interface_id: id,
    ...(mac !== null && { mac_address: mac }),
  }
  const requests: AllocationRequest[] = [
    ...addresses.map(address => ({ ...common, address })),
    ...(families.length > 0 ? [{ ...common, families: [...families] }] : []),
  ]
  return requests
}
