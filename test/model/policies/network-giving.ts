import { bitsOf, byFirst } from '../space.ts'
import { giveNext, isOf, type Outcome, reusable, type Wish } from './giving.ts'
import type { Block, House } from './house.ts'
import { factsOf, isUsable, poolFor } from './space.ts'

// Which subnets of a network serve a wish.

export type NetworkWish = Wish & {
  readonly network_id: string
  readonly families: readonly (4 | 6)[]
  readonly partial: boolean
  readonly subnet_tags: readonly string[]
}

/** What becomes of a wish: for each family that gets something, what it gets; or why nothing. */
export function giveFromNetwork(house: House, wish: NetworkWish) {
  const outcomes: (Outcome & { readonly family: 4 | 6 })[] = []
  let code = ''
  for (const family of wish.families) {
    const outcome = giveOfFamily(house, family, wish)
    if (!('code' in outcome)) outcomes.push({ ...outcome, family })
    else {
      code = outcome.code
      if (!wish.partial) return { code }
    }
  }
  return outcomes.length > 0 ? { outcomes } : { code }
}

/** The subnets that may serve a wish, best first. */
export function subnetsFor(house: House, family: 4 | 6, wish: NetworkWish): Block[] {
  const network = house.networks.find(({ id }) => id === wish.network_id)
  const policy = house.policies.find(({ id }) => id === network?.policy_id)
  const isSpread = policy?.rules.subnet_selection === 'spread'
  const subnets = house.leaves().filter(({ network_id, prefix, tags }) => {
    const hasTags = wish.subnet_tags.every(tag => tags.includes(tag))
    return network_id === wish.network_id && prefix.version === family && hasTags
  })
  const serving = subnets.filter(
    block =>
      wish.purpose !== null && factsOf(house, block).some(({ kept }) => kept === wish.purpose),
  )
  const shareOf = (block: Block) => {
    const { total, free } = house.countsOf(block)
    return isSpread ? Number(total - free) / Number(total) : 0
  }
  return (serving.length > 0 ? serving : subnets)
    .map(block => ({ block, share: shareOf(block) }))
    .sort(
      (a, b) =>
        a.block.priority - b.block.priority ||
        a.share - b.share ||
        byFirst(a.block.prefix, b.block.prefix),
    )
    .map(({ block }) => block)
}

function giveOfFamily(house: House, family: 4 | 6, wish: NetworkWish): Outcome {
  if (wish.one_per_owner) {
    const [had] = house.held
      .filter(one => {
        const block = house.find(one.block_id)
        return block?.network_id === wish.network_id && one.prefix.version === family
      })
      .filter(one => isOf(one, wish))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    if (had) return { had }
  }
  const subnets = subnetsFor(house, family, wish)
  if (subnets.length === 0) return { code: 'no_subnet' }
  const count = wish.ids.length / wish.families.length
  const one = { ...wish, ids: wish.ids.slice(0, count) }
  const hasEnough = (block: Block) => {
    const facts = factsOf(house, block)
    const pool = poolFor(facts, wish.purpose)
    return facts.filter(fact => isUsable(fact) && fact.kept === pool).length >= count
  }
  const free = subnets.find(hasEnough)
  if (free) return giveNext(house, free, one)
  for (const block of subnets) {
    const outcome = giveNext(house, block, one)
    if (!('code' in outcome)) return outcome
  }
  return { code: 'network_full' }
}

/** Whether any leaf may give away what waits. */
export function mayReuse(house: House): boolean {
  return house.leaves().some(block => {
    return house.waiting.some(one => {
      const fact = factsOf(house, block).find(({ value }) => value === one.prefix.first)
      const isSingle = one.prefix.length === bitsOf(one.prefix)
      return fact && isSingle && reusable(house, block, fact.kept ?? '').includes(one)
    })
  })
}
