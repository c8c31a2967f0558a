import { isDeepStrictEqual } from 'node:util'
import type { Prefix } from '../../src/ip/prefix.ts'
import { justAfter } from './clock.ts'
import { refuseQuota } from './life-model.ts'
import {
  bestFit,
  byPrefix,
  joined,
  overlaps,
  prefixesOverlap,
  prefixIsInside,
  type Range,
  rangeOf,
  subtract,
} from './space.ts'
import { canBeGateway, excluded, type ModelBlock, never, Refusal, type State } from './state.ts'

export type ModelSettings = Partial<
  Pick<
    ModelBlock,
    | 'network_id'
    | 'project_id'
    | 'name'
    | 'gateway'
    | 'allocate_network_address'
    | 'strategy'
    | 'policy_id'
  >
>

export type ModelNewBlocks = {
  readonly container: { readonly parent_id: string } | { readonly scope_id: string }
  readonly wanted: readonly Prefix[] | { readonly prefix_length: number; readonly count: number }
  readonly adopt_children: boolean
  readonly settings: ModelSettings
}

/** Creates blocks, which get these ids. */
export function createBlocks(state: State, request: ModelNewBlocks, ids: readonly string[]) {
  const { container, wanted } = request
  const parent = 'parent_id' in container ? state.findBlock(container.parent_id) : null
  const scope_id = 'scope_id' in container ? container.scope_id : (parent?.scope_id ?? '')
  if (!state.scopes.includes(scope_id)) throw new Refusal('address_scope_not_found')
  if (parent && state.usedIn(parent).length > 0) throw new Refusal('block_has_allocations')

  const count = 'count' in wanted ? wanted.count : wanted.length
  const project_id = projectOf(state, { settings: request.settings, parent, scope_id })
  refuseQuota(state, { project_id, scope_id }, { blocks: BigInt(count) })
  const created: string[] = []
  const adopted: ModelBlock[] = []
  for (let index = 0; index < count; index += 1) {
    const prefix = 'count' in wanted ? nextFree(state, parent, wanted.prefix_length) : wanted[index]
    if (!prefix) throw new Error('a list has a prefix at each of its places')
    const id = ids[index] ?? `unknown ${index}`
    adopted.push(...createBlock(state, { ...request, scope_id, parent, prefix, id }))
    created.push(id)
  }
  state.tell('block.created', created)
  state.tell('block.updated', adopted.sort((a, b) => byPrefix(a.prefix, b.prefix)).map(idOf))
  return created.map(id => state.findBlock(id))
}

const idOf = ({ id }: { id: string }) => id

/** A block that is to have its first child is all free: what it keeps back is its children's. */
function nextFree(state: State, parent: ModelBlock | null, length: number): Prefix {
  if (!parent) throw new Error('the next free prefix is cut from a parent')
  const { version } = parent.prefix
  const free = state.isLeaf(parent) ? [rangeOf(parent.prefix)] : state.free(parent)
  const found = bestFit(free, { version, length })
  if (!found) throw new Refusal('no_free_prefix')
  return found
}

type Place = ModelNewBlocks & {
  readonly scope_id: string
  readonly parent: ModelBlock | null
  readonly prefix: Prefix
  readonly id: string
}

function createBlock(state: State, place: Place): ModelBlock[] {
  const { id, prefix, parent, scope_id, settings, adopt_children } = place
  if (parent && !prefixIsInside(prefix, parent.prefix)) throw new Refusal('block_outside_parent')
  const network_id = settings.network_id ?? parent?.network_id ?? null
  if (parent?.network_id && parent.network_id !== network_id) {
    throw new Refusal('block_network_differs')
  }
  const { gateway = null, allocate_network_address = false } = settings
  if (!canBeGateway({ prefix, gateway, allocate_network_address })) {
    throw new Refusal('gateway_unusable')
  }
  const siblings = state.inContainer(scope_id, parent?.id ?? null)
  const overlapping = siblings.filter(one => prefixesOverlap(one.prefix, prefix))
  const isFitting = overlapping.every(one => prefixIsInside(one.prefix, prefix))
  if (overlapping.length > 0 && !(adopt_children && isFitting)) throw new Refusal('block_overlaps')
  if (network_id && overlapping.some(one => one.network_id !== network_id)) {
    throw new Refusal('block_network_differs')
  }

  const block: ModelBlock = {
    id,
    scope_id,
    parent_id: parent?.id ?? null,
    prefix,
    network_id,
    project_id: projectOf(state, place),
    name: settings.name ?? '',
    gateway,
    allocate_network_address,
    strategy: settings.strategy ?? 'sequential',
    policy_id: settings.policy_id ?? null,
    generation: 1,
    freed: [],
  }
  state.blocks = [...state.blocks, block]
  if (parent) state.replaceBlock(parent.id, { freed: [] })
  const adopted = overlapping.map(one =>
    state.replaceBlock(one.id, { parent_id: id, generation: one.generation + 1 }),
  )
  state.refuseOverlapInNetwork()
  return adopted
}

