import fc from 'fast-check'
import { expect } from 'vitest'
import { sql } from '../../../src/db/sql.ts'
import { newId } from '../../../src/ids.ts'
import type { Prefix } from '../../../src/ip/prefix.ts'
import { allocateEach } from '../../../src/resources/allocations/allocator-store.ts'
import type { Allocation } from '../../../src/resources/allocations/schema.ts'
import { releaseAll } from '../../../src/resources/allocations/store.ts'
import { bitsOf, byFirst, rangeOf, readPrefix, showPrefix } from '../space.ts'
import { addressAt, prefixAround } from '../world.ts'
import { giveFrom, type Outcome, type Wish } from './giving.ts'
import type { Block, Held, House } from './house.ts'
import { giveFromNetwork, mayReuse, type NetworkWish, subnetsFor } from './network-giving.ts'
import { purposes } from './rules.ts'
import { factsOf, holds, isOpen, isUsable, poolFor } from './space.ts'
import { type Command, command, outcomeOf, pick } from './world.ts'

const what = fc.oneof(
  { weight: 4, arbitrary: fc.record({ count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ contiguous: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ place: fc.integer({ min: -9, max: 9 }), fallback: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ place: fc.integer({ min: -9, max: 9 }), hostBits: fc.nat(3) }),
  },
  { weight: 2, arbitrary: fc.record({ free: fc.nat(3) }) },
)
type What = typeof what extends fc.Arbitrary<infer W> ? W : never

const common = {
  purpose: fc.option(fc.constantFrom(...purposes), { freq: 1 }),
  owner_id: fc.option(fc.constantFrom('o1', 'o2'), { freq: 2 }),
}
const request = fc.record({
  ...common,
  block: fc.nat(50),
  what,
  one_per_owner: fc.nat(5).map(n => n === 0),
})
type Request = typeof request extends fc.Arbitrary<infer R> ? R : never

type BlockWish = Wish & { readonly block_id: string; readonly owner_type: null } & {
  readonly name: ''
  readonly tags: []
}
const plain = { owner_type: null, name: '', tags: [], project_id: 'p' } as const

function toWish({ purpose, owner_id, what: wanted, ...rest }: Request, block: Block): BlockWish {
  const count = 'count' in wanted ? wanted.count : 'contiguous' in wanted ? wanted.contiguous : 1
  const nothing = { address: null, prefix_length: null, fallback: false, contiguous: false }
  return {
    ...plain,
    ...nothing,
    block_id: block.id,
    ids: Array.from({ length: count }, newId).sort(),
    purpose,
    owner_id,
    one_per_owner: rest.one_per_owner && owner_id !== null && count === 1,
    tags: [],
    ...placeOf(wanted, block.prefix),
  }
}

function placeOf(wanted: What, prefix: Prefix): Partial<Wish> {
  const bits = bitsOf(prefix)
  if ('contiguous' in wanted) {
    return { contiguous: true, prefix_length: bits - Math.ceil(Math.log2(wanted.contiguous)) }
  }
  if ('free' in wanted) return { prefix_length: bits - wanted.free }
  if (!('place' in wanted)) return {}
  const address = addressAt(prefix, wanted.place)
  if ('fallback' in wanted) return { address: showPrefix(address), fallback: wanted.fallback }
  return { address: showPrefix(prefixAround(address, bits - wanted.hostBits)) }
}

/** Leaves more often than others, which give nothing. */
const pickBlock = (house: House, index: number) =>
  pick(index % 8 === 0 ? house.blocks : house.leaves(), Math.floor(index / 2))

/** Notes what an answer gave. */
function note(house: House, answer: readonly Allocation[]): void {
  const known = new Set(house.held.map(({ id }) => id))
  const given = answer.filter(({ id }) => !known.has(id)).map(toHeld)
  const isBack = (one: Held) =>
    given.some(({ prefix }) => showPrefix(prefix) === showPrefix(one.prefix))
  house.waiting = house.waiting.filter(one => !isBack(one))
  house.held = [...house.held, ...given]
}

const toHeld = ({ id, block_id, address, project_id, owner_id }: Allocation): Held => ({
  id,
  block_id,
  project_id,
  owner_id,
  prefix: readPrefix(address),
})

