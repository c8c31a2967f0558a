import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { OpenDatabase } from '../../src/db/database.ts'
import type { Taken } from '../../src/resources/allocations/allocator-store.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import { newDatabase } from '../helpers/databases.ts'
import { request, toNewAllocations } from './allocation-commands.ts'
import { allocate, begin, type ModelRequest } from './allocations-model.ts'
import { create } from './block-commands.ts'
import {
  eventsSince,
  expectLastEventsToBeRows,
  expectSameState,
  runs,
  setUp,
  timeout,
  world,
} from './run.ts'
import { bitsOf, isInside, type Range, rangeOf, readPrefix } from './space.ts'
import type { State } from './state.ts'
import { answerOf, outcomeOf, pick, tick } from './world.ts'

let db: OpenDatabase
beforeAll(async () => {
  db = await newDatabase()
})
afterAll(() => db?.close())

const limits = fc.record({
  lanes: fc.integer({ min: 1, max: 3 }),
  batch_max: fc.integer({ min: 1, max: 30 }),
})
const before = fc.array(request, { maxLength: 6 })
const atOnce = fc.array(request, { minLength: 1, maxLength: 40, size: 'max' })

test('requests at once end as they could one after the other (I1, I11)', { timeout }, () =>
  fc.assert(
    fc.asyncProperty(world, limits, before, atOnce, async (given, options, earlier, requests) => {
      const { model, real, start } = await setUp(db, given, options)
      // The second space is of another scope, so that the two do not overlap.
      const [, other] = real.roots
      const container = { scope_id: model.scopes[1] ?? 'none' }
      const place = other && { container, wanted: [other], prefix: other }
      if (place) await create({ ...place, adopt_children: false, settings: {} }, model, real)

      const toRequest = (one: (typeof requests)[number]) =>
        toNewAllocations(one, one.block === 0 ? undefined : pick(model.blocks, one.block))
      for (const wanted of earlier.map(toRequest)) {
        await tick(model, real)
        const outcome = await outcomeOf(real.allocator.allocate(wanted).then(listOf))
        model.attempt(() => allocate(model, wanted, answerOf(outcome)))
      }
      const wanted = requests.map(toRequest)
      const free = new Map(model.blocks.map(block => [block.id, model.free(block)]))
      const outcomes = await Promise.all(
        wanted.map(one => outcomeOf(real.allocator.allocate(one).then(listOf))),
      )

      for (const [index, one] of wanted.entries()) {
        const outcome = outcomes[index]
        if (!outcome || 'code' in outcome) continue
        expectGranted(one, outcome.value, free.get(one.block_id) ?? [])
        begin(model, one, outcome.value)
      }
      // Space only became less. So what was refused would be refused now, and a block that gives
      // out the lowest address has none that is lower.
      for (const [index, one] of wanted.entries()) {
        const outcome = outcomes[index]
        if (outcome && 'value' in outcome) expectLowest(model, one, outcome.value)
        else expect(reasons(model, one)).toContainEqual(outcome)
      }
      await expectSameState(db, model)

      const events = await eventsSince(db, start)
      const told = events.filter(({ type }) => type === 'allocation.created')
      expect(told.map(event => event.object_id).sort()).toEqual(
        model.allocations.map(({ id }) => id).sort(),
      )
      await expectLastEventsToBeRows(db, events)
    }),
    runs,
  ),
)

const listOf = ({ allocations }: Taken) => allocations

/** The answer is what was asked for, of space that was free; the audit sees what is given twice. */
function expectGranted(
  { ids, address, fallback, prefix_length, contiguous }: ModelRequest,
  answer: readonly Allocation[],
  free: readonly Range[],
): void {
  expect(answer.map(({ id }) => id)).toEqual(ids)
  const given = answer.map(one => readPrefix(one.address))
  for (const one of given) {
    expect(free.some(range => isInside(rangeOf(one), range))).toBe(true)
    const length = contiguous ? null : prefix_length
    const wanted = length ?? (address === null ? bitsOf(one) : readPrefix(address).length)
    expect(one.length).toBe(wanted)
  }
  if (address !== null && !fallback) expect(given).toEqual([readPrefix(address)])
  if (contiguous && prefix_length !== null) {
    const [first] = given
    if (!first) throw new Error('an answer has at least one address')
    expect(first.first % 2n ** BigInt(bitsOf(first) - prefix_length)).toBe(0n)
    expect(given).toEqual(ids.map((_, n) => ({ ...first, first: first.first + BigInt(n) })))
  }
}

/** Why a request cannot be served; what is kept back may also have been taken in the meantime. */
function reasons(state: State, wanted: ModelRequest) {
  const now = state.attempt(() => allocate(state, wanted, []))
  return 'code' in now && now.code === 'address_taken' ? [now, { code: 'address_excluded' }] : [now]
}

function expectLowest(state: State, wanted: ModelRequest, answer: readonly Allocation[]): void {
  const block = state.findBlock(wanted.block_id)
  const isNext = wanted.address === null && wanted.prefix_length === null
  const [lowest] = state.free(block)
  if (block.strategy !== 'sequential' || !isNext || !lowest) return
  for (const { address } of answer) {
    expect(readPrefix(address).first).toBeLessThan(lowest.first)
  }
}
