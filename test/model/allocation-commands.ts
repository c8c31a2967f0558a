import fc from 'fast-check'
import { tryOut } from '../../src/db/database.ts'
import { newId } from '../../src/ids.ts'
import { allocateOnce } from '../../src/resources/allocations/allocator-store.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import {
  type OwnerFilter,
  releaseAll,
  releaseByOwner,
  updateAllocation,
} from '../../src/resources/allocations/store.ts'
import * as model from './allocations-model.ts'
import { bitsOf, readPrefix, showPrefix } from './space.ts'
import type { ModelAllocation, ModelBlock, State } from './state.ts'
import {
  absentId,
  addressAt,
  answerOf,
  type Command,
  clampLength,
  command,
  expectSame,
  outcomeOf,
  pick,
  pickBlock,
  prefixAround,
  type Real,
  showAllocation,
  showModelAllocation,
} from './world.ts'

const list = {
  real: (answer: readonly Allocation[]) => answer.map(showAllocation),
  model: (answer: readonly ModelAllocation[]) => answer.map(showModelAllocation),
}
export const one = { real: showAllocation, model: showModelAllocation }

const place = fc.integer({ min: -6, max: 8 })
const deeper = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 4 }) },
  { weight: 1, arbitrary: fc.integer({ min: -1, max: 128 }) },
)
const wish = fc.oneof(
  fc.record({ kind: fc.constant('next' as const), count: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ kind: fc.constant('contiguous' as const), count: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constant('address' as const), place, fallback: fc.boolean() }),
  fc.record({ kind: fc.constant('prefix' as const), place, deeper }),
  fc.record({ kind: fc.constant('prefix_length' as const), deeper }),
)
type Wish = typeof wish extends fc.Arbitrary<infer W> ? W : never

export const request = fc.record({
  block: fc.nat(127),
  wish,
  project_id: fc.constantFrom('p1', 'p2'),
  owner_type: fc.constantFrom(null, 'instance'),
  owner_id: fc.constantFrom(null, 'i1', 'i2'),
  name: fc.constantFrom('', 'a'),
  tags: fc.constantFrom([], ['blue'], ['blue', 'red']),
  lifetime_seconds: fc.constantFrom(null, null, 10, 100),
})
export type Request = typeof request extends fc.Arbitrary<infer R> ? R : never

/** The request that parameters stand for, to a block, or to one that is not there. */
export function toNewAllocations(
  { wish: wanted, block: _, ...owner }: Request,
  block: ModelBlock | undefined,
): model.ModelRequest {
  const count = 'count' in wanted ? wanted.count : 1
  return {
    ...owner,
    block_id: block?.id ?? absentId,
    ids: Array.from({ length: count }, newId),
    fallback: 'fallback' in wanted && wanted.fallback,
    contiguous: wanted.kind === 'contiguous',
    ...(block ? placeOf(wanted, block) : { address: null, prefix_length: null }),
  }
}

function placeOf(wanted: Wish, { prefix }: ModelBlock) {
  const nothing = { address: null, prefix_length: null }
  const bits = bitsOf(prefix)
  switch (wanted.kind) {
    case 'next':
      return nothing
    case 'contiguous':
      return { ...nothing, prefix_length: bits - Math.ceil(Math.log2(wanted.count)) }
    case 'address':
      return { ...nothing, address: showPrefix(addressAt(prefix, wanted.place)) }
    case 'prefix': {
      // Small ones as often as large ones: from the length of an address upwards.
      const length = clampLength(prefix.version, bits - wanted.deeper)
      const address = showPrefix(prefixAround(addressAt(prefix, wanted.place), length))
      return { ...nothing, address }
    }
    case 'prefix_length': {
      const length = prefix.length + wanted.deeper
      return { ...nothing, prefix_length: Math.max(0, Math.min(128, length)) }
    }
  }
}

const laterRequest = fc.record({
  request,
  one_per_owner: fc.constantFrom(false, false, false, true),
  dry_run: fc.constantFrom(false, false, false, false, true),
})

const allocate = command(
  'allocate',
  laterRequest,
  async ({ request: parameters, one_per_owner, dry_run }, state, real) => {
    const block = pickBlock(state, parameters.block)
    const wanted = { ...toNewAllocations(parameters, block), one_per_owner }
    await ask(wanted, state, real, dry_run)
  },
)

