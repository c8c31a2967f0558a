import { later } from './clock.ts'
import { bitsOf, prefixesOverlap, rangeOf, total } from './space.ts'
import {
  byText,
  type ModelAllocation,
  type ModelBlock,
  type ModelQuota,
  Refusal,
  type State,
} from './state.ts'

// The life of an allocation behind its beginning: holds, quarantine, quotas.

/** A hold that lapsed waits so long at least. */
const lapsedSeconds = 60

export function findAllocation(state: State, id: string): ModelAllocation {
  const found = state.allocations.find(one => one.id === id)
  if (!found) throw new Refusal('allocation_not_found')
  return found
}

export function replace(state: State, changed: ModelAllocation): void {
  state.allocations = state.allocations.map(one => (one.id === changed.id ? changed : one))
}

const isDue = (time: string | null, now: string) => time !== null && time <= now

/** Ends allocations now, lapsed holds among them. */
export function end(state: State, ids: readonly string[]): void {
  for (const id of ids) {
    const allocation = findAllocation(state, id)
    const block = state.findBlock(allocation.block_id)
    const seconds = Math.max(
      state.rule(block, 'quarantine_seconds') ?? 0,
      isDue(allocation.expires_at, state.now) ? lapsedSeconds : 0,
    )
    const quarantined_until = seconds > 0 ? later(state.now, seconds) : null
    const generation = allocation.generation + 1
    const ended = { ...allocation, generation, ended_at: state.now, quarantined_until }
    replace(state, ended)
    if (quarantined_until) state.waiting = [...state.waiting, ended]
    else giveBack(state, ended, state.now)
  }
}

export function tellEnds(state: State, ids: readonly string[]): void {
  state.tellAll(
    ids.map(id => {
      const { expires_at, ended_at } = findAllocation(state, id)
      const hasLapsed = ended_at !== null && isDue(expires_at, ended_at)
      return [hasLapsed ? 'allocation.expired' : 'allocation.released', id]
    }),
  )
}

function giveBack(state: State, { block_id, prefix }: ModelAllocation, since: string): void {
  const { freed } = state.findBlock(block_id)
  state.replaceBlock(block_id, { freed: [...freed, { ...rangeOf(prefix), since }] })
}

/** Takes addresses out of quarantine; they are free since a time. */
function cut(state: State, over: readonly ModelAllocation[], since?: string): void {
  state.waiting = state.waiting.filter(one => !over.includes(one))
  for (const one of over) giveBack(state, one, since ?? one.quarantined_until ?? state.now)
}

/** Ends what is due in blocks, as whoever looks at them does. */
export function endDue(state: State, blocks: readonly ModelBlock[]): void {
  const isOfThem = ({ block_id }: ModelAllocation) => blocks.some(({ id }) => id === block_id)
  const lapsed = state
    .current()
    .filter(one => isOfThem(one) && isDue(one.expires_at, state.now))
    .map(({ id }) => id)
  end(state, lapsed)
  const over = state.waiting.filter(one => isDue(one.quarantined_until, state.now))
  cut(state, over.filter(isOfThem))
  tellEnds(state, lapsed)
}

/** Where not enough is free, what has waited for longest is, before its time; all or none of it. */
export function reuse(state: State, block: ModelBlock, count: number): void {
  if (state.rule(block, 'quarantine_reuse') !== 'when_full') return
  const lacking = BigInt(count) - total(state.free(block))
  const singles = state
    .waitingIn(block)
    .filter(({ prefix }) => prefix.length === bitsOf(prefix))
    .sort((a, b) => byText(a.ended_at ?? '', b.ended_at ?? '') || byText(a.id, b.id))
  if (lacking <= 0n || singles.length < lacking) return
  cut(state, singles.slice(0, Number(lacking)), state.now)
}

type Owned = Pick<ModelAllocation, 'project_id' | 'owner_type' | 'owner_id'>

const isSameOwner = (a: Owned, b: Owned) =>
  a.owner_id !== null &&
  a.owner_id === b.owner_id &&
  a.project_id === b.project_id &&
  a.owner_type === b.owner_type

/** What an owner has in a block: the first of it. */
export function heldByOwner(state: State, block: ModelBlock, owner: Owned) {
  return state
    .heldIn(block)
    .filter(one => isSameOwner(one, owner))
    .sort((a, b) => byText(a.id, b.id))[0]
}

/** Whoever had an address or prefix last takes just that out of quarantine; false if others had. */
export function takeBack(
  state: State,
  block: ModelBlock,
  { prefix, owner }: { prefix: ModelAllocation['prefix']; owner: Owned },
): boolean {
  const waits = state
    .waitingIn(block)
    .find(
      one =>
        one.prefix.length === prefix.length &&
        prefixesOverlap(one.prefix, prefix) &&
        isSameOwner(one, owner),
    )
  state.waiting = state.waiting.filter(one => one !== waits)
  return waits !== undefined
}

type Place = { readonly project_id: string | null; readonly scope_id: string }
type Amount = { readonly [L in Limit]?: bigint }
type Limit = (typeof limitNames)[number]
const limitNames = ['allocations', 'ipv6_64s', 'blocks'] as const

