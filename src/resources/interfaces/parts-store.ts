import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { parseMac } from '../../ip/mac.ts'
import { Id, Nullable, ProjectId } from '../../schema.ts'
import { allocateOnce } from '../allocations/allocator-store.ts'
import { prepare } from '../allocations/prepare-store.ts'
import { readWanted } from '../allocations/read-request.ts'
import { type AllocationRequest, countMax } from '../allocations/schema.ts'
import { releaseAll } from '../allocations/store.ts'
import { deleteOptionsOf } from '../dhcp-options/store.ts'
import type { NewEvent } from '../events/store.ts'
import { takeMac } from '../macs/allocator-store.ts'
import { getMac, macEvent } from '../macs/store.ts'
import type { WantedInterface } from './rules.ts'

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
  readonly taking: readonly WantedAddresses[]
  /** Ids of allocations. */
  readonly releasing: readonly string[]
  /** Networks and blocks beside those of `taking` and `releasing`. */
  readonly networks?: readonly string[]
  readonly blocks?: readonly string[]
}

const Named = Type.Object({ id: Id })
const Blocks = Type.Object({ ids: Type.Array(Id) })
const Refusal = Type.Object({ refusal: Nullable(Type.String()) })

/**
 * Locks the names, the networks, the blocks and what the project uses, before anything of it is changed.
 *
 * @throws {IpamError} `network_not_found`, `quota_exceeded`
 */
