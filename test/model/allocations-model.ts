import type { Prefix } from '../../src/ip/prefix.ts'
import type { NewAllocations } from '../../src/resources/allocations/allocator-store.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { OwnerFilter, Release } from '../../src/resources/allocations/store.ts'
import { later } from './clock.ts'
import {
  end,
  endDue,
  findAllocation,
  heldByOwner,
  ipv6_64s,
  refuseQuota,
  replace,
  reuse,
  takeBack,
  tellEnds,
} from './life-model.ts'
import {
  bestFit,
  byFirst,
  isInside,
  prefixesOverlap,
  prefixIsInside,
  rangeOf,
  readPrefix,
  singleOf,
  sizeOf,
  total,
} from './space.ts'
import { type ModelAllocation, type ModelBlock, Refusal, type State } from './state.ts'

/** A request to a block, in which nothing is left out. */
export type ModelRequest = NewAllocations & {
  readonly block_id: string
  readonly address: string | null
  readonly prefix_length: number | null
  readonly owner_type: string | null
  readonly owner_id: string | null
  readonly name: string
  readonly tags: readonly string[]
}

/**
 * Allocates. The dice are not the model's: of a random strategy it takes the addresses from the
 * `answer`, after a look whether they could be had.
 */
export function allocate(state: State, request: ModelRequest, answer: readonly Allocation[]) {
  const asked = state.findBlock(request.block_id)
  if (!state.isLeaf(asked)) throw new Refusal('block_has_children')
  endDue(state, [asked])
  const block = state.findBlock(asked.id)
  const held = request.one_per_owner ? heldByOwner(state, block, request) : undefined
  if (held) return [held]
  const { project_id, ids } = request
  const more = { allocations: BigInt(ids.length), ipv6_64s: more64s(block, request) }
  refuseQuota(state, { project_id, scope_id: block.scope_id }, more)
  const offered = answer.map(one => readPrefix(one.address))
  const prefixes = choose(state, { block, request, offered })
  return start(state, request, { prefixes, times: prefixes.map(() => state.now) })
}

function more64s({ prefix }: ModelBlock, { address, prefix_length, contiguous }: ModelRequest) {
  if (address !== null) return ipv6_64s(readPrefix(address))
  if (prefix_length === null || contiguous) return 0n
  return ipv6_64s({ version: prefix.version, length: prefix_length })
}

/** Takes over what was given, without a look whether it could be had. */
export function begin(state: State, request: ModelRequest, answer: readonly Allocation[]) {
  const prefixes = answer.map(({ address }) => readPrefix(address))
  return start(state, request, { prefixes, times: answer.map(one => one.started_at) })
}

const lasting = { ended_at: null, quarantined_until: null }

type Started = { readonly prefixes: readonly Prefix[]; readonly times: readonly string[] }

function start(state: State, request: ModelRequest, { prefixes, times }: Started) {
  const { ids, block_id, project_id, owner_type, owner_id, name, tags } = request
  const { scope_id } = state.findBlock(block_id)
  const owner = { project_id, owner_type, owner_id, name, tags }
  const started = prefixes.map((prefix, index): ModelAllocation => {
    const [id, started_at] = [ids[index] ?? 'none', times[index] ?? 'never']
    const seconds = request.lifetime_seconds ?? null
    const expires_at = seconds === null ? null : later(started_at, seconds)
    const place = { id, scope_id, block_id, prefix }
    return { ...place, ...owner, generation: 1, started_at, expires_at, ...lasting }
  })
  state.allocations = [...state.allocations, ...started]
  state.tell('allocation.created', ids.slice(0, started.length))
  return started
}

type Choice = { block: ModelBlock; request: ModelRequest; offered: readonly Prefix[] }

function choose(state: State, { block, request, offered }: Choice): Prefix[] {
  const { address, fallback, prefix_length, contiguous, ids } = request
  if (address !== null) {
    const wanted = readPrefix(address)
    if (!prefixIsInside(wanted, block.prefix)) throw new Refusal('address_outside_block')
    if (state.free(block).some(range => isInside(rangeOf(wanted), range))) return [wanted]
    if (takeBack(state, block, { prefix: wanted, owner: request })) return [wanted]
    if (!fallback) throw new Refusal(whyNotFree(state, block, wanted))
  } else if (prefix_length !== null) {
    const found = freePrefix(state, block, prefix_length)
    if (!contiguous) return [found]
    return ids.map((_, index) => singleOf(found.version, found.first + BigInt(index)))
  }
  reuse(state, block, ids.length)
  if (total(state.free(block)) < ids.length) throw new Refusal('block_full')
  return nextFree(state, state.findBlock(block.id), { count: ids.length, offered })
}