/** The private scope of the model belongs to a project; `public`, the first, to nobody. */
export const scopeProject = 'owner-of-scope'
const projectOf = (
  state: State,
  { settings, parent, scope_id }: Pick<Place, 'settings' | 'parent' | 'scope_id'>,
) =>
  settings.project_id ??
  parent?.project_id ??
  (state.scopes.indexOf(scope_id) > 0 ? scopeProject : null)

export function deleteBlock(state: State, id: string): null {
  const block = state.findBlock(id)
  if (!state.isLeaf(block)) throw new Refusal('block_has_children')
  if (state.usedIn(block).length > 0) throw new Refusal('block_in_use')
  state.blocks = state.blocks.filter(one => one.id !== id)
  state.tell('block.deleted', [id])
  return null
}

export type ModelPatch = Partial<
  Pick<
    ModelBlock,
    'prefix' | 'name' | 'gateway' | 'allocate_network_address' | 'strategy' | 'policy_id'
  >
>

export function updateBlock(state: State, id: string, patch: ModelPatch): ModelBlock {
  const before = state.findBlock(id)
  const after = { ...before, ...patch, generation: before.generation + 1 }
  if (!canBeGateway(after)) throw new Refusal('gateway_unusable')
  if (!prefixesOverlap(before.prefix, after.prefix)) throw new Refusal('block_cannot_move')
  const removed = subtract([rangeOf(before.prefix)], [rangeOf(after.prefix)])
  refuseLoss(state, before, removed)
  if (state.isLeaf(before)) refuseHeldExclusions(state, after)

  const parent = state.blocks.find(one => one.id === before.parent_id)
  if (parent && !prefixIsInside(after.prefix, parent.prefix)) {
    throw new Refusal('block_outside_parent')
  }
  const siblings = state.inContainer(before.scope_id, before.parent_id).filter(one => one.id !== id)
  if (siblings.some(one => prefixesOverlap(one.prefix, after.prefix))) {
    throw new Refusal('block_overlaps')
  }
  const updated = state.replaceBlock(id, { ...after, freed: freedBy(state, before, after) })
  state.refuseOverlapInNetwork()
  state.tell('block.updated', [id])
  return updated
}

function refuseLoss(state: State, block: ModelBlock, removed: readonly Range[]): void {
  const used = [...state.usedIn(block), ...state.childrenOf(block.id)]
  if (used.some(({ prefix }) => removed.some(range => overlaps(rangeOf(prefix), range)))) {
    throw new Refusal('block_in_use')
  }
}

/** The lowest run that would be kept back but is held decides what the refusal says. */
function refuseHeldExclusions(state: State, after: ModelBlock): void {
  const { gateway } = after
  for (const kept of joined(excluded(after))) {
    const holders = state.usedIn(after).filter(one => overlaps(kept, rangeOf(one.prefix)))
    if (holders.length === 0) continue
    const holdsGateway = holders.some(({ prefix }) => {
      const { first, last } = rangeOf(prefix)
      return gateway && first <= gateway.value && gateway.value <= last
    })
    throw new Refusal(holdsGateway ? 'gateway_taken' : 'block_in_use')
  }
}

/** What was kept back becomes free now; what leaves the block and returns is new to it. */
function freedBy(state: State, before: ModelBlock, after: ModelBlock): ModelBlock['freed'] {
  if (before.strategy !== after.strategy || !state.isLeaf(before)) return []
  const removed = subtract([rangeOf(before.prefix)], [rangeOf(after.prefix)])
  const isRelaid = !isDeepStrictEqual(before.prefix, after.prefix)
  // Other rules are applied under a second lock of the block, if its space is not laid anew.
  const isSecondLock = before.policy_id !== after.policy_id && !isRelaid
  const since = isSecondLock ? justAfter(state.now) : state.now
  return [
    ...before.freed,
    ...excluded(before).map(range => ({ ...range, since })),
    ...removed.map(range => ({ ...range, since: never })),
  ]
}
