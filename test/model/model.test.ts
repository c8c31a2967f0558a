import fc from 'fast-check'
import { afterAll, beforeAll, test } from 'vitest'
import type { OpenDatabase } from '../../src/db/database.ts'
import { newDatabase } from '../helpers/databases.ts'
import { allocationCommands } from './allocation-commands.ts'
import { blockCommands } from './block-commands.ts'
import { lifeCommands, quotaCommands } from './life-commands.ts'
import { readingCommands } from './reading-commands.ts'
import {
  commandRuns,
  eventsSince,
  expectLastEventsToBeRows,
  expectSameEvents,
  expectSameState,
  runs,
  setUp,
  timeout,
  world,
} from './run.ts'
import type { Command } from './world.ts'

let db: OpenDatabase
beforeAll(async () => {
  db = await newDatabase()
})
afterAll(() => db?.close())

// A block keeps its allocations only while few others touch it, hence several mixtures.
const { updateBlock, ...treeCommands } = blockCommands
const mixtures: Record<string, fc.Arbitrary<Command>[]> = {
  'in a tree of blocks': [
    ...Object.values(treeCommands),
    updateBlock,
    ...allocationCommands,
    ...lifeCommands,
    ...quotaCommands,
    ...readingCommands,
  ],
  'in one block': [...allocationCommands, ...allocationCommands, updateBlock, ...readingCommands],
  'as time passes': [...lifeCommands, ...quotaCommands, ...allocationCommands, updateBlock],
}

test.each(Object.entries(mixtures))(
  'every operation does what a naive model says, %s (I1-I9)',
  { timeout },
  (_, mixture) =>
    fc.assert(
      fc.asyncProperty(world, fc.commands(mixture, commandRuns), async (given, commands) => {
        const { model, real, start } = await setUp(db, given)
        await fc.asyncModelRun(() => ({ model, real }), commands)
        await expectSameState(db, model)
        const events = await eventsSince(db, start)
        expectSameEvents(events, model)
        await expectLastEventsToBeRows(db, events)
      }),
      runs,
    ),
)
