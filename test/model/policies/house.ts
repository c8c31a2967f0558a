import type { IpVersion } from '../../../src/ip/address.ts'
import type { Prefix } from '../../../src/ip/prefix.ts'
import { rangeOf, sizeOf } from '../space.ts'
import { addressesOf, factsOf, isOpen, isUsable } from './space.ts'

export type Strategy = 'sequential' | 'random' | 'least_recently_used'

/** What names addresses of a block. */
export type Words = {
  readonly offsets?: readonly { readonly from: number; readonly to: number }[] | undefined
  readonly first?: number | undefined
  readonly last?: number | undefined
  readonly addresses?: readonly string[] | undefined
}
type Lengths = { readonly min?: number | undefined; readonly max?: number | undefined }
export type Rules = {
  readonly exclusions?:
    | (Words & { readonly last_octets?: readonly number[] | undefined })
    | undefined
  readonly purposes?: readonly (Words & { readonly purpose: string })[] | undefined
  readonly strategy?: Strategy | undefined
  readonly quarantine_seconds?: number | undefined
  readonly quarantine_reuse?: 'never' | 'when_full' | undefined
  readonly child_prefix_lengths?:
    | { readonly ipv4?: Lengths | undefined; readonly ipv6?: Lengths | undefined }
    | undefined
  readonly subnet_selection?: 'fill_first' | 'spread' | undefined
}
export type RuleName = keyof Rules

export type Policy = { readonly id: string; readonly rules: Rules }
export type Network = { readonly id: string; readonly policy_id: string | null }

export type Block = {
  readonly id: string
  readonly parent_id: string | null
  readonly prefix: Prefix
  readonly network_id: string | null
  readonly policy_id: string | null
  readonly gateway: bigint | null
  readonly allocate_network_address: boolean
  readonly own_strategy: Strategy | null
  readonly priority: number
  readonly tags: readonly string[]
}

/** What somebody has, or had and it waits for them. */
export type Held = {
  readonly id: string
  readonly block_id: string
  readonly prefix: Prefix
  readonly project_id: string
  readonly owner_id: string | null
}

/** Free from the beginning. */
export const always = -1

/** All that the model knows of one address scope. Objects in the lists are replaced, not changed. */
export class House {
  policies: readonly Policy[] = []
  networks: readonly Network[] = []
  scope_policy_id: string | null = null
  blocks: readonly Block[] = []
  held: readonly Held[] = []
  waiting: readonly Held[] = []
  tick = 0
  /** Since when each address of a leaf has been free. */
  readonly #ages = new Map<string, Map<bigint, number>>()
  readonly #strategies = new Map<string, Strategy>()

  find(id: string | null): Block | undefined {
    return this.blocks.find(block => block.id === id)
  }

  childrenOf({ id }: Pick<Block, 'id'>): Block[] {
    return this.blocks.filter(({ parent_id }) => parent_id === id)
  }

  isLeaf(block: Block): boolean {
    return this.childrenOf(block).length === 0
  }

  leaves(): Block[] {
    return this.blocks.filter(block => this.isLeaf(block))
  }

  replace(id: string, change: Partial<Block>): void {
    this.blocks = this.blocks.map(block => (block.id === id ? { ...block, ...change } : block))
  }

  /** Whether a block has a network that it does not have from its parent. */
  isNetworkTop({ network_id, parent_id }: Block): boolean {
    return network_id !== null && !this.find(parent_id)?.network_id
  }

  /** The policies that reach a block, nearest first. */
  chainOf(block: Block): Policy[] {
    const parent = this.find(block.parent_id)
    const network = this.networks.find(({ id }) => id === block.network_id)
    const ids = [
      block.policy_id,
      this.isNetworkTop(block) ? (network?.policy_id ?? null) : null,
      parent ? null : this.scope_policy_id,
    ]
    const own = ids.flatMap(id => this.policies.filter(policy => policy.id === id))
    return [...own, ...(parent ? this.chainOf(parent) : [])]
  }

  /** The nearest statement of a rule, and the policy that makes it. */
  ruleFor<R extends RuleName>(block: Block, rule: R) {
    return ruleIn(this.chainOf(block), rule)
  }

  strategyOf(block: Block): Strategy {
    return block.own_strategy ?? this.ruleFor(block, 'strategy')?.value ?? 'sequential'
  }

  /** Notes what became free, or was taken, at this tick. All of a new leaf was `always` free. */
  settle(free: { readonly always?: readonly bigint[] } = {}): void {
    for (const block of this.blocks) {
      if (!this.isLeaf(block)) {
        this.#ages.delete(block.id)
        continue
      }
      const isNew = !this.#ages.has(block.id)
      const strategy = this.strategyOf(block)
      const before = this.#ages.get(block.id) ?? new Map<bigint, number>()
      const isReset = this.#strategies.get(block.id) !== strategy
      const ages = new Map<bigint, number>()
      for (const fact of factsOf(this, block)) {
        if (!isOpen(fact)) continue
        const since = before.get(fact.value)
        const fresh = isNew || free.always?.includes(fact.value) ? always : this.tick
        ages.set(fact.value, since === undefined ? fresh : isReset ? always : since)
      }
      this.#ages.set(block.id, ages)
      this.#strategies.set(block.id, strategy)
    }
  }

  /** Forgets since when the space of a block has been free: all of it is laid anew. */
  reset(id: string): void {
    this.#ages.delete(id)
  }

  ageOf(block: Block, value: bigint): number {
    return this.#ages.get(block.id)?.get(value) ?? always
  }

  /** Counts of one block, without those below it. */
  countsOf(block: Block) {
    const facts = this.isLeaf(block) ? factsOf(this, block) : []
    const inChildren = this.childrenOf(block).reduce(
      (sum, { prefix }) => sum + sizeOf(rangeOf(prefix)),
      0n,
    )
    const total = sizeOf(rangeOf(block.prefix))
    const count = (isCounted: (fact: (typeof facts)[number]) => boolean) =>
      BigInt(facts.filter(isCounted).length)
    const allocated = count(({ user }) => user === 'allocated')
    const quarantined = count(({ user }) => user === 'quarantined')
    const free = this.isLeaf(block) ? count(isUsable) : total - inChildren
    return {
      total,
      allocated,
      quarantined,
      excluded: total - allocated - quarantined - inChildren - free,
      in_children: inChildren,
      free,
    }
  }

  /** The addresses of a block that no child has. */
  outsideChildren(block: Block): bigint[] {
    const children = this.childrenOf(block).map(({ prefix }) => rangeOf(prefix))
    return addressesOf(block).filter(value =>
      children.every(({ first, last }) => value < first || value > last),
    )
  }
}

export function ruleIn<R extends RuleName>(chain: readonly Policy[], rule: R) {
  const policy = chain.find(({ rules }) => rules[rule] !== undefined)
  const value = policy?.rules[rule]
  if (!policy || value === undefined) return undefined
  return { value: value as NonNullable<Rules[R]>, policy_id: policy.id }
}

export const versionOf = ({ prefix }: { readonly prefix: Prefix }): IpVersion => prefix.version
