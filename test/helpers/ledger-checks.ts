import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Query } from './direct-sql.ts'
import type { Ledger } from './ledger.ts'

const time = (column: string) =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
const columns = `id, scope_id, block_id, address::inet, project_id, owner_type, owner_id, generation,
  ${time('started_at')} as started_at`

/** What never changes of an allocation. */
const lasting = [
  'scope_id',
  'block_id',
  'address',
  'project_id',
  'owner_type',
  'owner_id',
  'started_at',
] as const

/** Every difference between what clients were told and what the database holds. */
export async function compareWithLedger(query: Query, ledger: Ledger): Promise<string[]> {
  const current = await query(`select ${columns}, null as ended_at from allocations`)
  const ended = await query(`
    select ${columns}, ${time('ended_at')} as ended_at from allocation_history`)
  const stored = new Map([...current, ...ended].map(row => [row.id, row as Allocation]))
  const blocks = await query(`select id, cidr, name from blocks where parent_id is not null`)
  return [
    ...allocationFaults(stored, ledger),
    ...blockFaults(new Map(blocks.map(row => [String(row.id), String(row.name)])), ledger),
  ]
}

function allocationFaults(stored: ReadonlyMap<unknown, Allocation>, ledger: Ledger): string[] {
  const faults: string[] = []
  for (const told of ledger.allocated.values()) {
    const row = stored.get(told.id)
    if (!row) faults.push(`acknowledged, but missing: ${JSON.stringify(told)}`)
    for (const member of row ? lasting : []) {
      if (row?.[member] !== told[member]) {
        faults.push(`${told.id} ${member}: told ${told[member]}, stored ${row?.[member]}`)
      }
    }
    const end = ledger.released.get(told.id)
    if (end && (row?.ended_at !== end.ended_at || row.generation !== end.generation)) {
      faults.push(`${told.id} was released at ${end.ended_at}, stored ${row?.ended_at}`)
    }
    if (!end && row?.ended_at && !ledger.doubtfulReleases.has(told.id)) {
      faults.push(`${told.id} ended at ${row.ended_at}, and nobody released it`)
    }
  }
  for (const row of stored.values()) {
    if (ledger.allocated.has(row.id) || ledger.doubtfulOwners.has(row.owner_id ?? '')) continue
    faults.push(`${row.id} ${row.address} is a leak: nobody was given it`)
  }
  return faults
}

function blockFaults(stored: ReadonlyMap<string, string>, ledger: Ledger): string[] {
  const faults: string[] = []
  for (const { id, cidr } of ledger.created.values()) {
    const isStored = stored.has(id)
    if (isStored && ledger.deleted.has(id)) faults.push(`${cidr} ${id} was deleted, but is there`)
    if (isStored || ledger.deleted.has(id) || ledger.doubtfulDeletes.has(id)) continue
    faults.push(`block ${cidr} ${id} was acknowledged, but is missing`)
  }
  for (const [id, name] of stored) {
    if (ledger.created.has(id) || ledger.doubtfulOwners.has(name)) continue
    faults.push(`block ${id} is there, and nobody was given it`)
  }
  return faults
}