/** Allocates in both; a dry run leaves no trace in either. */
export async function ask(
  wanted: model.ModelRequest,
  state: State,
  { db, allocator }: Real,
  dry_run = false,
): Promise<void> {
  const work = dry_run ? tryOut(db, tx => allocateOnce(tx, wanted)) : allocator.allocate(wanted)
  const answer = await outcomeOf(work.then(({ allocations }) => allocations))
  const change = () => model.allocate(state, wanted, answerOf(answer))
  expectSame(answer, dry_run ? state.trial(change) : state.outcome(change), list)
}

export const target = fc.record({
  allocation: fc.nat(),
  /** Which generation is named: none, the present one, or one beside it. */
  generation: fc.option(fc.integer({ min: -1, max: 1 }), { nil: undefined, freq: 2 }),
})
type Target = typeof target extends fc.Arbitrary<infer T> ? T : never

/** Mostly an allocation that lasts, sometimes one that ended, seldom one that never was. */
export function releaseOf(state: State, { allocation, generation }: Target) {
  const some = allocation % 4 === 3 ? state.allocations : state.current()
  const found = allocation % 32 === 31 ? undefined : pick(some, Math.floor(allocation / 4))
  const wanted = generation === undefined ? undefined : (found?.generation ?? 1) + generation
  return { id: found?.id ?? absentId, ...(wanted !== undefined && { generation: wanted }) }
}

const release = command('release', target, async (wanted, state, { allocator }) => {
  const one_ = releaseOf(state, wanted)
  const real = await outcomeOf(allocator.release(one_).then(answer => [answer]))
  const expected = state.attempt(() => model.release(state, [one_]))
  expectSame(real, expected, list)
})

const releaseSome = command(
  'releaseAll',
  fc.array(target, { minLength: 1, maxLength: 4 }),
  async (targets, state, { db }) => {
    const wanted = targets.map(each => releaseOf(state, each))
    const real = await outcomeOf(releaseAll(db, wanted))
    const expected = state.attempt(() => model.release(state, wanted))
    expectSame(real, expected, list)
  },
)

const releaseOwned = command(
  'releaseByOwner',
  fc.record({
    project_id: fc.constantFrom('p1', 'p2'),
    owner_id: fc.constantFrom('i1', 'i2'),
    owner_type: fc.constantFrom(undefined, 'instance'),
    block: fc.option(fc.nat(127), { nil: undefined, freq: 2 }),
    countMax: fc.constantFrom(2, 100),
  }),
  async ({ block, countMax, ...owned }, state, { db }) => {
    const block_id = block === undefined ? undefined : (pickBlock(state, block)?.id ?? absentId)
    const owner: OwnerFilter = { ...owned, block_id }
    const real = await outcomeOf(releaseByOwner(db, owner, countMax))
    const expected = state.attempt(() => model.releaseByOwner(state, { owner, countMax }))
    expectSame(real, expected, list)
  },
)

const update = command(
  'updateAllocation',
  fc.record({ target, name: fc.constantFrom(undefined, 'a', 'b'), retag: fc.boolean() }),
  async ({ target: wanted, name, retag }, state, { db }) => {
    const { id, ...condition } = releaseOf(state, wanted)
    const patch = { ...condition, ...(name && { name }), ...(retag && { tags: ['green'] }) }
    const real = await outcomeOf(updateAllocation(db, { id }, patch))
    const expected = state.attempt(() => model.updateAllocation(state, id, patch))
    expectSame(real, expected, one)
  },
)

export const allocationCommands: fc.Arbitrary<Command>[] = [
  allocate,
  allocate,
  allocate,
  allocate,
  allocate,
  release,
  release,
  releaseSome,
  releaseOwned,
  update,
]

/** The address that an allocation or a block's edge stands at, for look-ups. */
export function somewhere(state: State, index: number): string | undefined {
  const held = pick(state.allocations, Math.floor(index / 2))
  if (held && index % 2 === 0) return showPrefix(held.prefix)
  const block = pick(state.blocks, Math.floor(index / 2))
  return block && showPrefix(addressAt(block.prefix, (index % 9) - 4))
}

export const firstOf = (address: string) => {
  const prefix = readPrefix(address)
  return showPrefix({ ...prefix, length: bitsOf(prefix) })
}
