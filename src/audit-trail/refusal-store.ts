import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'

/** Something that was asked for and refused: a row of `refusals`. */
export type Refusal = {
  readonly at: string
  /** How many were alike. */
  readonly count: number
  readonly caller_id: number | null
  /** Where the request came from, if nobody knows who made it. */
  readonly address: string | null
  readonly agent: string | null
  readonly request_id: string
  readonly global_request_id: string | null
  readonly project_id: string | null
  readonly operation: string
  readonly rule: string | null
  readonly status: number
  readonly object_type: string
  readonly object_id: string | null
  readonly action: string
}

/** Writes down refusals, in their order. */
export async function appendRefusals(db: Database, refusals: readonly Refusal[]): Promise<void> {
  await db.query(sql`
    insert into refusals (at, count, caller_id, address, agent, request_id, global_request_id,
      project_id, operation, rule, status, object_type, object_id, action)
    select at, count, caller_id, address, agent, request_id, global_request_id,
      project_id, operation, rule, status, object_type, object_id, action
    from jsonb_populate_recordset(null::refusals, ${JSON.stringify(refusals)})`)
}

/** Removes at most `limit` refusals older than `days`; tells how many. */
export async function removeOldRefusals(
  db: Database,
  { days, limit }: { readonly days: number; readonly limit: number },
): Promise<number> {
  const removed = await rows(db, Type.Object({ seq: Type.Integer() }))`
    delete from refusals where seq in (
      select seq from refusals where at < now() - make_interval(days => ${days})
      order by at limit ${limit})
    returning seq`
  return removed.length
}
