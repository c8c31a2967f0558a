import { Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { formatPrefix, type Prefix, prefixContains, prefixRange } from '../../ip/prefix.ts'
import { freeRanges } from '../../ip/range.ts'
import { Id } from '../../schema.ts'
import { lockAddressScope } from '../address-scopes/store.ts'
import { appendEvents } from '../events/store.ts'
import { applyRules, applyRulesTo } from '../policies/apply-store.ts'
import { childRefusal } from '../policies/rules.ts'
import { holdPolicy, resolveForChildren } from '../policies/rules-store.ts'
import { refuseOverQuota } from '../quotas/store.ts'
import { prefixOf } from './rules.ts'
import { Block } from './schema.ts'
import { allocationsIn, giveRange, resetSpace, takeFreeRange } from './space-store.ts'
import { blockColumns } from './store.ts'
import {
  conflictsMax,
  eventsOf,
  lockBlock,
  overlappingBlocks,
  refuseGateway,
  refuseOverlap,
  refuseOverlapInNetwork,
} from './tree-store.ts'

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
  readonly policy_id?: string | null | undefined
  readonly priority?: number | undefined
  /** What only blocks of the original's API have. */
  readonly origin?: BlockOrigin | undefined
}

export type BlockOrigin = {
  /** Whether the last address is kept back also of /31, /32 and IPv6. */
  readonly keeps_last_address: boolean
  /** Whether policies on the blocks above reach it. */
  readonly inherits_block_rules: boolean
  /** Where no policy says anything else. */
  readonly default_quarantine_seconds: number
  readonly default_ipv6_generator: 'eui64' | 'tenant' | null
}

const ordinary: BlockOrigin = {
  keeps_last_address: false,
  inherits_block_rules: true,
  default_quarantine_seconds: 0,
  default_ipv6_generator: null,
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
 * `block_network_differs`, `no_free_prefix`, `gateway_unusable`, `policy_not_found`,
 * `network_not_found`, `prefix_length_refused`, `quota_exceeded`
 */
export function createBlocks(db: Database, { wanted, ...request }: NewBlocks): Promise<Block[]> {
  return retryTransaction(db, async tx => {
    await holdPolicy(tx, request.settings.policy_id)
    await holdNetwork(tx, request.settings.network_id)
    const { scope, parent } = await openContainer(tx, request.container)
    const rules = await resolveForChildren(tx, {
      parent_id: parent?.id ?? null,
      scope_id: scope.id,
    })
    const project_id = request.settings.project_id ?? parent?.project_id ?? scope.project_id
    const settings = { ...request.settings, project_id: project_id ?? undefined }
    const place = { scope_id: scope.id, parent, adopt_children: request.adopt_children, settings }
    if (place.adopt_children) await lockInside(tx, place, 'count' in wanted ? [] : wanted)
    const blocks = 'count' in wanted ? wanted.count : wanted.length
    await refuseOverQuota(tx, { project_id: project_id ?? null, scope_id: scope.id, blocks })
    const created: Block[] = []
    const adopted: Block[] = []
    const create = async (prefix: Prefix) => {
      const refusal = childRefusal(rules, { parent_id: parent?.id ?? null, prefix })
      if (refusal)
        throw new IpamError('prefix_length_refused', `${formatPrefix(prefix)}: ${refusal}.`)
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

/** Locks the blocks that may be adopted, before what the project uses is locked. */
async function lockInside(tx: Database, { scope_id, parent }: Place, prefixes: readonly Prefix[]) {
  await tx.query(sql`
    select from lock_blocks(array(
      select id from blocks where container_id = ${parent?.id ?? scope_id}
        and cidr <<= any (${prefixes.map(formatPrefix)}::inet[])))`)
}

/**
 * Holds a network with its policy as they are until the transaction ends.
 *
 * @throws {IpamError} `network_not_found`
 */
async function holdNetwork(tx: Database, id: string | undefined): Promise<void> {
  if (id === undefined) return
  const [network] = await rows(tx, Type.Object({ id: Id }))`
    select id from networks where id = ${id} for share`
  if (!network) throw new IpamError('network_not_found', `There is no network ${id}.`)
}

async function openContainer(tx: Database, container: Container) {
  if ('scope_id' in container) {
    return { scope: await lockAddressScope(tx, container.scope_id), parent: null }
  }
  const { scope, block: parent, isContainer } = await lockBlock(tx, container.parent_id)
  if (!isContainer) {
    const conflicts = await allocationsIn(tx, parent, [prefixRange(prefixOf(parent))])
    if (conflicts.length > 0) {
      const detail = `${parent.cidr} holds allocations, for instance ${conflicts[0]?.address}.`
      throw new IpamError('block_has_allocations', detail, { conflicts })
    }
    await resetSpace(tx, parent)
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

/** How many blocks one call puts below a new one. */
const adoptedMax = 4096

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

  const overlapping = await overlappingBlocks(tx, {
    container_id: parent?.id ?? scope_id,
    cidr,
    limit: place.adopt_children ? adoptedMax + 1 : conflictsMax,
  })
  const isAdopted = (block: Block) =>
    place.adopt_children && prefixContains(prefix, prefixOf(block))
  refuseOverlap(
    cidr,
    overlapping.filter(block => !isAdopted(block)),
  )
  const adopted = overlapping
  if (adopted.length > adoptedMax) {
    throw new IpamError('block_overlaps', `More than ${adoptedMax} blocks lie inside ${cidr}.`)
  }
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
  const { origin = ordinary } = settings
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
      allocate_network_address, own_strategy, policy_id, priority, keeps_last_address,
      inherits_block_rules, default_quarantine_seconds, default_ipv6_generator)
    values (${id}, ${scope_id}, ${parent?.id ?? null}, ${parent?.cidr ?? null}, ${cidr},
      ${network_id}, ${is_network_top},
      ${settings.project_id ?? null}, ${settings.name ?? ''}, ${settings.description ?? ''},
      ${settings.tags ?? []}, ${gateway_ip}, ${settings.dns_nameservers ?? []},
      ${allocate_network_address}, ${settings.strategy ?? null}, ${settings.policy_id ?? null},
      ${settings.priority ?? 0}, ${origin.keeps_last_address}, ${origin.inherits_block_rules},
      ${origin.default_quarantine_seconds}, ${origin.default_ipv6_generator})
    returning ${blockColumns}`
  if (!block) throw new Error('a block that was inserted did not come back')
  if (adopted.length === 0) {
    await resetSpace(tx, block)
    await applyRulesTo(tx, id)
    return { block, moved: [] }
  }
  for (const gap of gaps) await giveRange(tx, block, gap)
  await applyRules(tx, { block_id: id })
  const moved = await rows(tx, Block)`
    select ${blockColumns} from blocks where parent_id = ${id} order by cidr`
  return { block, moved }
}