/** An answer is what the model says that it is, or one of what it says that it may be. */
function expectGiven(
  outcome: Outcome,
  wish: Pick<Wish, 'ids' | 'contiguous'>,
  given: Allocation[],
) {
  const shown = given.map(({ address }) => showPrefix(readPrefix(address)))
  if ('code' in outcome) throw new Error(`${shown} was given, but should be ${outcome.code}`)
  if ('had' in outcome) {
    expect(given.map(({ id }) => id)).toEqual([outcome.had.id])
    return
  }
  expect(given.map(({ id }) => id)).toEqual(wish.ids)
  if (outcome.exactly) expect(shown).toEqual(outcome.exactly.map(showPrefix))
  const among = outcome.among?.map(showPrefix)
  if (!among) return
  expect(new Set(shown).size).toBe(shown.length)
  if (!wish.contiguous) {
    for (const address of shown) expect(among).toContain(address)
    return
  }
  const [first] = given.map(({ address }) => readPrefix(address))
  if (!first) throw new Error('nothing was given')
  expect(among).toContain(showPrefix(first))
  const row = wish.ids.map((_, n) => showPrefix({ ...first, first: first.first + BigInt(n) }))
  expect(shown).toEqual(row)
}

const allocate = command('allocate', request, async (parameters, house, { allocator }) => {
  const block = pickBlock(house, parameters.block)
  if (!block) return
  const wish = toWish(parameters, block)
  const outcome = giveFrom(house, block, wish)
  const answered = await outcomeOf(allocator.allocate(wish))
  if ('code' in answered) {
    expect(answered).toEqual(outcome)
    return
  }
  const { allocations } = answered.value
  expectGiven(outcome, wish, allocations)
  note(house, allocations)
})

const networkRequest = fc.record({
  ...common,
  network: fc.nat(10),
  families: fc.constantFrom<(4 | 6)[]>([4], [6], [4, 6], [4, 6]),
  partial: fc.boolean(),
  subnet_tags: fc.constantFrom<string[]>([], [], ['x'], ['y']),
  count: fc.constantFrom(1, 1, 1, 2, 3),
  one_per_owner: fc.nat(3).map(n => n === 0),
})
type NetworkRequest = typeof networkRequest extends fc.Arbitrary<infer R> ? R : never

function toNetworkWish(request_: NetworkRequest, house: House): NetworkWish & typeof owned {
  const { network, count, one_per_owner, ...wanted } = request_
  const ids = Array.from({ length: count * wanted.families.length }, newId).sort()
  return {
    ...wanted,
    ...owned,
    network_id: pick(house.networks, network)?.id ?? '',
    ids,
    one_per_owner: one_per_owner && wanted.owner_id !== null && count === 1,
  }
}
const owned = {
  ...plain,
  tags: [] as string[],
  address: null,
  prefix_length: null,
  fallback: false,
  contiguous: false,
}

const allocateFromNetwork = command(
  'allocateFromNetwork',
  networkRequest,
  async (parameters, house, { allocator }) => {
    const wish = toNetworkWish(parameters, house)
    const expected = giveFromNetwork(house, wish)
    const answered = await outcomeOf(allocator.allocate(wish))
    if ('code' in answered) {
      expect(answered).toEqual(expected)
      return
    }
    if ('code' in expected) throw new Error(`not ${expected.code}: ${JSON.stringify(answered)}`)
    const { allocations } = answered.value
    const count = wish.ids.length / wish.families.length
    let rest = allocations
    for (const outcome of expected.outcomes) {
      const length = 'had' in outcome ? 1 : count
      const given = rest.slice(0, length)
      rest = rest.slice(length)
      const index = wish.families.indexOf(outcome.family)
      const ids = wish.ids.slice(index * count, (index + 1) * count)
      expectGiven(outcome, { ids, contiguous: false }, given)
    }
    expect(rest).toEqual([])
    note(house, allocations)
  },
)