/** A project may take so much more in a scope, by its limits there and in all. */
export function refuseQuota(state: State, { project_id, scope_id }: Place, more: Amount): void {
  if (project_id === null) return
  for (const scope of [scope_id, null]) {
    const own = quotaOf(state, project_id, scope)
    const common = quotaOf(state, null, scope)
    const used = usageOf(state, project_id, scope)
    for (const name of limitNames) {
      const [limit, added] = [own?.[name] ?? common?.[name], more[name] ?? 0n]
      if (limit === undefined || limit === null || added === 0n) continue
      if (used[name] + added > limit) throw new Refusal('quota_exceeded')
    }
  }
}

export const quotaOf = (
  { quotas }: State,
  project_id: string | null,
  scope_id: string | null,
): ModelQuota | undefined =>
  quotas.find(one => one.project_id === project_id && one.scope_id === scope_id)

type QuotaPlace = Pick<ModelQuota, 'project_id' | 'scope_id'>
export type Limits = { readonly [L in Limit]?: number | null }
type NewQuota = QuotaPlace & { readonly id: string; readonly limits: Limits }

/** Sets the limits that are named and leaves the others. */
export function setQuota(state: State, { limits, ...place }: NewQuota): ModelQuota {
  const none = { ...place, generation: 0, allocations: null, ipv6_64s: null, blocks: null }
  const before = quotaOf(state, place.project_id, place.scope_id)
  const after = { ...none, ...before, ...limits, generation: (before?.generation ?? 0) + 1 }
  state.quotas = [...state.quotas.filter(one => one !== before), after]
  state.tell('quota.updated', [after.id])
  return after
}

export function deleteQuota(state: State, { project_id, scope_id }: QuotaPlace): null {
  const found = quotaOf(state, project_id, scope_id)
  if (!found) throw new Refusal('quota_not_found')
  state.quotas = state.quotas.filter(one => one !== found)
  state.tell('quota.deleted', [found.id])
  return null
}

/** What a project has, in a scope or in all. */
export function usageOf(state: State, project_id: string, scope_id: string | null) {
  const isMeant = (one: { project_id: string | null; scope_id: string }) =>
    one.project_id === project_id && (scope_id === null || one.scope_id === scope_id)
  const held = state.current().filter(isMeant)
  return {
    allocations: BigInt(held.length),
    ipv6_64s: held.reduce((sum, { prefix }) => sum + ipv6_64s(prefix), 0n),
    blocks: BigInt(state.blocks.filter(isMeant).length),
  }
}

export const ipv6_64s = ({
  version,
  length,
}: Pick<ModelAllocation['prefix'], 'version' | 'length'>) =>
  version === 6 && length <= 64 ? 2n ** BigInt(64 - length) : 0n

/** A hold gets a new end, or none. */
export function changeHold(
  state: State,
  { id, generation, lifetime_seconds }: HoldChange,
): ModelAllocation {
  const found = findAllocation(state, id)
  if (found.ended_at !== null) {
    const hasLapsed = isDue(found.expires_at, found.ended_at)
    throw new Refusal(hasLapsed ? 'hold_expired' : 'allocation_ended')
  }
  const isPresent = generation === undefined || generation === found.generation
  const isConfirmed = found.expires_at === null && lifetime_seconds === null
  if (isConfirmed && (isPresent || generation === found.generation - 1)) return found
  if (!isPresent) throw new Refusal('generation_mismatch')
  if (found.expires_at === null) throw new Refusal('allocation_not_held')
  if (isDue(found.expires_at, state.now)) throw new Refusal('hold_expired')
  const expires_at = lifetime_seconds === null ? null : later(state.now, lifetime_seconds)
  const changed = { ...found, generation: found.generation + 1, expires_at }
  replace(state, changed)
  state.tell(expires_at === null ? 'allocation.confirmed' : 'allocation.renewed', [id])
  return changed
}

export type HoldChange = {
  readonly id: string
  readonly generation: number | undefined
  readonly lifetime_seconds: number | null
}

type Restoration = { readonly id: string; readonly new_id: string; readonly seconds: number | null }

/** Who had an address that waits has it again, as a new allocation. */
export function restore(state: State, { id, new_id, seconds }: Restoration): ModelAllocation {
  const before = findAllocation(state, id)
  if (before.ended_at === null) {
    if (!isDue(before.expires_at, state.now)) throw new Refusal('allocation_not_ended')
    end(state, [id])
    tellEnds(state, [id])
  }
  const last = findAllocation(state, id)
  const waits = state.waiting.find(one => one.id === id)
  if (!waits || isDue(waits.quarantined_until, state.now)) throw new Refusal('quarantine_over')
  refuseQuota(state, last, { allocations: 1n, ipv6_64s: ipv6_64s(last.prefix) })
  state.waiting = state.waiting.filter(one => one !== waits)
  const restored: ModelAllocation = {
    ...last,
    id: new_id,
    generation: 1,
    started_at: state.now,
    expires_at: seconds === null ? null : later(state.now, seconds),
    ended_at: null,
    quarantined_until: null,
  }
  state.allocations = [...state.allocations, restored]
  state.tell('allocation.created', [new_id])
  return restored
}

/** Frees what waits before its time; how many of these that is. */
export function endQuarantine(state: State, ids: readonly string[]): number {
  const over = state.waiting.filter(one => ids.includes(one.id))
  cut(state, over, state.now)
  return over.length
}
