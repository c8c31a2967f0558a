import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import type { NewEvent } from '../events/store.ts'
import { Quota } from './schema.ts'

export const quotaColumns = sql`
  id, project_id, scope_id, allocations, ipv6_64s, blocks, floating_ips, interfaces, generation,
  created_at, updated_at`

export const asDeleted = (data: Quota): NewEvent => {
  const { id: object_id, project_id } = data
  return { type: 'quota.deleted', object_id, project_id, data }
}

/** Deletes the limits in an address scope that is to be deleted; returns the events to write. */
export async function deleteQuotasOfScope(tx: Database, scope_id: string): Promise<NewEvent[]> {
  const gone = await rows(tx, Quota)`
    delete from quotas where scope_id = ${scope_id} returning ${quotaColumns}`
  return gone.map(asDeleted)
}
