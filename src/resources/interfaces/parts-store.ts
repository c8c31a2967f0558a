import { Type } from 'typebox'
import type { UnderGrants } from '../../access/sources.ts'
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
import { deleteOptionsOf } from '../dhcp-options/store.ts'
import type { NewEvent } from '../events/store.ts'
import { takeMacs } from '../macs/allocator-store.ts'
import type { Mac } from '../macs/schema.ts'
import { getMac, macEvent } from '../macs/store.ts'
import type { KnownBy, WantedInterface } from './rules.ts'
import { AllowedAddress, type Interface } from './schema.ts'

// The parts of which operations on interfaces are made. Each is one step of a transaction, in this
// order, which is that of the locks: the space, interfaces and MACs, addresses, events.

/** The addresses that are wanted of a network. */
export type WantedAddresses = Pick<WantedInterface, 'network_id' | 'families' | 'addresses'>

type Space = {
  readonly project_id: string
  /** Whose interfaces or addresses change beside those of the project. */
  readonly other_projects?: readonly string[]
  /** How many interfaces there will be more. */
  readonly more: number
  /** The ids and names that new ones are to have: one at a time takes each. */
  readonly names?: readonly string[]
  /** Ids of interfaces that may be deleted, whose names and ids others may wait for. */
  readonly gone?: readonly string[]
  readonly taking: readonly WantedAddresses[]
  /** Ids of allocations that are released, or that have to stay. */
  readonly held: readonly string[]
  /** Networks and blocks beside those of `taking` and `held`. */
  readonly networks?: readonly string[]
  readonly blocks?: readonly string[]
}

const Locked = Type.Object({ missing: Nullable(Id), refusal: Nullable(Type.String()) })

/**
 * Locks the names, the networks, the blocks and what the project uses, before anything of it is changed.
 *
 * @throws {IpamError} `network_not_found`, `quota_exceeded`
 */
export async function lockSpace(tx: Database, space: Space): Promise<void> {
  const { project_id, other_projects = [], more, held } = space
  const { names = [], gone = [], networks = [], blocks = [] } = space
  const projects = [...new Set([project_id, ...other_projects])]
  const taking = space.taking.map(({ network_id, families, addresses }) => {
    return { network_id, families, addresses }
  })
  const [locked] = await rows(tx, Locked)`
    select missing, refusal
    from lock_interface_space(${projects}, ${more}, ${names}, ${networks}::uuid[],
      ${blocks}::uuid[], ${JSON.stringify(taking)}, ${held}::uuid[], ${gone}::uuid[])`
  if (locked?.missing) {
    const detail = `There is no network ${locked.missing}.`
    throw new IpamError('network_not_found', detail, { field: 'network_id' })
  }
  if (locked?.refusal) throw new IpamError('quota_exceeded', locked.refusal)
}

/** For whoever takes or releases the MACs of several interfaces, before the first of them. */
export async function lockManyMacs(tx: Database): Promise<void> {
  await tx.query(sql`select lock_many_macs()`)
}

type NewInterfaces = {
  readonly project_id: string
  readonly device_id: string | null
  readonly wanted: readonly WantedInterface[]
}

/** An interface that was put there, with the MAC that it was given. */
export type Inserted = { readonly id: string; readonly mac: Mac | null }

const Ids = Type.Object({ ids: Type.Array(Id) })

const toMac = (text: string): bigint | undefined => parseMac(text) ?? undefined

export type NewRow = Partial<KnownBy> & {
  readonly id: string
  readonly network_id: string | null
  readonly name: string
  readonly tags: readonly string[]
  /** Whether it comes to the network of its addresses. */
  readonly follows_addresses?: boolean
  /** What it is called in v0.1 and v1.0, if somebody named it there. */
  readonly v1_id?: string | null
}

/**
 * Puts interfaces there, without MACs.
 *
 * @throws {IpamError} `interface_exists`, `client_id_taken`, `duid_taken`
 */
export async function putInterfaces(
  tx: Database,
  { project_id, device_id }: Pick<NewInterfaces, 'project_id' | 'device_id'>,
  made: readonly NewRow[],
): Promise<void> {
  const [inserted] = await namingField(
    () => rows(tx, Ids)`
      select insert_interfaces(${project_id}, ${device_id}, ${JSON.stringify(made)}) as ids`,
  )
  const left = new Set(inserted?.ids)
  const taken = made.find(({ id }) => !left.delete(id)) // By others, or by one before it.
  if (!taken) return
  const detail = `There is an interface ${taken.id} already.`
  throw new IpamError('interface_exists', detail, { field: 'id' })
}

