import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { checks } from './checks-store.ts'
import { findStaleRules } from './rules-store.ts'

/** Something that contradicts an invariant. */
export type Difference = {
  readonly check: string
  readonly subject: string
  readonly detail: string
}

export type AuditReport = {
  readonly checked: {
    readonly blocks: number
    readonly allocations: number
    readonly ended: number
  }
  readonly differences: readonly Difference[]
}

const Found = Type.Object({ subject: Type.String(), detail: Type.String() })
const Checked = Type.Object({
  blocks: Type.Integer(),
  allocations: Type.Integer(),
  ended: Type.Integer(),
})

/** Of one check; a database that is so wrong needs no longer list. */
const differencesMax = 10_000

/**
 * Recomputes free space, counts, rules and invariants from blocks, allocations and policies, in one
 * snapshot, so that it is right while others work.
 */
export function audit(db: Database): Promise<AuditReport> {
  return db.transaction(async tx => {
    await tx.query(sql`set local statement_timeout = 0`)
    await tx.query(sql`set transaction isolation level repeatable read, read only`)
    const [checked] = await rows(tx, Checked)`
      select (select count(*) from blocks) as blocks,
        (select count(*) from allocations) as allocations,
        (select count(*) from allocation_history) as ended`
    const differences: Difference[] = []
    for (const [check, query] of Object.entries(checks)) {
      const found = await rows(tx, Found)`
        select subject, detail from (${query}) found limit ${differencesMax}`
      differences.push(...found.map(row => ({ check, ...row })))
    }
    let staleMax = differencesMax
    for await (const found of findStaleRules(tx)) {
      differences.push({ check: 'I3 rules out of date', ...found })
      staleMax -= 1
      if (staleMax === 0) break
    }
    return { checked: checked ?? { blocks: 0, allocations: 0, ended: 0 }, differences }
  })
}
