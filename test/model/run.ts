import fc from 'fast-check'
import { Type } from 'typebox'
import { expect } from 'vitest'
import { unbounded } from '../../src/access/bound-store.ts'
import { audit } from '../../src/audit/store.ts'
import { type Database, type OpenDatabase, rows } from '../../src/db/database.ts'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import { createAddressScope } from '../../src/resources/address-scopes/store.ts'
import {
  type AllocatorOptions,
  createAllocator,
} from '../../src/resources/allocations/allocator-store.ts'
import { getAllocation } from '../../src/resources/allocations/store.ts'
import { getBlock, getUtilisation, listFreeRanges } from '../../src/resources/blocks/store.ts'
import { type EventRow, listEvents, newestEvent } from '../../src/resources/events/store.ts'
import { createNetwork } from '../../src/resources/networks/store.ts'
import { createPolicy } from '../../src/resources/policies/store.ts'
import { controlClock } from '../helpers/clock.ts'
import { emptyDatabase } from '../helpers/databases.ts'
import { firstOf } from './allocation-commands.ts'
import { create } from './block-commands.ts'
import { scopeProject } from './blocks-model.ts'
import { setClock } from './clock.ts'
import { expectSameLife } from './life-state.ts'
import { showFreeRanges } from './reading-commands.ts'
import { readPrefix } from './space.ts'
import { type ModelPolicy, State } from './state.ts'
import {
  networks,
  type Real,
  showAllocation,
  showBlock,
  showModelAllocation,
  showModelBlock,
} from './world.ts'

/** How many runs a property has: `MELANGE_MODEL_RUNS=5000` hunts for what 40 do not find. */
const numRuns = Number(process.env.MELANGE_MODEL_RUNS ?? 40)

/**
 * What a failure prints runs again: `MELANGE_MODEL_REPLAY='{"seed":1,"path":"2:3","replayPath":"A"}'`
 * and the name of the test with `-t`.
 */
const { replayPath, ...replay } = JSON.parse(process.env.MELANGE_MODEL_REPLAY ?? '{}')

/** The parameters of a property, of the commands in it, and how long it may take. */
export const runs = { numRuns, ...replay }
export const commandRuns = { maxCommands: 60, size: 'max', ...(replayPath && { replayPath }) }
export const timeout = 60_000 + numRuns * 5_000

const tiny = ['192.0.2.16/28', '192.0.2.0/29', '2001:db8::20/124', '2001:db8::/126']
const subnets = ['10.1.2.0/24', '2001:db8:0:1::/64']
const huge = ['0.0.0.0/0', '::/0', '10.0.0.0/8', '2001:db8::/32', '2001:d00::/40']
const edges = ['0.0.0.0/28', '255.255.255.240/28', '::/124', `${'ffff:'.repeat(7)}fff0/124`]

/** The space of a run; in the first of it there is a block from the start. */
export const world = fc.record({
  roots: fc.array(fc.constantFrom(...tiny, ...tiny, ...subnets, ...huge, ...edges), {
    minLength: 1,
    maxLength: 2,
  }),
  settings: fc.record({
    strategy: fc.constantFrom('sequential' as const, 'random' as const, 'least_recently_used'),
    allocate_network_address: fc.boolean(),
    policy: fc.constantFrom(undefined, 0, 1, 1, 1, 2, 3, 4), // By its place in policyRules.
  }),
})
type World = typeof world extends fc.Arbitrary<infer W> ? W : never

/** An empty database with one block, and a model that knows as much. */
export async function setUp(
  db: OpenDatabase,
  { roots, settings }: World,
  options: Pick<AllocatorOptions, 'lanes' | 'batch_max'> = { lanes: 2, batch_max: 100 },
) {
  await emptyDatabase(db)
  const own = await createAddressScope(db, { project_id: scopeProject, name: 'private' })
  for (const id of networks) await createNetwork(db, { id })
  const model = new State([publicScopeId, own.id])
  await controlClock(db)
  await setClock(db, model.now)
  for (const rules of policyRules) {
    const { id } = await createPolicy(db, { name: JSON.stringify(rules), rules })
    model.policies = [...model.policies, { id, ...rules }]
  }
  const start = await newestEvent(db)
  const allocator = createAllocator(db, { ...options, waiting_max: 1000 })
  const real: Real = { db, allocator, roots: roots.map(readPrefix) }
  const [prefix] = real.roots
  if (!prefix) throw new Error('a run has a root')
  const place = { container: { scope_id: publicScopeId }, wanted: [prefix], prefix }
  await create({ ...place, adopt_children: false, settings }, model, real)
  return { model, real, start }
}

/** The policies that there are in every run. */
const policyRules: Omit<ModelPolicy, 'id'>[] = [
  { quarantine_seconds: 100 },
  { quarantine_seconds: 100, quarantine_reuse: 'when_full' },
  { quarantine_seconds: 0 },
  { quarantine_reuse: 'when_full' },
  { quarantine_seconds: 10, quarantine_reuse: 'never' },
]

const Ids = Type.Object({ id: Type.String() })

/** All that is stored is what the model holds, and the audit agrees. */
export async function expectSameState(db: Database, state: State): Promise<void> {
  const stored = await rows(db, Ids)`select id from blocks order by id`
  expect(stored.map(({ id }) => id)).toEqual(state.blocks.map(({ id }) => id).sort())
  for (const block of state.blocks) {
    expect(showBlock(await getBlock(db, block.id))).toEqual(showModelBlock(block))
    expect(await getUtilisation(db, block.id)).toEqual(state.utilisation(block.id))
    const free = await listFreeRanges(db, block.id, { limit: 1000, after: null })
    const shown = free.map(({ first, last, size }) => [firstOf(first), firstOf(last), size])
    expect(shown).toEqual(showFreeRanges(state, block.id))
  }
  for (const allocation of state.allocations) {
    const found = await getAllocation(db, allocation.id)
    expect(showAllocation(found)).toEqual(showModelAllocation(allocation))
  }
  await expectSameLife(db, state)
  expect((await audit(db)).differences).toEqual([])
}

export async function eventsSince(db: Database, start: number): Promise<EventRow[]> {
  return (await listEvents(db, { after: start, limit: 10_000, filter: {}, bound: unbounded }))
    .events
}

/** The events are what the model changed, in its order. */
export function expectSameEvents(events: readonly EventRow[], state: State): void {
  const told = [...events]
  for (const expected of state.events) {
    const found = told.splice(0, expected.length).map(event => [event.type, event.object_id])
    const isEnd = expected.every(([type]) => /^allocation\.(released|expired)$/.test(type))
    if (isEnd) expect(found.sort()).toEqual([...expected].sort())
    else expect(found).toEqual(expected)
  }
  expect(told).toEqual([])
}

/** The last event of each object shows the object as it is. */
export async function expectLastEventsToBeRows(
  db: Database,
  events: readonly EventRow[],
): Promise<void> {
  const last = new Map(events.map((event): [string, EventRow] => [event.object_id, event]))
  for (const [id, { type, data }] of last) {
    if (type.startsWith('quota')) continue
    if (type === 'block.deleted') expect(data).toHaveProperty('id', id)
    else expect(data).toEqual(await (type.startsWith('block') ? getBlock : getAllocation)(db, id))
  }
}