const together = command(
  'allocateTogether',
  fc.array(fc.oneof(request, networkRequest), { minLength: 2, maxLength: 5 }),
  async (requests, house, { db }) => {
    if (mayReuse(house)) return // What waits for whom would depend on the order.
    const wishes = requests.flatMap((one): (BlockWish | (NetworkWish & typeof owned))[] => {
      if ('families' in one) return [toNetworkWish(one, house)]
      const block = pickBlock(house, one.block)
      return block ? [toWish(one, block)] : []
    })
    const outcomes = await allocateEach(db, wishes)
    const before = house.leaves().map(block => ({ block, facts: factsOf(house, block) }))
    const isBefore = new Set(house.held.map(({ id }) => id))
    const had = [...house.waiting]
    for (const [index, outcome] of outcomes.entries()) {
      if (typeof outcome !== 'object' || !('allocations' in outcome)) continue
      const wish = wishes[index]
      for (const { id, block_id, address } of outcome.allocations) {
        if (isBefore.has(id)) continue
        const prefix = readPrefix(address)
        const place = before.find(({ block }) => block.id === block_id)
        if (!place || !wish) throw new Error(`${address} was given from nowhere`)
        const pool = poolFor(place.facts, wish.purpose)
        const isSingle = prefix.length === bitsOf(prefix)
        const isBack = had.some(one => showPrefix(one.prefix) === showPrefix(prefix))
        for (const fact of place.facts.filter(({ value }) => holds(prefix, value))) {
          const isFree = isSingle ? isUsable(fact) : isOpen(fact)
          const isFor = fact.kept === pool || (wish.address !== null && fact.kept === '')
          if (!isBack && !(isFree && isFor)) throw new Error(`${address} is not for such a wish`)
        }
        if ('families' in wish) {
          const fitting = subnetsFor(house, prefix.version, wish).map(({ id: subnet }) => subnet)
          expect(fitting).toContain(block_id)
        }
      }
    }
    for (const outcome of outcomes) {
      if (typeof outcome === 'object' && 'allocations' in outcome) note(house, outcome.allocations)
    }
    expectNothingTwice(house)
    // Nothing became free meanwhile: who was refused is still refused.
    for (const [index, outcome] of outcomes.entries()) {
      const wish = wishes[index]
      if (!wish || (typeof outcome === 'object' && 'allocations' in outcome)) continue
      if (outcome === 'again') expect(wish.one_per_owner).toBe(true)
      // Its owner may have got there what another one of its requests was for.
      else if (!wish.one_per_owner) {
        expect(refusalAfter(house, wish)).toContain(outcome.code)
      }
    }
  },
)

/** Each address once. */
function expectNothingTwice(house: House): void {
  const held = house.held.map(({ prefix }) => ({ ...rangeOf(prefix), version: prefix.version }))
  for (const version of [4, 6]) {
    const sorted = held.filter(one => one.version === version).sort(byFirst)
    for (const [index, one] of sorted.entries()) {
      const before = sorted[index - 1]
      if (before && before.last >= one.first) throw new Error(`${one.first} was given twice`)
    }
  }
}

function refusalAfter(house: House, wish: BlockWish | NetworkWish): string[] {
  const block = 'block_id' in wish ? house.find(wish.block_id) : undefined
  const outcome =
    'families' in wish ? giveFromNetwork(house, wish) : block && giveFrom(house, block, wish)
  if (!outcome || !('code' in outcome)) return []
  // What was free for another purpose may have been taken in the meantime.
  return outcome.code === 'address_taken' ? ['address_taken', 'address_excluded'] : [outcome.code]
}

const release = command(
  'release',
  fc.array(fc.nat(1000), { minLength: 1, maxLength: 3 }),
  async (indexes, house, { db }) => {
    const some = [...new Set(indexes.map(index => pick(house.held, index)))]
    const wanted = some.filter(one => one !== undefined)
    if (wanted.length === 0) return
    await releaseAll(
      db,
      wanted.map(({ id }) => ({ id })),
    )
    const ids = new Set(wanted.map(({ id }) => id))
    house.held = house.held.filter(({ id }) => !ids.has(id))
    const waits = ({ block_id }: Held) => {
      const block = house.find(block_id)
      return block && (house.ruleFor(block, 'quarantine_seconds')?.value ?? 0) > 0
    }
    const byAddress = (a: Held, b: Held) => byFirst(a.prefix, b.prefix)
    house.waiting = [...house.waiting, ...wanted.filter(waits).sort(byAddress)]
  },
)

const endQuarantine = command(
  'endQuarantine',
  fc.array(fc.nat(1000), { minLength: 1, maxLength: 3 }),
  async (indexes, house, { db }) => {
    const some = new Set(indexes.map(index => pick(house.waiting, index)?.id))
    await db.query(sql`select end_quarantine(${[...some].filter(id => id !== undefined)}::uuid[])`)
    house.waiting = house.waiting.filter(({ id }) => !some.has(id))
  },
)

export const allocationCommands: fc.Arbitrary<Command>[] = [
  allocate,
  allocate,
  allocate,
  allocate,
  allocateFromNetwork,
  allocateFromNetwork,
  allocateFromNetwork,
  together,
  together,
  release,
  release,
  endQuarantine,
]
