import fc from 'fast-check'
import { newId } from '../../src/ids.ts'
import {
  changeHold,
  reclaimDue,
  restoreAllocation,
} from '../../src/resources/allocations/hold-store.ts'
import { endQuarantines } from '../../src/resources/quarantine/store.ts'
import type { Quota } from '../../src/resources/quotas/schema.ts'
import { deleteQuota, setQuota } from '../../src/resources/quotas/store.ts'
import { ask, one, releaseOf, request, target, toNewAllocations } from './allocation-commands.ts'
import { later } from './clock.ts'
import * as model from './life-model.ts'
import { showPrefix, total } from './space.ts'
import type { ModelQuota, State } from './state.ts'
import { absentId, type Command, command, expectSame, outcomeOf, pick, pickBlock } from './world.ts'

/** A moment before the time at which something is due, just then, or a moment after it. */
const advance = command(
  'advance',
  fc.oneof(
    fc.record({ seconds: fc.constantFrom(1, 10, 61, 100, 1000) }),
    fc.record({ due: fc.nat(30), milliseconds: fc.integer({ min: -1, max: 1 }) }),
  ),
  async (wanted, state) => {
    // The next command happens a millisecond after this time.
    const due = 'due' in wanted ? pick(dueTimes(state), wanted.due) : undefined
    const time =
      'seconds' in wanted
        ? later(state.now, wanted.seconds)
        : due && later(due, (wanted.milliseconds - 1) / 1000)
    if (time && time > state.now) state.now = time
  },
)

function dueTimes(state: State): string[] {
  const times = [
    ...state.current().map(({ expires_at }) => expires_at),
    ...state.waiting.map(({ quarantined_until }) => quarantined_until),
  ]
  return times.filter((time): time is string => time !== null && time > state.now).sort()
}

const sweep = command('sweep', fc.constant(null), async (_, state, { db }) => {
  await reclaimDue(db, { blocks_max: 100, at_most: 1000 })
  model.endDue(state, state.blocks)
})

const hold = command(
  'changeHold',
  fc.record({ target, lifetime_seconds: fc.constantFrom(null, 10, 100), isHold: fc.boolean() }),
  async ({ target: wanted, lifetime_seconds, isHold }, state, { db }) => {
    const holds = state.current().filter(({ expires_at }) => expires_at !== null)
    const found = isHold ? pick(holds, wanted.allocation) : undefined
    const named = releaseOf(state, wanted)
    const generation =
      found && wanted.generation !== undefined
        ? found.generation + wanted.generation
        : named.generation
    const change = { id: found?.id ?? named.id, generation, lifetime_seconds }
    const answer = await outcomeOf(changeHold(db, change))
    expectSame(
      answer,
      state.attempt(() => model.changeHold(state, change)),
      one,
    )
  },
)

/** Mostly what ended and whose address waits. */
function endedAt(state: State, index: number): string {
  if (index % 16 === 15) return absentId
  const some = index % 4 === 3 ? state.allocations : state.waiting
  return pick(some, Math.floor(index / 4))?.id ?? absentId
}

const restore = command(
  'restore',
  fc.record({ ended: fc.nat(127), seconds: fc.constantFrom(null, 10) }),
  async ({ ended, seconds }, state, { db }) => {
    const id = endedAt(state, ended)
    const real = await outcomeOf(restoreAllocation(db, id, seconds))
    const new_id = 'value' in real ? real.value.id : 'unknown'
    expectSame(
      real,
      state.attempt(() => model.restore(state, { id, new_id, seconds })),
      one,
    )
  },
)

const same = (answer: number) => answer

const endQuarantine = command(
  'endQuarantine',
  fc.array(fc.nat(127), { minLength: 1, maxLength: 3 }),
  async (some, state, { db }) => {
    const ids = [...new Set(some.map(index => endedAt(state, index)))]
    const real = await outcomeOf(endQuarantines(db, ids))
    const expected = state.attempt(() => model.endQuarantine(state, ids))
    expectSame(real, expected, { real: same, model: same })
  },
)

