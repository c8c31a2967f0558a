import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { type FilterOf, Id, ProjectId } from '../../schema.ts'
import { getAllocation } from '../allocations/store.ts'
import { appendEvents } from '../events/store.ts'
import { WithheldAddress, type WithheldQuery } from './schema.ts'

/** What counts: its allocation lasts, and its time is not over. */
const withheld = sql`
  withheld_addresses w join allocations a on a.id = w.allocation_id
  where w.withheld_until > (select wall_time())`

export type WithheldPage = {
  readonly limit: number
  /** The end of the time and the allocation behind which the page begins. */
  readonly after: readonly string[] | null
  readonly bound: Bound
}

/** Addresses that are withheld, those first that will be told first; one more than a page holds. */
export function listWithheld(
  db: Database,
  { network_id, project_id }: FilterOf<WithheldQuery>,
  { limit, after, bound }: WithheldPage,
): Promise<WithheldAddress[]> {
  const conditions = boundedTo(bound, sql`w.project_id`)
  if (network_id) conditions.push(sql`w.network_id = ${network_id}`)
  if (project_id) conditions.push(sql`w.project_id = ${project_id}`)
  if (after) conditions.push(sql`(w.withheld_until, w.allocation_id) > (${after[0]}, ${after[1]})`)
  return rows(db, WithheldAddress)`
    select w.allocation_id, w.address, w.scope_id, a.block_id, w.network_id, w.project_id,
      a.owner_type, a.owner_id, w.lease_id, w.server, w.withheld_at, w.withheld_until
    from ${withheld} and ${allOf(conditions)}
    order by w.withheld_until, w.allocation_id limit ${limit + 1}`
}

/** How many addresses are withheld. */
export async function countWithheld(db: Database): Promise<number> {
  const [row] = await rows(db, Type.Object({ count: Type.Integer() }))`
    select count(*) as count from ${withheld}`
  return row?.count ?? 0
}

const Ended = Type.Object({ project_id: ProjectId, withheld: Type.Object({}) })

/**
 * Lets servers tell an address again before its time.
 *
 * @throws {IpamError} `allocation_not_found`, `address_not_withheld`
 */
export function endWithholding(db: Database, allocation_id: string): Promise<void> {
  return retryTransaction(db, async tx => {
    const [ended] = await rows(tx, Ended)`
      select project_id, withheld from end_withholding(${allocation_id})`
    if (!ended) {
      const { address } = await getAllocation(tx, allocation_id)
      throw new IpamError('address_not_withheld', `${address} is not withheld.`)
    }
    const { project_id, withheld: data } = ended
    const type = 'lease.withholding_ended'
    await appendEvents(tx, [{ type, object_id: allocation_id, project_id, data }])
  })
}

const Removed = Type.Object({ allocation_id: Id })

/** Clears away at most `limit` rows that count no more; tells how many. */
export async function removeOldWithheld(
  db: Database,
  { limit }: { readonly limit: number },
): Promise<number> {
  const removed = await rows(db, Removed)`
    delete from withheld_addresses where allocation_id in (
      select w.allocation_id from withheld_addresses w
      where w.withheld_until <= (select wall_time())
        or not exists (select from allocations a where a.id = w.allocation_id)
      limit ${limit} for update skip locked)
    returning allocation_id`
  return removed.length
}
