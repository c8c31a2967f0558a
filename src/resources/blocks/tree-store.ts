import { isDeepStrictEqual } from 'node:util'
import { Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { type Conflict, IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { parseAddress } from '../../ip/address.ts'
import {
  formatPrefix,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixHolds,
  prefixRange,
} from '../../ip/prefix.ts'
import { freeRanges, mergeRanges } from '../../ip/range.ts'
import { lockAddressScope } from '../address-scopes/store.ts'
import { appendEvents, type EventType } from '../events/store.ts'
import { canBeGateway, compareExtent, excludedRanges, prefixOf } from './rules.ts'
import { Block, type BlockPatch } from './schema.ts'
import {
  allocationsIn,
  giveRange,
  giveUsedRange,
  lostSpace,
  resetSpace,
  takeFreeRange,
  takeRange,
} from './space-store.ts'
import { blockColumns, getBlock } from './store.ts'

/** What a caller may say of a new block beside where it is. */
export type BlockSettings = {
  readonly network_id?: string | undefined
  readonly project_id?: string | undefined
  readonly name?: string | undefined
  readonly description?: string | undefined
  readonly tags?: readonly string[] | undefined
  readonly gateway_ip?: string | null | undefined
  readonly dns_nameservers?: readonly string[] | undefined
  readonly allocate_network_address?: boolean | undefined
  readonly strategy?: Block['strategy'] | undefined
}

/** The block to cut from, or the scope in which a block is to be the top. */
export type Container = { readonly parent_id: string } | { readonly scope_id: string }

export type NewBlocks = {
  readonly container: Container
  /** These prefixes, or so many free prefixes of a length. */
  readonly wanted: readonly Prefix[] | { readonly prefix_length: number; readonly count: number }
  readonly adopt_children: boolean
  readonly settings: BlockSettings
}

/**
 * Creates blocks at the top of a scope or cuts them from a parent, all or none.
 *
 * @throws {IpamError} `address_scope_not_found`, `block_not_found`, `block_overlaps`,
 * `block_overlaps_in_network`, `block_outside_parent`, `block_has_allocations`,
 * `block_network_differs`, `no_free_prefix`, `gateway_unusable`
 */
export function createBlocks(db: Database, { wanted, ...request }: NewBlocks): Promise<Block[]> {
  return retryTransaction(db, async tx => {
    const { scope, parent } = await openContainer(tx, request.container)
    const project_id = request.settings.project_id ?? parent?.project_id ?? scope.project_id
    const settings = { ...request.settings, project_id: project_id ?? undefined }
    const place = { scope_id: scope.id, parent, adopt_children: request.adopt_children, settings }
    const created: Block[] = []
    const adopted: Block[] = []
    const create = async (prefix: Prefix) => {
      const { block, moved } = await createBlock(tx, prefix, place)
      created.push(block)
      adopted.push(...moved)
    }
    if ('prefix_length' in wanted) {
      for (let n = 0; n < wanted.count; n++) {
        await create(await findPrefix(tx, parent, wanted.prefix_length))
      }
    } else {
      for (const prefix of wanted) await create(prefix)
    }
    await appendEvents(tx, [
      ...eventsOf('block.created', created),
      ...eventsOf('block.updated', adopted),
    ])
    return created
  })
}

async function openContainer(tx: Database, container: Container) {
  if ('scope_id' in container) {
    return { scope: await lockAddressScope(tx, container.scope_id), parent: null }
  }
  const { scope, block: parent, children } = await lockBlock(tx, container.parent_id)
  if (children === 0n) {
    const conflicts = await allocationsIn(tx, parent, [prefixRange(prefixOf(parent))])
    if (conflicts.length > 0) {
      const detail = `${parent.cidr} holds allocations, for instance ${conflicts[0]?.address}.`
      throw new IpamError('block_has_allocations', detail, { conflicts })
    }
    await resetSpace(tx, parent, 'container')
  }
  return { scope, parent }
}

const Found = Type.Object({ found: Type.Union([Type.String(), Type.Null()]) })

async function findPrefix(tx: Database, parent: Block | null, length: number): Promise<Prefix> {
  const [row] = await rows(tx, Found)`
    select find_prefix(${parent?.id ?? null}, ${length}) as found`
  // PostgreSQL leaves the length of a single address out.
  const text = row?.found?.includes('/') ? row.found : `${row?.found}/${length}`
  if (row?.found) return prefixOf({ cidr: text })
  throw new IpamError('no_free_prefix', `${parent?.cidr} has no free /${length}.`)
}

type Place = {
  readonly scope_id: string
  readonly parent: Block | null
  readonly adopt_children: boolean
  readonly settings: BlockSettings
}

async function createBlock(tx: Database, prefix: Prefix, place: Place) {
  const { scope_id, parent, settings } = place
  const cidr = formatPrefix(prefix)
  if (parent && !prefixContains(prefixOf(parent), prefix)) {
    throw new IpamError('block_outside_parent', `${cidr} does not lie inside ${parent.cidr}.`)
  }
  if (parent?.network_id && parent.network_id !== (settings.network_id ?? parent.network_id)) {
    throw new IpamError('block_network_differs', `${parent.cidr} is in ${parent.network_id}.`)
  }
  const network_id = settings.network_id ?? parent?.network_id ?? null
  const { gateway_ip = null, allocate_network_address = false } = settings
  refuseGateway({ cidr, gateway_ip, allocate_network_address })

  const overlapping = await overlappingBlocks(tx, place, cidr)
  const adopted = place.adopt_children ? overlapping : []
  const inTheWay = overlapping.filter(
    block => !adopted.includes(block) || !prefixContains(prefix, prefixOf(block)),
  )
  refuseOverlap(cidr, inTheWay)
  if (network_id && adopted.some(block => block.network_id !== network_id)) {
    throw new IpamError('block_network_differs', `A block inside ${cidr} is not in ${network_id}.`)
  }
  const is_network_top = network_id !== null && !parent?.network_id
  if (is_network_top) await refuseOverlapInNetwork(tx, { cidr, network_id, apartFrom: adopted })

  const gaps = freeRanges(
    prefixRange(prefix),
    adopted.map(block => prefixRange(prefixOf(block))),
  )
  if (parent) for (const gap of gaps) await takeFreeRange(tx, parent, gap)
  const id = newId()
  if (adopted.length > 0) {
    await tx.query(sql`set constraints block_has_children deferred`)
    await tx.query(sql`
      update blocks set parent_id = ${id}, parent_cidr = ${cidr}, generation = generation + 1,
        is_network_top = is_network_top and ${network_id}::text is null, updated_at = clock_timestamp()
      where id = any (${adopted.map(block => block.id)})`)
  }
  const [block] = await rows(tx, Block)`
    insert into blocks (id, scope_id, parent_id, parent_cidr, cidr, network_id, is_network_top,
      project_id, name, description, tags, gateway_ip, dns_nameservers,
      allocate_network_address, strategy)
    values (${id}, ${scope_id}, ${parent?.id ?? null}, ${parent?.cidr ?? null}, ${cidr},
      ${network_id}, ${is_network_top},
      ${settings.project_id ?? null}, ${settings.name ?? ''}, ${settings.description ?? ''},
      ${settings.tags ?? []}, ${gateway_ip}, ${settings.dns_nameservers ?? []},
      ${allocate_network_address}, ${settings.strategy ?? 'sequential'})
    returning ${blockColumns}`
  if (!block) throw new Error('a block that was inserted did not come back')
  if (adopted.length === 0) {
    await resetSpace(tx, block, 'leaf')
    return { block, moved: [] }
  }
  for (const gap of gaps) await giveRange(tx, block, gap)
  const moved = await rows(tx, Block)`
    select ${blockColumns} from blocks where parent_id = ${id} order by cidr`
  return { block, moved }
}

/** The blocks of the same container that share addresses with a CIDR; not more than adopt could take. */
function overlappingBlocks(tx: Database, { scope_id, parent }: Place, cidr: string) {
  return rows(tx, Block)`
    select ${blockColumns} from blocks
    where container_id = ${parent?.id ?? scope_id} and cidr && ${cidr}::inet order by cidr`
}

type NetworkPlace = {
  readonly cidr: string
  readonly network_id: string | null
  readonly apartFrom: readonly Block[]
}

/** Names what is in the way; against what other scopes do meanwhile there is the constraint. */
async function refuseOverlapInNetwork(tx: Database, place: NetworkPlace): Promise<void> {
  const { cidr, network_id, apartFrom } = place
  const overlapping = await rows(tx, Block)`
    select ${blockColumns} from blocks
    where network_id = ${network_id} and is_network_top and cidr && ${cidr}::inet
      and id <> all (${apartFrom.map(block => block.id)}) order by cidr limit ${conflictsMax}`
  refuseOverlap(cidr, overlapping, 'block_overlaps_in_network')
}

function refuseOverlap(
  cidr: string,
  blocks: readonly Block[],
  code: 'block_overlaps' | 'block_overlaps_in_network' = 'block_overlaps',
): void {
  if (blocks.length === 0) return
  const names = blocks.slice(0, conflictsMax).map(block => block.cidr)
  throw new IpamError(code, `${cidr} overlaps ${names.join(', ')}.`, {
    conflicts: blocks.slice(0, conflictsMax).map(asConflict),
  })
}

function refuseGateway(shape: Parameters<typeof canBeGateway>[0]): void {
  const gateway = shape.gateway_ip === null ? null : parseAddress(shape.gateway_ip)
  if (!gateway || canBeGateway(shape, gateway)) return
  const detail = `${shape.gateway_ip} cannot be the gateway of ${shape.cidr}.`
  throw new IpamError('gateway_unusable', detail, { field: 'gateway_ip' })
}

const conflictsMax = 10
const asConflict = ({ id, cidr }: Block): Conflict => ({ type: 'block', id, address: cidr })

const Children = Type.Object({ in_children: Type.String() })

/** Locks the scope's tree, then the block, and the given blocks with it. */
async function lockBlock(tx: Database, id: string) {
  const { scope_id } = await getBlock(tx, id)
  const scope = await lockAddressScope(tx, scope_id)
  const { parent_id } = await getBlock(tx, id)
  await tx.query(sql`select from lock_blocks(${parent_id ? [parent_id, id] : [id]})`)
  const [usage] = await rows(tx, Children)`
    select in_children from block_usage where block_id = ${id}`
  const parent = parent_id ? await getBlock(tx, parent_id) : null
  return { scope, parent, block: await getBlock(tx, id), children: BigInt(usage?.in_children ?? 0) }
}

/**
 * Deletes a block in which nothing is, and gives its space back to its parent.
 *
 * @throws {IpamError} `block_not_found`, `block_has_children`, `block_in_use`
 */
export function deleteBlock(db: Database, id: string): Promise<void> {
  return retryTransaction(db, async tx => {
    const { block, parent } = await lockBlock(tx, id)
    const children = await rows(tx, Block)`
      select ${blockColumns} from blocks where parent_id = ${id} order by cidr limit ${conflictsMax}`
    if (children.length > 0) {
      const detail = `${block.cidr} has children, for instance ${children[0]?.cidr}.`
      throw new IpamError('block_has_children', detail, { conflicts: children.map(asConflict) })
    }
    refuseLoss(block.cidr, await allocationsIn(tx, block, [prefixRange(prefixOf(block))]))
    await tx.query(sql`delete from blocks where id = ${id}`)
    if (parent) {
      await giveRange(tx, parent, prefixRange(prefixOf(block)))
      const [usage] = await rows(tx, Children)`
        select in_children from block_usage where block_id = ${parent.id}`
      if (usage?.in_children === '0') await resetSpace(tx, parent, 'leaf')
    }
    await appendEvents(tx, eventsOf('block.deleted', [block]))
  })
}

function refuseLoss(what: string, conflicts: readonly Conflict[]): void {
  if (conflicts.length === 0) return
  const names = conflicts.map(conflict => conflict.address).join(', ')
  throw new IpamError('block_in_use', `${what} still holds ${names}.`, { conflicts })
}

/**
 * Changes a block; what would lose anything is refused.
 *
 * @throws {IpamError} `block_not_found`, `block_cannot_move`, `block_in_use`, `block_overlaps`,
 * `block_outside_parent`, `gateway_unusable`, `gateway_taken`
 */
export function updateBlock(db: Database, id: string, patch: BlockPatch): Promise<Block> {
  return retryTransaction(db, async tx => {
    const { block: before, parent, children } = await lockBlock(tx, id)
    const after: Block = { ...before, ...patch }
    refuseGateway(after)
    if (children > 0n) await resizeContainer(tx, before, after)
    else await reshapeLeaf(tx, before, after)
    await resizeInParent(tx, { parent, before, after })
    const [updated] = await rows(tx, Block)`
      update blocks set cidr = ${after.cidr}, name = ${after.name},
        description = ${after.description}, tags = ${after.tags}, gateway_ip = ${after.gateway_ip},
        dns_nameservers = ${after.dns_nameservers}, strategy = ${after.strategy},
        allocate_network_address = ${after.allocate_network_address},
        generation = generation + 1, updated_at = clock_timestamp()
      where id = ${id} returning ${blockColumns}`
    if (!updated) throw new IpamError('block_not_found')
    if (children === 0n) {
      const excluded = excludedRanges(after).reduce(
        (sum, { first, last }) => sum + last - first + 1n,
        0n,
      )
      await tx.query(sql`
        update block_usage set excluded = ${String(excluded)} where block_id = ${id}`)
    }
    if (before.strategy !== after.strategy) {
      await tx.query(sql`select reset_ages(${id}, ${after.strategy === 'least_recently_used'})`)
    }
    await appendEvents(tx, eventsOf('block.updated', [updated]))
    return updated
  })
}

/** The parts that a new extent adds to an old one, and the parts that it takes off. */
function changedParts(before: Block, after: Block) {
  const [old, now] = [prefixOf(before), prefixOf(after)]
  if (compareExtent(old, now) === 'move') {
    const detail = `${after.cidr} neither contains ${before.cidr} nor lies inside it.`
    throw new IpamError('block_cannot_move', detail, { field: 'cidr' })
  }
  return {
    added: freeRanges(prefixRange(now), [prefixRange(old)]),
    removed: freeRanges(prefixRange(old), [prefixRange(now)]),
  }
}

async function reshapeLeaf(tx: Database, before: Block, after: Block): Promise<void> {
  const { added, removed } = changedParts(before, after)
  const [kept, excluded] = [excludedRanges(before), excludedRanges(after)]
  if (added.length + removed.length === 0 && isDeepStrictEqual(kept, excluded)) return
  await tx.query(sql`update block_usage set excluded = 0 where block_id = ${before.id}`)
  for (const range of kept) await giveUsedRange(tx, before, range)
  for (const range of added) await giveRange(tx, before, range)
  for (const range of removed) {
    if (await takeRange(tx, before, range)) continue
    refuseLoss(before.cidr, await allocationsIn(tx, before, removed))
    throw lostSpace(before)
  }
  for (const range of excluded) {
    if (await takeRange(tx, before, range)) continue
    const conflicts = await allocationsIn(tx, before, [range])
    if (conflicts.length === 0) throw lostSpace(before)
    const ofGateway = conflicts.find(({ address }) => holdsAddress(address, after.gateway_ip))
    const { address, id } = ofGateway ?? conflicts[0] ?? {}
    const detail = `${address} is held by allocation ${id}.`
    throw new IpamError(ofGateway ? 'gateway_taken' : 'block_in_use', detail, { conflicts })
  }
}

/** Whether an allocation, of this address or of a delegated prefix, holds an address. */
function holdsAddress(allocated: string, wanted: string | null): boolean {
  const address = wanted === null ? null : parseAddress(wanted)
  const prefix = parsePrefix(allocated)?.prefix
  return prefix && address ? prefixHolds(prefix, address) : allocated === wanted
}

async function resizeContainer(tx: Database, before: Block, after: Block): Promise<void> {
  const { added, removed } = changedParts(before, after)
  for (const range of added) await giveRange(tx, before, range)
  for (const range of removed) {
    if (await takeRange(tx, before, range)) continue
    const lost = await rows(tx, Block)`
      select ${blockColumns} from blocks
      where parent_id = ${before.id} and not cidr <<= ${after.cidr}::inet
      order by cidr limit ${conflictsMax}`
    refuseLoss(before.cidr, lost.map(asConflict))
    throw lostSpace(before)
  }
}

type Resize = { readonly parent: Block | null; readonly before: Block; readonly after: Block }

/** What a child gains, its parent gives; what it loses, its parent gets. */
async function resizeInParent(tx: Database, { parent, before, after }: Resize): Promise<void> {
  const { added, removed } = changedParts(before, after)
  if (parent && !prefixContains(prefixOf(parent), prefixOf(after))) {
    throw new IpamError('block_outside_parent', `${after.cidr} does not lie inside ${parent.cidr}.`)
  }
  if (added.length > 0) {
    const place = { scope_id: before.scope_id, parent, adopt_children: false, settings: {} }
    const overlapping = await overlappingBlocks(tx, place, after.cidr)
    refuseOverlap(
      after.cidr,
      overlapping.filter(({ id }) => id !== before.id),
    )
    const { network_id, cidr } = after
    if (network_id !== null && !parent?.network_id) {
      await refuseOverlapInNetwork(tx, { cidr, network_id, apartFrom: [before] })
    }
  }
  if (!parent) return
  for (const range of added) await takeFreeRange(tx, parent, range)
  for (const range of mergeRanges(removed)) await giveRange(tx, parent, range)
}

const eventsOf = (type: EventType, blocks: readonly Block[]) =>
  blocks.map(data => ({ type, object_id: data.id, project_id: data.project_id, data }))