/** What a constraint refuses names the field. */
export async function namingField<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const field = /^(client_id|duid)_taken$/.exec((cause as { code?: string }).code ?? '')?.[1]
    if (!(cause instanceof IpamError) || field === undefined) throw cause
    throw new IpamError(cause.code, cause.message, { cause, field })
  }
}

/** The MAC that an interface is to have; any of a range if it is not said which. */
export type MacOfInterface = {
  readonly id: string
  readonly project_id: string
  readonly network_id: string | null
  readonly mac: bigint | undefined
  readonly range_id?: string | undefined
}

/**
 * Takes the MACs of interfaces that are there; the events are for the caller to write.
 *
 * @throws {IpamError} what taking a MAC may end in
 */
export function takeMacsOf(tx: Database, wanted: readonly MacOfInterface[]): Promise<Mac[]> {
  const requests = wanted.map(({ id, network_id, ...one }) => ({
    ...one,
    network_id: network_id ?? undefined,
    owner_type: 'interface',
    owner_id: id,
    interface_id: id,
  }))
  return takeMacs(tx, requests, { address: 'mac_address', range_id: 'mac_range_id' })
}

/**
 * Puts interfaces with their MACs there, in the order of asking; the events are for the caller to
 * write.
 *
 * @throws {IpamError} `interface_exists`, `client_id_taken`, `duid_taken`, and what taking a MAC may end in
 */
export async function insertInterfaces(
  tx: Database,
  { project_id, device_id, wanted }: NewInterfaces,
): Promise<Inserted[]> {
  if (wanted.length === 0) return []
  const made = wanted.map(one => ({ ...one, id: one.id ?? newId() }))
  const values = made.map(({ id, network_id, name, tags, client_id, duid, iaid }) => {
    return { id, network_id, name, tags, client_id, duid, iaid }
  })
  await putInterfaces(tx, { project_id, device_id }, values)
  const withMac = made.filter(({ mac }) => mac !== null)
  const macs = await takeMacsOf(
    tx,
    withMac.map(({ id, network_id, mac, mac_range_id: range_id }) => {
      return { id, project_id, network_id, range_id, mac: mac ? toMac(mac) : undefined }
    }),
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
 * Ends what interfaces may use beside their addresses; the events are for the caller to write.
 */
export async function endAllowedAddresses(
  tx: Database,
  holders: readonly Leaving[],
): Promise<NewEvent[]> {
  const ids = holders.map(({ id }) => id)
  const projects = new Map(holders.map(({ id, project_id }) => [id, project_id]))
  await tx.query(sql`
    select lock_allowed_addresses(n.network_id) from (
      select distinct network_id from allowed_addresses
      where interface_id = any (${ids}::uuid[]) order by network_id) n`)
  const gone = await rows(tx, AllowedAddress)`
    delete from allowed_addresses where interface_id = any (${ids}::uuid[])
    returning ${allowedColumns}`
  return gone
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .map(data => {
      const project_id = projects.get(data.interface_id) ?? null
      return { type: 'allowed_address.deleted', object_id: data.id, project_id, data }
    })
}

/**
 * Deletes interfaces with their MACs, their DHCP options and what they may use beside their
 * addresses. They are locked; the events of what goes with them are for the caller to write.
 */
export async function removeInterfaces(
  tx: Database,
  leaving: readonly Leaving[],
): Promise<NewEvent[]> {
  if (leaving.length === 0) return []
  const ids = leaving.map(({ id }) => id)
  const events = await endAllowedAddresses(tx, leaving)
  for (const { id, project_id } of leaving) {
    events.push(...(await deleteOptionsOf(tx, { type: 'interface', id, project_id })))
  }
  const macs = await rows(tx, LeavingMac)`
    select id from macs where interface_id = any (${ids}::uuid[])`
  await tx.query(sql`delete from interfaces where id = any (${ids}::uuid[])`)
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

/**
 * Gives interfaces addresses, those that are named first; of some networks only under a grant. It locks
 * the events.
 */
export async function giveAddresses(
  tx: Database,
  givings: readonly Giving[],
  underGrants: UnderGrants,
): Promise<void> {
  const requests = givings.flatMap(requestsOf)
  const wanted = requests.map(body => {
    const needs_grant = underGrants.has(body.network_id?.toLowerCase() ?? '')
    return { wanted: { ...readWanted(body), needs_grant }, body }
  })
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
