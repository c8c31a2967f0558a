import fc from 'fast-check'
import { Type } from 'typebox'
import { retryTransaction, rows } from '../../src/db/database.ts'
import { type ErrorCode, IpamError } from '../../src/errors.ts'
import { newId } from '../../src/ids.ts'
import { getAllocation } from '../../src/resources/allocations/store.ts'
import { Nullable } from '../../src/schema.ts'
import { ask, one, releaseOf, target } from './allocation-commands.ts'
import { later } from './clock.ts'
import * as model from './life-model.ts'
import { showPrefix } from './space.ts'
import type { ModelQuota, State } from './state.ts'
import { absentId, type Command, command, expectSame, outcomeOf, pick, type Real } from './world.ts'

const Refused = Type.Object({ refusal: Nullable(Type.String()) })

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
  await rows(db, Type.Object({}))`select reclaim(100, 1000)`
  model.endDue(state, state.blocks)
})

/** Holds as often as others. */
const hold = command(
  'changeHold',
  fc.record({ target, lifetime_seconds: fc.constantFrom(null, 10, 100), isHold: fc.boolean() }),
  async ({ target: wanted, lifetime_seconds, isHold }, state, real) => {
    const holds = state.current().filter(({ expires_at }) => expires_at !== null)
    const found = isHold ? pick(holds, wanted.allocation) : undefined
    const named = releaseOf(state, wanted)
    const generation =
      found && wanted.generation !== undefined
        ? found.generation + wanted.generation
        : named.generation
    const change = { id: found?.id ?? named.id, generation, lifetime_seconds }
    const answer = await outcomeOf(changeHold(real, change))
    expectSame(
      answer,
      state.attempt(() => model.changeHold(state, change)),
      one,
    )
  },
)

async function changeHold({ db }: Real, change: model.HoldChange) {
  const { id, generation = null, lifetime_seconds } = change
  const [row] = await rows(db, Refused)`
    select refusal from renew_holds(array[${id}::uuid],
      make_interval(secs => ${lifetime_seconds}), array[${generation}::int])`
  if (row?.refusal) throw new IpamError(row.refusal as ErrorCode)
  return getAllocation(db, id)
}

/** What ended, mostly while its address waits. */
function endedAt(state: State, index: number): string {
  if (index % 16 === 15) return absentId
  const some = index % 4 === 3 ? state.allocations : state.waiting
  return pick(some, Math.floor(index / 4))?.id ?? absentId
}

const restore = command(
  'restore',
  fc.record({ ended: fc.nat(127), seconds: fc.constantFrom(null, 10) }),
  async ({ ended, seconds }, state, { db }) => {
    const [id, new_id] = [endedAt(state, ended), newId()]
    const real = await outcomeOf(
      retryTransaction(db, async tx => {
        const [row] = await rows(tx, Refused)`
          select refusal from restore_allocation(${id}, ${new_id}, ${seconds})`
        if (row?.refusal) throw new IpamError(row.refusal as ErrorCode)
        return getAllocation(tx, new_id)
      }),
    )
    expectSame(
      real,
      state.attempt(() => model.restore(state, { id, new_id, seconds })),
      one,
    )
  },
)

const Freed = Type.Object({ freed: Type.Integer() })
const same = (answer: unknown) => answer

const endQuarantine = command(
  'endQuarantine',
  fc.array(fc.nat(127), { minLength: 1, maxLength: 3 }),
  async (some, state, { db }) => {
    const ids = [...new Set(some.map(index => endedAt(state, index)))]
    const real = rows(db, Freed)`select end_quarantine(${ids}) as freed`.then(([row]) => row?.freed)
    const expected = state.attempt(() => model.endQuarantine(state, ids))
    expectSame(await outcomeOf(real), expected, { real: same, model: same })
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

const limit = fc.option(fc.integer({ min: 0, max: 6 }))
const quotas = command(
  'setQuotas',
  fc.array(
    fc.record({
      project_id: fc.constantFrom(null, 'p1', 'p2'),
      scope: fc.constantFrom(null, 0, 1),
      allocations: limit,
      ipv6_64s: limit,
    }),
    { maxLength: 2 },
  ),
  async (wanted, state, { db }) => {
    const all = wanted.map(({ scope, ...rest }): ModelQuota => {
      return { ...rest, scope_id: scope === null ? null : (state.scopes[scope] ?? null) }
    })
    const place = ({ project_id, scope_id }: ModelQuota) => `${project_id} ${scope_id}`
    state.quotas = [...new Map(all.map(quota => [place(quota), quota])).values()]
    await rows(db, Type.Object({}))`delete from quotas`
    await rows(db, Type.Object({}))`
      insert into quotas (project_id, scope_id, allocations, ipv6_64s)
      select project_id, scope_id, allocations, ipv6_64s
      from jsonb_to_recordset(${JSON.stringify(state.quotas)}::jsonb)
        q (project_id text, scope_id uuid, allocations bigint, ipv6_64s numeric)`
  },
)

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
]
export const quotaCommands: fc.Arbitrary<Command>[] = [quotas]