export async function lockSpace(tx: Database, space: Space): Promise<void> {
  const { project_id, more, taking, releasing } = space
  for (const name of [...new Set(space.names)].toSorted()) {
    await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 13))`)
  }
  const named = [...taking.map(({ network_id }) => network_id), ...(space.networks ?? [])]
  const networks = [...new Set(named)].toSorted()
  const locked = await rows(tx, Named)`
    select id from networks where id = any (${networks}::uuid[]) order by id for key share`
  const missing = networks.find(id => !locked.some(one => one.id === id))
  if (missing) throw new IpamError('network_not_found', `There is no network ${missing}.`)
  const ids = new Set(space.blocks)
  for (const { network_id, families, addresses } of taking) {
    const [found] = await rows(tx, Blocks)`
      select interface_blocks(${network_id}, ${families}::int[], ${addresses}::inet[]) as ids`
    for (const id of found?.ids ?? []) ids.add(id)
  }
  const held = await rows(tx, Named)`
    select distinct block_id as id from allocations where id = any (${releasing}::uuid[])`
  for (const { id } of held) ids.add(id)
  const projects = [...new Set([project_id, ...(space.other_projects ?? [])])]
  const [row] = await rows(tx, Refusal)`
    select lock_for_interfaces(${[...ids]}::uuid[], ${projects}, ${more}) as refusal`
  if (row?.refusal) throw new IpamError('quota_exceeded', row.refusal)
}

/** For whoever takes or releases the MACs of several interfaces, before the first of them. */
export async function lockManyMacs(tx: Database): Promise<void> {
  await tx.query(sql`select lock_many_macs()`)
}

type NewInterface = {
  readonly project_id: string
  readonly device_id: string | null
  readonly wanted: WantedInterface
}

/**
 * Puts an interface with its MAC there; the events are for the caller to write.
 *
 * @throws {IpamError} `interface_exists`, and what taking a MAC may end in
 */
export async function insertInterface(
  tx: Database,
  { project_id, device_id, wanted }: NewInterface,
): Promise<{ id: string; events: NewEvent[] }> {
  const { id = newId(), network_id, name, tags, mac, mac_range_id } = wanted
  await putInterface(tx, { id, project_id, device_id, network_id, name, tags })
  if (mac === null) return { id, events: [] }
  const taken = await takeMacOf(tx, {
    id,
    network_id,
    project_id,
    mac: mac === undefined ? undefined : (parseMac(mac) ?? undefined),
    range_id: mac_range_id,
  })
  return { id, events: [taken] }
}

export type NewRow = {
  readonly id: string
  readonly project_id: string
  readonly device_id: string | null
  readonly network_id: string | null
  readonly name: string
  readonly tags: readonly string[]
  /** Whether it comes to the network of its addresses. */
  readonly follows_addresses?: boolean
  /** What it is called in v0.1 and v1.0, if somebody named it there. */
  readonly v1_id?: string | null
}

/** Puts an interface there, without a MAC. @throws {IpamError} `interface_exists` */
export async function putInterface(tx: Database, row: NewRow): Promise<void> {
  const { id, project_id, device_id, network_id, name, tags } = row
  const { follows_addresses = false, v1_id = null } = row
  const inserted = await rows(tx, Named)`
    insert into interfaces (id, device_id, project_id, network_id, follows_addresses, name, tags,
      attached_at, v1_id)
    values (${id}, ${device_id}, ${project_id}, ${network_id}, ${follows_addresses}, ${name},
      ${tags}, wall_time(), ${v1_id})
    on conflict (id) do nothing returning id`
  if (inserted.length === 0) {
    const detail = `There is an interface ${id} already.`
    throw new IpamError('interface_exists', detail, { field: 'id' })
  }
}

type MacOfInterface = Pick<NewRow, 'id' | 'project_id' | 'network_id'> & {
  readonly mac: bigint | undefined
  readonly range_id?: string | undefined
}

/**
 * Takes the MAC of an interface that is there; the event is for the caller to write.
 *
 * @throws {IpamError} what taking a MAC may end in
 */
export async function takeMacOf(tx: Database, wanted: MacOfInterface): Promise<NewEvent> {
  const { id, project_id, network_id, mac, range_id } = wanted
  const taken = await takeMac(tx, {
    mac,
    range_id,
    network_id: network_id ?? undefined,
    project_id,
    owner_type: 'interface',
    owner_id: id,
    interface_id: id,
  })
  return macEvent('mac.created', taken)
}

const Leaving = Type.Object({ id: Id, project_id: ProjectId, mac_id: Nullable(Id) })

/**
 * Deletes interfaces with their MACs, those of one pool together, and their DHCP options. They are
 * locked; the events of what goes with them are for the caller to write.
 */
export async function removeInterfaces(tx: Database, ids: readonly string[]): Promise<NewEvent[]> {
  const found = await rows(tx, Leaving)`
    select i.id, i.project_id, m.id as mac_id from interfaces i left join macs m on m.interface_id = i.id
    where i.id = any (${ids}::uuid[]) order by m.pool_id, i.id`
  const events: NewEvent[] = []
  for (const { id, project_id } of found) {
    events.push(...(await deleteOptionsOf(tx, { type: 'interface', id, project_id })))
    await tx.query(sql`delete from interfaces where id = ${id}`)
  }
  const macs = found.flatMap(({ mac_id }) => mac_id ?? [])
  for (const id of macs) events.push(macEvent('mac.released', await getMac(tx, id)))
  return events
}

/**
 * The allocations that are the addresses of interfaces.
 *
 * @throws {IpamError} `too_many_allocations`
 */
export async function heldBy(
  tx: Database,
  interfaces: readonly { readonly id: string; readonly project_id: string }[],
): Promise<string[]> {
  const held = await rows(tx, Named)`
    select a.id from allocations a
      join unnest(${interfaces.map(({ id }) => id)}::text[],
        ${interfaces.map(({ project_id }) => project_id)}::text[]) i (id, project_id)
        on a.owner_id = i.id and a.project_id = i.project_id
    where a.owner_type = 'interface' order by a.id limit ${countMax + 1}`
  if (held.length > countMax) {
    throw new IpamError('too_many_allocations', `There are more than ${countMax} addresses.`)
  }
  return held.map(({ id }) => id)
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

type Giving = WantedAddresses & {
  readonly id: string
  readonly project_id: string
  readonly mac: string | null | undefined
}

/** Gives an interface addresses, those that are named first. It locks the events. */
export async function giveAddresses(tx: Database, giving: Giving): Promise<void> {
  const { id, project_id, network_id, families, addresses } = giving
  const mac_address = giving.mac === undefined ? await macOf(tx, id) : giving.mac
  const common = {
    network_id,
    project_id,
    owner_type: 'interface',
    owner_id: id,
    interface_id: id,
    ...(mac_address !== null && { mac_address }),
  }
  const requests: AllocationRequest[] = [
    ...addresses.map(address => ({ ...common, address })),
    ...(families.length > 0 ? [{ ...common, families: [...families] }] : []),
  ]
  for (const request of requests) {
    await allocateOnce(tx, await prepare(tx, readWanted(request), request))
  }
}

const OwnMac = Type.Object({ address: Type.String() })

async function macOf(tx: Database, interface_id: string): Promise<string | null> {
  const [mac] = await rows(tx, OwnMac)`
    select mac_text(mac) as address from macs where interface_id = ${interface_id}`
  return mac?.address ?? null
}
