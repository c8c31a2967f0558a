import type { Prefix } from '../../../src/ip/prefix.ts'
import type { NewAllocations } from '../../../src/resources/allocations/allocator-store.ts'
import { bitsOf, rangeOf, readPrefix, singleOf } from '../space.ts'
import type { Block, Held, House } from './house.ts'
import {
  covers,
  type Fact,
  factsOf,
  holds,
  isOpen,
  isUsable,
  poolFor,
  prefixesOfLength,
} from './space.ts'

// What a block may give for a wish, by looking at each of its addresses.

export type Wish = Pick<
  NewAllocations,
  'ids' | 'address' | 'fallback' | 'prefix_length' | 'contiguous' | 'project_id' | 'owner_id'
> & { readonly purpose: string | null; readonly one_per_owner: boolean }

/** What is to come of a wish. */
export type Outcome =
  | { readonly code: string }
  /** What the owner has there already. */
  | { readonly had: Held }
  | {
      /** Just these, in this order; or as many of `among`, each once. */
      readonly exactly?: readonly Prefix[]
      readonly among?: readonly Prefix[]
      /** What ends its quarantine for it. */
      readonly reused?: readonly Held[]
    }

const isSame = (a: Prefix, b: Prefix) =>
  a.version === b.version && a.first === b.first && a.length === b.length

/** What becomes of a wish to one block. */
export function giveFrom(house: House, block: Block, wish: Wish): Outcome {
  if (!house.isLeaf(block)) return { code: 'block_has_children' }
  const had = house.held.find(one => one.block_id === block.id && isOf(one, wish))
  if (wish.one_per_owner && had) return { had }
  if (wish.address !== null) return giveCertain(house, block, wish)
  if (wish.contiguous) return giveContiguous(house, block, wish)
  if (wish.prefix_length !== null) return givePrefix(house, block, wish)
  return giveNext(house, block, wish)
}

export const isOf = (held: Held, wish: Pick<Wish, 'project_id' | 'owner_id'>) =>
  wish.owner_id !== null && held.owner_id === wish.owner_id && held.project_id === wish.project_id

export function giveNext(house: House, block: Block, wish: Wish): Outcome {
  const facts = factsOf(house, block)
  const pool = poolFor(facts, wish.purpose)
  const wanted = wish.ids.length
  const usable = facts.filter(fact => isUsable(fact) && fact.kept === pool)
  const { version } = block.prefix
  const prefixOf = ({ value }: Pick<Fact, 'value'>) => singleOf(version, value)
  if (usable.length < wanted) {
    const missing = wanted - usable.length
    const reused = reusable(house, block, pool).slice(0, missing)
    if (reused.length < missing) return { code: 'block_full' }
    // What is freed for it is the youngest, and all of it is needed.
    return { among: [...usable.map(prefixOf), ...reused.map(({ prefix }) => prefix)], reused }
  }
  const strategy = house.strategyOf(block)
  if (strategy === 'random') return { among: usable.map(prefixOf) }
  if (strategy === 'least_recently_used') {
    usable.sort((a, b) => house.ageOf(block, a.value) - house.ageOf(block, b.value) || order(a, b))
  }
  return { exactly: usable.slice(0, wanted).map(prefixOf) }
}

const order = (a: Fact, b: Fact) => (a.value < b.value ? -1 : 1)

/** Single addresses that wait, and may go to others once nothing else is free; the first first. */
export function reusable(house: House, block: Block, pool: string): Held[] {
  if (house.ruleFor(block, 'quarantine_reuse')?.value !== 'when_full') return []
  const facts = factsOf(house, block)
  return house.waiting.filter(({ block_id, prefix }) => {
    const fact = facts.find(({ value }) => value === prefix.first)
    return (
      block_id === block.id &&
      prefix.length === bitsOf(prefix) &&
      fact?.kept === pool &&
      !fact.isOctetExcluded
    )
  })
}

/** Why an address or prefix cannot be had. */
function whyNot(house: House, wanted: Prefix): string {
  const meets = ({ prefix }: Held) =>
    prefix.version === wanted.version &&
    (holds(prefix, wanted.first) || holds(wanted, prefix.first))
  if (house.held.some(meets)) return 'address_taken'
  return house.waiting.some(meets) ? 'address_quarantined' : 'address_excluded'
}

function giveCertain(house: House, block: Block, wish: Wish): Outcome {
  const wanted = readPrefix(wish.address ?? '')
  const isInside =
    wanted.version === block.prefix.version && covers(rangeOf(block.prefix), rangeOf(wanted))
  if (!isInside) return { code: 'address_outside_block' }
  const facts = factsOf(house, block).filter(({ value }) => holds(wanted, value))
  const isFor = ({ kept }: Fact) => kept === '' || kept === wish.purpose
  const isSingle = facts.length === 1
  if (facts.every(fact => (isSingle ? isUsable(fact) : isOpen(fact)) && isFor(fact))) {
    return { exactly: [wanted] }
  }
  const back = house.waiting.find(one => isSame(one.prefix, wanted) && isOf(one, wish))
  if (back) return { exactly: [wanted], reused: [back] }
  const code = whyNot(house, wanted)
  return wish.fallback ? giveNext(house, block, wish) : { code }
}

function openRun(house: House, block: Block, wish: Wish) {
  const facts = factsOf(house, block)
  const pool = poolFor(facts, wish.purpose)
  const byValue = new Map(facts.map(fact => [fact.value, fact]))
  return {
    isOpenPrefix: (prefix: Prefix) =>
      facts
        .filter(({ value }) => holds(prefix, value))
        .every(fact => isOpen(fact) && fact.kept === pool),
    isUsableAt: (value: bigint) => {
      const fact = byValue.get(value)
      return fact !== undefined && isUsable(fact)
    },
  }
}

function givePrefix(house: House, block: Block, wish: Wish): Outcome {
  const length = wish.prefix_length ?? 0
  const { isOpenPrefix, isUsableAt } = openRun(house, block, wish)
  const isSingle = length === bitsOf(block.prefix)
  const among = prefixesOfLength(block, length).filter(
    prefix => isOpenPrefix(prefix) && (!isSingle || isUsableAt(prefix.first)),
  )
  return among.length > 0 ? { among } : { code: 'no_free_prefix' }
}

/** The first addresses of a free prefix; the model tells the places where they may begin. */
function giveContiguous(house: House, block: Block, wish: Wish): Outcome {
  const { isOpenPrefix, isUsableAt } = openRun(house, block, wish)
  const offsets = wish.ids.map((_, n) => BigInt(n))
  const among = prefixesOfLength(block, wish.prefix_length ?? 0).filter(
    prefix => isOpenPrefix(prefix) && offsets.every(n => isUsableAt(prefix.first + n)),
  )
  if (among.length === 0) return { code: 'no_free_prefix' }
  return { among: among.map(({ version, first }) => singleOf(version, first)) }
}