function whyNotFree(state: State, { scope_id }: ModelBlock, wanted: Prefix) {
  const isInTheWay = (one: ModelAllocation) =>
    one.scope_id === scope_id && prefixesOverlap(one.prefix, wanted)
  if (state.current().some(isInTheWay)) return 'address_taken'
  return state.waiting.some(isInTheWay) ? 'address_quarantined' : 'address_excluded'
}

/** Where ages are kept, a run of one age is preferred to one that joins several. */
function freePrefix(state: State, block: ModelBlock, length: number): Prefix {
  const { version } = block.prefix
  const ofOneAge = state.freeByAge(block).sort(byFirst)
  const found =
    (block.strategy === 'least_recently_used' && bestFit(ofOneAge, { version, length })) ||
    bestFit(state.free(block), { version, length })
  if (!found) throw new Refusal('no_free_prefix')
  return found
}

type Next = { count: number; offered: readonly Prefix[] }

function nextFree(state: State, block: ModelBlock, { count, offered }: Next): Prefix[] {
  const { version } = block.prefix
  const free = state.free(block)
  if (block.strategy === 'random') {
    const areDistinct = new Set(offered.map(({ first }) => first)).size === count
    const areFree = offered.every(one => free.some(range => isInside(rangeOf(one), range)))
    return areDistinct && areFree && offered.length === count ? [...offered] : []
  }
  const runs = block.strategy === 'sequential' ? free : state.freeByAge(block)
  const taken: Prefix[] = []
  for (const run of runs) {
    for (let n = 0n; n < sizeOf(run) && taken.length < count; n += 1n) {
      taken.push(singleOf(version, run.first + n))
    }
  }
  return taken
}

/** Releases, all or none; what has ended just so is released once more without effect. */
export function release(state: State, releases: readonly Release[]) {
  const gone: string[] = []
  for (const { id, generation } of releases) {
    const found = findAllocation(state, id)
    const isCurrent = found.ended_at === null
    const wanted = isCurrent ? found.generation : found.generation - 1
    if (generation !== undefined && generation !== wanted) throw new Refusal('generation_mismatch')
    if (isCurrent) {
      end(state, [id])
      gone.push(id)
    }
  }
  tellEnds(state, gone)
  return releases.map(({ id }) => findAllocation(state, id))
}

export function releaseByOwner(
  state: State,
  { owner, countMax }: { owner: OwnerFilter; countMax: number },
) {
  const wanted = Object.entries(owner).filter(([, value]) => value !== undefined)
  const held = state
    .current()
    .filter(one => wanted.every(([key, value]) => one[key as keyof OwnerFilter] === value))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  if (held.length > countMax) throw new Refusal('too_many_allocations')
  return release(state, held)
}

export function updateAllocation(
  state: State,
  id: string,
  { generation, ...patch }: { generation?: number; name?: string; tags?: string[] },
): ModelAllocation {
  const found = findAllocation(state, id)
  if (found.ended_at !== null) throw new Refusal('allocation_not_found')
  if (generation !== undefined && generation !== found.generation) {
    throw new Refusal('generation_mismatch')
  }
  const changed = { ...found, ...patch, generation: found.generation + 1 }
  replace(state, changed)
  state.tell('allocation.updated', [id])
  return changed
}

export type Lookup = {
  readonly scope_id?: string
  readonly address?: string
  readonly project_id?: string
  readonly state: 'current' | 'held' | 'ended' | 'all'
  readonly at?: string
  readonly held_from?: string
  readonly held_to?: string
}

/** Who holds, or held at a time, an address or something around it. */
export function lookUp(state: State, wanted: Lookup): ModelAllocation[] {
  const { scope_id, address, project_id, at, held_from, held_to } = wanted
  const inTime = at !== undefined || held_from !== undefined || held_to !== undefined
  return state.allocations.filter(({ started_at, ended_at, ...one }) => {
    if (scope_id !== undefined && one.scope_id !== scope_id) return false
    if (project_id !== undefined && one.project_id !== project_id) return false
    if (address !== undefined && !prefixIsInside(readPrefix(address), one.prefix)) return false
    if (wanted.state === 'held' && !inTime) return ended_at === null && one.expires_at !== null
    if (!inTime)
      return wanted.state === 'all' || (ended_at === null) === (wanted.state === 'current')
    if (at !== undefined && !(started_at <= at && (ended_at === null || at < ended_at)))
      return false
    if (held_to !== undefined && started_at >= held_to) return false
    return held_from === undefined || ended_at === null || ended_at > held_from
  })
}
