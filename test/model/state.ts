import type { ErrorCode } from '../../src/errors.ts'
import type { Address } from '../../src/ip/address.ts'
import type { Prefix } from '../../src/ip/prefix.ts'
import { beginning } from './clock.ts'
import {
  bitsOf,
  byFirst,
  overlaps,
  prefixesOverlap,
  type Range,
  rangeOf,
  sizeOf,
  subtract,
  total,
} from './space.ts'

export type Strategy = 'sequential' | 'random' | 'least_recently_used'

export type ModelBlock = {
  readonly id: string
  readonly scope_id: string
  readonly parent_id: string | null
  readonly prefix: Prefix
  readonly network_id: string | null
  readonly project_id: string | null
  readonly name: string
  readonly gateway: Address | null
  readonly allocate_network_address: boolean
  readonly strategy: Strategy
  readonly policy_id: string | null
  readonly generation: number
  /** What became free and when; of two that cover an address the last one counts. */
  readonly freed: readonly (Range & { readonly since: string })[]
}

/** A policy without a rule leaves it to those further up. */
export type ModelPolicy = {
  readonly id: string
  readonly quarantine_seconds?: number
  readonly quarantine_reuse?: 'never' | 'when_full'
}

/** What a project may hold in a scope, or (null) in all; of a project, or (null) of every one. */
export type ModelQuota = {
  readonly id: string
  readonly generation: number
  readonly project_id: string | null
  readonly scope_id: string | null
  readonly allocations: number | null
  readonly ipv6_64s: number | null
  readonly blocks: number | null
}

export type ModelAllocation = {
  readonly id: string
  readonly scope_id: string
  readonly block_id: string
  readonly prefix: Prefix
  readonly project_id: string
  readonly owner_type: string | null
  readonly owner_id: string | null
  readonly name: string
  readonly tags: readonly string[]
  readonly generation: number
  readonly started_at: string
  readonly expires_at: string | null
  readonly ended_at: string | null
  readonly quarantined_until: string | null
}

/** Changes of one transaction, each a type and an id; what ends may be told in any order. */
export type ModelEvents = readonly (readonly [type: string, id: string])[]

/** The age of what was never used: before every time. */
export const never = ''

export class Refusal extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode) {
    super(code)
    this.code = code
  }
}

/** All that the model knows. Objects in the lists are replaced, never changed. */
export class State {
  readonly scopes: readonly string[]
  blocks: readonly ModelBlock[] = []
  allocations: readonly ModelAllocation[] = []
  /** Ended, and their addresses wait in quarantine. */
  waiting: readonly ModelAllocation[] = []
  events: readonly ModelEvents[] = []
  policies: readonly ModelPolicy[] = []
  quotas: readonly ModelQuota[] = []
  /** The time; every command happens a little after the one before. */
  now = beginning

  constructor(scopes: readonly string[]) {
    this.scopes = scopes
  }

  /** What a change gives, or the code of its refusal, which leaves everything as it was. */
  attempt<T>(change: () => T): { value: T } | { code: ErrorCode } {
    return this.undoing(outcome => 'code' in outcome, change)
  }

  /** The same, but what was done before the refusal stays. */
  outcome<T>(change: () => T): { value: T } | { code: ErrorCode } {
    return this.undoing(() => false, change)
  }

  /** What a change would give; it leaves everything as it was. */
  trial<T>(change: () => T): { value: T } | { code: ErrorCode } {
    return this.undoing(() => true, change)
  }

  private undoing<T>(
    isUndone: (outcome: { value: T } | { code: ErrorCode }) => boolean,
    change: () => T,
  ) {
    const { blocks, allocations, waiting, quotas, events } = this
    const outcome = outcomeOfChange(change)
    if (isUndone(outcome)) Object.assign(this, { blocks, allocations, waiting, quotas, events })
    return outcome
  }

  findBlock(id: string): ModelBlock {
    const block = this.blocks.find(one => one.id === id)
    if (!block) throw new Refusal('block_not_found')
    return block
  }

  replaceBlock(id: string, change: Partial<ModelBlock>): ModelBlock {
    const changed = { ...this.findBlock(id), ...change }
    this.blocks = this.blocks.map(one => (one.id === id ? changed : one))
    return changed
  }

  tell(type: string, ids: readonly string[]): void {
    this.tellAll(ids.map(id => [type, id] as const))
  }

  tellAll(events: ModelEvents): void {
    if (events.length > 0) this.events = [...this.events, events]
  }

  childrenOf(id: string): ModelBlock[] {
    return this.blocks.filter(block => block.parent_id === id)
  }

  isLeaf(block: ModelBlock): boolean {
    return this.childrenOf(block.id).length === 0
  }

  /** The blocks beside which a block of this container stands. */
  inContainer(scope_id: string, parent_id: string | null): ModelBlock[] {
    return this.blocks.filter(one => one.scope_id === scope_id && one.parent_id === parent_id)
  }

  current(): ModelAllocation[] {
    return this.allocations.filter(one => one.ended_at === null)
  }

  heldIn(block: ModelBlock): ModelAllocation[] {
    return this.current().filter(one => one.block_id === block.id)
  }

  waitingIn(block: ModelBlock): ModelAllocation[] {
    return this.waiting.filter(one => one.block_id === block.id)
  }

  /** What is held in a block or waits there: nobody else can have it. */
  usedIn(block: ModelBlock): ModelAllocation[] {
    return [...this.heldIn(block), ...this.waitingIn(block)]
  }

