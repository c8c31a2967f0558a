import { later } from './clock.ts'
import { byFirst, prefixesOverlap, rangeOf, total } from './space.ts'
import { byText, type ModelAllocation, type ModelBlock, Refusal, type State } from './state.ts'

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

/** Gives out before its time, to whoever asks, what has waited for longest. */
export function reuse(state: State, block: ModelBlock, request: Wanted): void {
  const wanted = BigInt(request.ids.length)
  const lacking = wanted - total(state.free(block))
  if (lacking <= 0n || state.rule(block, 'quarantine_reuse') !== 'when_full') return
  const most = request.one_per_owner ? wanted : lacking
  const singles = state
    .waitingIn(block)
    .filter(({ prefix }) => rangeOf(prefix).first === rangeOf(prefix).last)
    .sort((a, b) => byText(a.ended_at ?? '', b.ended_at ?? '') || byFirst(a.prefix, b.prefix))
  cut(state, singles.slice(0, Number(most)), state.now)
}

type Wanted = { readonly ids: readonly string[]; readonly one_per_owner?: boolean }
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

type More = { readonly project_id: string; readonly scope_id: string; readonly count: number }

/** A project may take so much more in a scope, by its limits there and in all. */
export function refuseQuota(state: State, { project_id, scope_id, count }: More, more64s: bigint) {
  for (const scope of [scope_id, null]) {
    const own = quotaOf(state, project_id, scope)
    const common = quotaOf(state, null, scope)
    const allocations = own?.allocations ?? common?.allocations ?? Infinity
    const ipv6_64s = own?.ipv6_64s ?? common?.ipv6_64s ?? Infinity
    const used = usageOf(state, project_id, scope)
    const passes64s = more64s > 0n && used.ipv6_64s + more64s > ipv6_64s
    if (used.allocations + count > allocations || passes64s) throw new Refusal('quota_exceeded')
  }
}

const quotaOf = ({ quotas }: State, project_id: string | null, scope_id: string | null) =>
  quotas.find(one => one.project_id === project_id && one.scope_id === scope_id)

/** What a project has, in a scope or in all. */
export function usageOf(state: State, project_id: string, scope_id: string | null) {
  const isMeant = (one: { project_id: string | null; scope_id: string }) =>
    one.project_id === project_id && (scope_id === null || one.scope_id === scope_id)
  const held = state.current().filter(isMeant)
  return {
    allocations: held.length,
    ipv6_64s: held.reduce((sum, { prefix }) => sum + ipv6_64s(prefix), 0n),
    blocks: state.blocks.filter(isMeant).length,
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
  if (found.ended_at !== null) throw new Refusal('allocation_ended')
  if (generation !== undefined && generation !== found.generation) {
    throw new Refusal('generation_mismatch')
  }
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
  const last = findAllocation(state, id)
  if (last.ended_at === null) throw new Refusal('allocation_not_ended')
  const waits = state.waiting.find(one => one.id === id)
  if (!waits || isDue(waits.quarantined_until, state.now)) throw new Refusal('quarantine_over')
  refuseQuota(state, { ...last, count: 1 }, ipv6_64s(last.prefix))
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
