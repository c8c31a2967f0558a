import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { type FilterOf, Id } from '../../schema.ts'
import { getAllocation } from '../allocations/store.ts'
import { QuarantinedAddress, type QuarantineQuery } from './schema.ts'

export type QuarantinePage = {
  readonly limit: number
  /** The end of the quarantine and the allocation behind which the page begins. */
  readonly after: readonly string[] | null
  readonly bound: Bound
}

/** Addresses that wait, those first that will wait no more; one more than a page holds. */
export function listQuarantine(
  db: Database,
  filter: FilterOf<QuarantineQuery>,
  { limit, after, bound }: QuarantinePage,
): Promise<QuarantinedAddress[]> {
  const { scope_id, block_id, address, project_id, owner_type, owner_id } = filter
  const conditions: Sql[] = boundedTo(bound, sql`h.project_id`)
  if (scope_id) conditions.push(sql`q.scope_id = ${scope_id}`)
  else if (address !== undefined) {
    conditions.push(sql`q.scope_id = any (array(select s.id from address_scopes s))`)
  }
  if (block_id) conditions.push(sql`q.block_id = ${block_id}`)
  if (address !== undefined) conditions.push(sql`q.address >>= ${address}::inet`)
  if (project_id) conditions.push(sql`h.project_id = ${project_id}`)
  if (owner_type) conditions.push(sql`h.owner_type = ${owner_type}`)
  if (owner_id) conditions.push(sql`h.owner_id = ${owner_id}`)
  if (after)
    conditions.push(sql`(q.quarantined_until, q.allocation_id) > (${after[0]}, ${after[1]})`)
  return rows(db, QuarantinedAddress)`
    select q.allocation_id, q.address, q.scope_id, q.block_id, h.project_id, h.owner_type,
      h.owner_id, q.ended_at, q.quarantined_until
    from quarantine q join allocation_history h on h.id = q.allocation_id
    where ${allOf(conditions)}
    order by q.quarantined_until, q.allocation_id limit ${limit + 1}`
}

const Ended = Type.Object({ ended: Type.Integer() })

/** Frees what of these still waits; tells how many of them that were. */
async function endEach(tx: Database, ids: readonly string[]): Promise<number> {
  const [row] = await rows(tx, Ended)`select end_quarantine(${ids}) as ended`
  return row?.ended ?? 0
}

/** Frees, in one transaction, what of these still waits; tells how many that were. */
export function endQuarantines(db: Database, ids: readonly string[]): Promise<number> {
  return retryTransaction(db, tx => endEach(tx, ids))
}

const Waiting = Type.Object({ allocation_id: Id })

/** What became of a block's quarantine: how many are free now, and whether there are more. */
export type BlockEnd = { readonly ended: number; readonly more: boolean }

/**
 * Frees what waits in a block, at most so many, those first that would be free first.
 *
 * @throws {IpamError} `block_not_found`
 */
export function endQuarantineOfBlock(
  db: Database,
  { block_id, at_most }: { readonly block_id: string; readonly at_most: number },
): Promise<BlockEnd> {
  return retryTransaction(db, async tx => {
    const [block] = await rows(tx, Type.Object({ id: Id }))`
      select id from blocks where id = ${block_id}`
    if (!block) throw new IpamError('block_not_found', `There is no block ${block_id}.`)
    const waiting = await rows(tx, Waiting)`
      select allocation_id from quarantine where block_id = ${block_id}
      order by quarantined_until limit ${at_most + 1}`
    const ids = waiting.slice(0, at_most).map(({ allocation_id }) => allocation_id)
    const ended = ids.length > 0 ? await endEach(tx, ids) : 0
    return { ended, more: waiting.length > at_most }
  })
}

/**
 * Frees the address of one allocation that ended.
 *
 * @throws {IpamError} `allocation_not_found`, `allocation_not_ended`, `quarantine_over`
 */
export function endQuarantine(db: Database, id: string): Promise<void> {
  return retryTransaction(db, async tx => {
    if ((await endEach(tx, [id])) === 1) return
    const { ended_at, address } = await getAllocation(tx, id)
    if (ended_at === null) throw new IpamError('allocation_not_ended', `${address} is still held.`)
    throw new IpamError('quarantine_over', `${address} does not wait for allocation ${id}.`)
  })
}