/** An address that somebody had is asked for by them, or by others. */
const askBack = command(
  'askBack',
  fc.record({
    ended: fc.nat(127),
    owner_id: fc.constantFrom(undefined, undefined, 'i1'),
    fallback: fc.boolean(),
    lifetime_seconds: fc.constantFrom(null, 10),
  }),
  async ({ ended, owner_id, fallback, lifetime_seconds }, state, real) => {
    const last = state.allocations.find(({ id }) => id === endedAt(state, ended))
    if (!last) return
    const { block_id, project_id, owner_type, name, tags, prefix } = last
    const isAddress = rangeIsSingle(showPrefix(prefix))
    const wanted = {
      ...{ block_id, project_id, owner_type, name, tags, lifetime_seconds },
      owner_id: owner_id ?? last.owner_id,
      address: showPrefix(prefix),
      fallback: fallback && isAddress,
      prefix_length: null,
      contiguous: false,
      ids: [newId()],
    }
    await ask(wanted, state, real)
  },
)

const rangeIsSingle = (address: string) => !address.includes('/')

/** Asks a small block for all that it has and a little more, which may wait in quarantine. */
const fill = command(
  'fill',
  fc.record({ request, block: fc.nat(127), more: fc.integer({ min: 0, max: 2 }) }),
  async ({ request: parameters, block: index, more }, state, real) => {
    const block = pickBlock(state, index)
    const free = block ? total(state.free(block)) : 0n
    if (!block || free > 16n || free + BigInt(more) === 0n) return
    const ids = Array.from({ length: Number(free) + more }, newId)
    const wish = { kind: 'next' as const, count: 1 }
    await ask({ ...toNewAllocations({ ...parameters, wish }, block), ids }, state, real)
  },
)

const quotaPlace = { project_id: fc.constantFrom(null, 'p1', 'p2'), scope: fc.option(fc.nat(1)) }
const limit = fc.constantFrom(undefined, undefined, null, null, 0, 2, 6, 12, 20)

const setQuotas = command(
  'setQuota',
  fc.record({
    ...quotaPlace,
    limits: fc.record({ allocations: limit, ipv6_64s: limit, blocks: limit }),
  }),
  async ({ project_id, scope, limits }, state, { db }) => {
    const place = { project_id, scope_id: scopeAt(state, scope) }
    const given = Object.entries(limits).filter(([, value]) => value !== undefined)
    const named: model.Limits = Object.fromEntries(given)
    const real = await outcomeOf(setQuota(db, { ...place, expected: undefined }, named))
    const id = 'value' in real ? real.value.id : 'unknown'
    const expected = state.attempt(() => model.setQuota(state, { ...place, limits: named, id }))
    expectSame(real, expected, { real: showQuota, model: showQuota })
  },
)

const scopeAt = ({ scopes }: State, scope: number | null) =>
  scope === null ? null : (scopes[scope] ?? null)

const showQuota = (quota: Quota | ModelQuota) => {
  const { id, project_id, scope_id, allocations, ipv6_64s, blocks, generation } = quota
  const more64s = ipv6_64s === null ? null : Number(ipv6_64s)
  return { id, project_id, scope_id, allocations, ipv6_64s: more64s, blocks, generation }
}

const deleteQuotas = command('deleteQuota', fc.record(quotaPlace), async (at, state, { db }) => {
  const { project_id, scope } = at
  const place = { project_id, scope_id: scopeAt(state, scope) }
  const real = await outcomeOf(deleteQuota(db, { ...place, expected: undefined }).then(() => 0))
  const expected = state.attempt(() => Number(model.deleteQuota(state, place)))
  expectSame(real, expected, { real: same, model: same })
})

export const lifeCommands: fc.Arbitrary<Command>[] = [
  advance,
  advance,
  sweep,
  hold,
  hold,
  restore,
  endQuarantine,
  askBack,
  askBack,
  fill,
  fill,
]
export const quotaCommands: fc.Arbitrary<Command>[] = [setQuotas, deleteQuotas]
