import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { audit } from '../../../src/audit/store.ts'
import type { OpenDatabase } from '../../../src/db/database.ts'
import { createAllocator } from '../../../src/resources/allocations/allocator-store.ts'
import { createNetwork } from '../../../src/resources/networks/store.ts'
import { emptyDatabase, newDatabase } from '../../helpers/databases.ts'
import { commandRuns, runs } from '../run.ts'
import { rangeOf, readPrefix } from '../space.ts'
import { networks, prefixAt } from '../world.ts'
import { allocationCommands } from './allocation-commands.ts'
import { House } from './house.ts'
import { ruleCommands } from './rule-commands.ts'
import { showValue } from './space.ts'
import { createOne, type NewBlock, treeCommands } from './tree-commands.ts'
import type { Command, Real } from './world.ts'

let db: OpenDatabase
beforeAll(async () => {
  db = await newDatabase()
})
afterAll(() => db?.close())

/** Tiny trees amid the space, at both of its ends, and across the border of two last octets. */
const places = {
  amid: ['10.0.0.0/26', '2001:db8::/122'],
  start: ['0.0.0.0/26', '::/122'],
  end: ['255.255.255.192/26', `${'ffff:'.repeat(7)}ffc0/122`],
  border: ['10.9.0.0/23', '2001:db8::/119'],
}

/** Two trees with two subnets each in a network, and some beside it. */
async function setUp(roots: readonly string[]) {
  await emptyDatabase(db)
  for (const id of networks) await createNetwork(db, { id })
  const allocator = createAllocator(db, { lanes: 2, batch_max: 100, waiting_max: 1000 })
  const house = new House()
  house.networks = networks.map(id => ({ id, policy_id: null }))
  const real: Real = { db, allocator }
  const settings = { adopt_children: false, tags: [], own_strategy: null, policy_id: null }
  for (const root of roots) {
    const prefix = readPrefix(root)
    const top = { ...settings, parent_id: null, prefix, network_id: null, priority: 0 }
    await createOne(top, house, real)
    const parent_id = house.blocks.at(-1)?.id ?? null
    if (prefix.length === 23 || prefix.length === 119) continue
    for (const [index, deeper] of [2, 2, 3, 3].entries()) {
      const at = prefixAt(prefix, { deeper, index: index < 2 ? index : index + 2 })
      const child: NewBlock = {
        ...settings,
        parent_id,
        prefix: at,
        network_id: index < 3 ? networks[0] : null,
        priority: index === 0 ? 1 : 0,
        tags: index === 1 ? ['x'] : [],
      }
      await createOne(child, house, real)
    }
  }
  house.settle()
  return { house, real }
}

/** Addresses and CIDRs in and about the blocks of a run. */
function addressesAbout(roots: readonly string[]): string[] {
  return roots.flatMap(root => {
    const prefix = readPrefix(root)
    const { first, last } = rangeOf(prefix)
    const bits = prefix.version === 4 ? 32 : 128
    const middle = (first + last + 1n) / 2n
    return [
      showValue(prefix, first),
      showValue(prefix, first + 5n),
      showValue(prefix, last),
      showValue(prefix, middle - 1n),
      `${showValue(prefix, first + 8n)}/${bits - 3}`,
      `${showValue(prefix, middle)}/${bits - 2}`,
      root,
    ]
  })
}

const mixtures = {
  'where blocks stay': (rules: fc.Arbitrary<Command>[]) => [...rules, ...allocationCommands],
  'where blocks come and go': (rules: fc.Arbitrary<Command>[]) => [
    ...rules,
    ...allocationCommands,
    ...treeCommands,
  ],
}
const timeout = 60_000 + runs.numRuns * 5_000

test.each(
  Object.entries(places).flatMap(([place, roots]) =>
    Object.entries(mixtures).map(([mixture, mix]) => ({ place, roots, mixture, mix })),
  ),
)(
  'every address is what its rules say, $place, $mixture (I2, I3, I5)',
  { timeout },
  async ({ roots, mix }) => {
    const commands = fc.commands(mix(ruleCommands(addressesAbout(roots))), commandRuns)
    await fc.assert(
      fc.asyncProperty(commands, async given => {
        const { house, real } = await setUp(roots)
        await fc.asyncModelRun(() => ({ model: house, real }), given)
        expect((await audit(db)).differences).toEqual([])
      }),
      { ...runs, numRuns: Math.ceil(runs.numRuns / 10) },
    )
  },
)
