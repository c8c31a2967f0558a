import type { Database, OpenDatabase } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { IpamError } from '../../src/errors.ts'
import { createAddressScope } from '../../src/resources/address-scopes/store.ts'
import { allocateEach } from '../../src/resources/allocations/allocator-store.ts'
import { readWanted } from '../../src/resources/allocations/read-request.ts'
import type { AllocationRequest } from '../../src/resources/allocations/schema.ts'
import { releaseAll } from '../../src/resources/allocations/store.ts'
import { createBlocks, type NewBlocks } from '../../src/resources/blocks/create-store.ts'
import { prefixOf } from '../../src/resources/blocks/rules.ts'
import { createNetwork } from '../../src/resources/networks/store.ts'
import { createPolicy } from '../../src/resources/policies/store.ts'
import { openForWorld } from './databases.ts'

/**
 * Adds blocks under policies with all that may be in them: held, waiting, lapsed for two hours and
 * not cleared away, in quarantines that are over. No server may use the database meanwhile.
 */
export async function createRuledWorld(url: string): Promise<void> {
  const db = openForWorld(url)
  try {
    await setClock(db, `clock_timestamp() - interval '3 hours'`)
    const blocks = await createRuledBlocks(db)
    // What has changed a block before gives the earliest time of its next change.
    await db.query(
      sql`update block_usage set changed_at = '2000-01-01' where block_id = any (${blocks})`,
    )
    for (const block_id of blocks) await fill(db, block_id)
    await setClock(db, `clock_timestamp() - interval '2 hours'`)
    await db.query(sql`select reclaim(100, 2)`)
  } finally {
    await setClock(db, 'clock_timestamp()')
    await db.close()
  }
}

const setClock = (db: OpenDatabase, time: string) =>
  db.execute(`
    create or replace function wall_time() returns timestamptz language sql volatile as $$
      select ${time}
    $$`)

/** Leaves: one without rules, and three with the same rules in their own ways. */
async function createRuledBlocks(db: Database): Promise<string[]> {
  const { id: scope_id } = await createAddressScope(db, { project_id: 'p', name: 'ruled' })
  const network = await createNetwork(db, { project_id: 'p' })
  const policy = await createPolicy(db, {
    name: 'strict',
    rules: {
      exclusions: { first: 5, addresses: ['10.60.0.96/28'], last_octets: [13, 77, 255] },
      purposes: [{ purpose: 'web', offsets: [{ from: 32, to: 47 }] }],
      quarantine_seconds: 86_400,
      utilisation_thresholds: [80],
    },
  })
  const ruled = { policy_id: policy.id, network_id: network.id }
  const create = async (cidr: string, settings: NewBlocks['settings'], parent_id?: string) => {
    const [block] = await createBlocks(db, {
      container: parent_id ? { parent_id } : { scope_id },
      wanted: [prefixOf({ cidr })],
      adopt_children: false,
      settings,
    })
    if (!block) throw new Error(`${cidr} was not created`)
    return block.id
  }
  const parent = await create('10.61.0.0/16', ruled)
  return [
    await create('10.62.0.0/24', {}),
    await create('10.60.0.0/23', { ...ruled, gateway_ip: '10.60.0.9' }),
    await create('2001:db8:60::/64', { ...ruled, strategy: 'least_recently_used' }),
    await create('10.61.4.0/24', { strategy: 'random' }, parent),
  ]
}

async function fill(db: Database, block_id: string): Promise<void> {
  const wishes: Partial<AllocationRequest>[] = [
    { count: 40 },
    { count: 8, lifetime_seconds: 31_536_000 },
    { count: 4, lifetime_seconds: 1 },
    { count: 4, purpose: 'web' },
    { prefix_length: 120 },
    { prefix_length: 30 },
    { prefix_length: 29 },
  ]
  const outcomes = await allocateEach(
    db,
    wishes.map(wish => readWanted({ block_id, project_id: 'p', owner_id: 'vm', ...wish })),
  )
  const given = outcomes.flatMap(outcome =>
    outcome instanceof IpamError || outcome === 'again' ? [] : outcome.allocations,
  )
  await releaseAll(
    db,
    given.filter((_, n) => n % 5 === 0),
  )
}