  /** A rule of a block: that of the nearest policy that states it, on the block or above it. */
  rule<R extends 'quarantine_seconds' | 'quarantine_reuse'>(block: ModelBlock, name: R) {
    for (let one: ModelBlock | undefined = block; one; one = this.parentOf(one)) {
      const policy = this.policies.find(({ id }) => id === one?.policy_id)
      if (policy?.[name] !== undefined) return policy[name]
    }
    return undefined
  }

  private parentOf({ parent_id }: ModelBlock): ModelBlock | undefined {
    return this.blocks.find(({ id }) => id === parent_id)
  }

  /** All less what is excluded, held, waits or is children's: lowest first, neighbours joined. */
  free(block: ModelBlock): Range[] {
    const used = this.isLeaf(block)
      ? [...excluded(block), ...this.usedIn(block).map(one => rangeOf(one.prefix))]
      : this.childrenOf(block.id).map(child => rangeOf(child.prefix))
    return subtract([rangeOf(block.prefix)], used)
  }

  /** The free space in runs of one age, those free for longest first. */
  freeByAge(block: ModelBlock): (Range & { since: string })[] {
    const cuts = block.freed.flatMap(({ first, last }) => [first, last + 1n])
    const runs: (Range & { since: string })[] = []
    for (const range of this.free(block)) {
      const inside = cuts.filter(cut => range.first < cut && cut <= range.last)
      const starts = [range.first, ...[...new Set(inside)].sort((a, b) => (a < b ? -1 : 1))]
      for (const [index, first] of starts.entries()) {
        const last = (starts[index + 1] ?? range.last + 1n) - 1n
        const since = block.freed.findLast(one => overlaps(one, { first, last: first }))?.since
        const before = runs.at(-1)
        if (before && before.last + 1n === first && before.since === (since ?? never)) {
          runs[runs.length - 1] = { ...before, last }
        } else runs.push({ first, last, since: since ?? never })
      }
    }
    return runs.sort((a, b) => byText(a.since, b.since) || byFirst(a, b))
  }

  /** Counts over the block and all that is below it, beside its own total and `in_children`. */
  utilisation(id: string) {
    const block = this.findBlock(id)
    const all = this.withDescendants(block)
    const leaves = all.filter(one => this.isLeaf(one))
    const sum = (sizes: readonly bigint[]) => String(sizes.reduce((a, b) => a + b, 0n))
    const sizes = (some: readonly ModelAllocation[]) => some.map(one => sizeOf(rangeOf(one.prefix)))
    const current = all.flatMap(one => this.heldIn(one))
    return {
      total: String(total([rangeOf(block.prefix)])),
      allocated: sum(sizes(current.filter(one => one.expires_at === null))),
      held: sum(sizes(current.filter(one => one.expires_at !== null))),
      quarantined: sum(sizes(all.flatMap(one => this.waitingIn(one)))),
      excluded: sum(leaves.map(one => total(excluded(one)))),
      free: sum(all.map(one => total(this.free(one)))),
      in_children: sum([total(this.childrenOf(id).map(child => rangeOf(child.prefix)))]),
    }
  }

  withDescendants(block: ModelBlock): ModelBlock[] {
    return [block, ...this.childrenOf(block.id).flatMap(child => this.withDescendants(child))]
  }

  /** Blocks with a network of their own, not their parent's, never overlap in it. */
  refuseOverlapInNetwork(): void {
    const tops = this.blocks.filter(({ network_id, parent_id }) => {
      const parent = this.blocks.find(one => one.id === parent_id)
      return network_id !== null && !parent?.network_id
    })
    for (const a of tops) {
      const others = tops.filter(b => b.id !== a.id && b.network_id === a.network_id)
      if (others.some(b => prefixesOverlap(a.prefix, b.prefix))) {
        throw new Refusal('block_overlaps_in_network')
      }
    }
  }
}

function outcomeOfChange<T>(change: () => T): { value: T } | { code: ErrorCode } {
  try {
    return { value: change() }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { code: error.code }
  }
}

export const byText = (a: string, b: string) => (a < b ? -1 : Number(a > b))

export type Shape = Pick<ModelBlock, 'prefix' | 'gateway' | 'allocate_network_address'>

/**
 * What a block without children keeps back: the network address (IPv4 up to /30, IPv6 /64 to
 * /126) unless it may be given out, the broadcast address (IPv4 up to /30), the gateway.
 */
export function excluded({ prefix, gateway, allocate_network_address }: Shape): Range[] {
  const { first, last } = rangeOf(prefix)
  const { version, length } = prefix
  const isSubnet = version === 4 ? length <= 30 : length >= 64 && length <= 126
  const kept = new Set<bigint>()
  if (isSubnet && !allocate_network_address) kept.add(first)
  if (isSubnet && version === 4) kept.add(last)
  if (gateway && gateway.version === version && first <= gateway.value && gateway.value <= last) {
    kept.add(gateway.value)
  }
  return [...kept].map(value => ({ first: value, last: value })).sort(byFirst)
}

/** Inside the block and neither network nor broadcast address; or fe80::/10 in IPv6. */
export function canBeGateway(shape: Shape): boolean {
  const { prefix, gateway } = shape
  if (!gateway) return true
  if (gateway.version !== prefix.version) return false
  if (gateway.version === 6 && gateway.value / 2n ** 118n === 0xfe80n / 2n ** 6n) return true
  const place = { first: gateway.value, last: gateway.value }
  const others = excluded({ ...shape, gateway: null })
  const addresses = subtract([{ first: 0n, last: 2n ** BigInt(bitsOf(prefix)) - 1n }], others)
  return overlaps(place, rangeOf(prefix)) && addresses.some(range => overlaps(place, range))
}
