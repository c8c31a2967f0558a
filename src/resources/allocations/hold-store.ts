import { type Static, Type } from 'typebox'
import { coalesce } from '../../coalescer.ts'
import { type Database, type DoneBy, retryLost, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { type ErrorCode, IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { limitMax, Nullable } from '../../schema.ts'
import { type AllocatorOptions, untilDone } from './allocator-store.ts'
import { Allocation } from './schema.ts'
import { endedOf, getAllocation, presentOf } from './store.ts'

/** A new end of a hold, so many seconds from now; without one the hold is confirmed. */
export type HoldChange = {
  readonly id: string
  readonly generation?: number | undefined
  readonly lifetime_seconds: number | null
  /** In whose name; left out, it is whoever the transaction is of. */
  readonly done_by?: DoneBy | undefined
}

/** Renews and confirms holds for many callers at once. */
export type Holds = {
  /**
   * @throws {IpamError} `allocation_not_found`, `allocation_ended`, `allocation_not_held`,
   * `hold_expired`, `generation_mismatch`, `overloaded`
   */
  change(change: HoldChange): Promise<Allocation>
}

/** Concurrent calls share transactions, as those of the allocator do. */
export function createHolds(db: Database, options: AllocatorOptions): Holds {
  const { lanes, batch_max: batch_weight_max, waiting_max } = options
  const change = coalesce<HoldChange, Allocation | IpamError | 'again'>({
    lanes,
    batch_weight_max,
    waiting_max,
    run: batch => retryLost(() => changeHolds(db, batch)),
    weigh: () => 1,
    lane: () => '',
  })
  return { change: request => untilDone(() => change(request)) }
}

/** Changes a hold in a transaction of its own or the caller's, without sharing it. */
export function changeHold(db: Database, change: HoldChange): Promise<Allocation> {
  return untilDone(async () => (await changeHolds(db, [change]))[0] ?? 'again')
}

const Changed = Type.Object({
  request: Type.Integer(),
  allocation: Nullable(Allocation),
  refusal: Nullable(Type.String()),
})

/**
 * Changes holds in one transaction, each with its own outcome, in the order of asking. A second
 * change of one hold is to be asked for again.
 */
export async function changeHolds(
  db: Database,
  changes: readonly HoldChange[],
): Promise<(Allocation | IpamError | 'again')[]> {
  const batch = changes.map(({ done_by, ...change }, request) => ({
    request,
    ...change,
    ...done_by,
  }))
  const found = await rows(db, Changed)`
    select request, allocation, refusal from renew_holds(${JSON.stringify(batch)})`
  const outcomes = changes.map((): Allocation | IpamError | 'again' => 'again')
  for (const { request, allocation, refusal } of found) {
    const { id = '', generation } = changes[request] ?? {}
    if (allocation) outcomes[request] = allocation
    else if (refusal !== 'again') {
      outcomes[request] = refusalOf(refusal as ErrorCode, { id, generation })
    }
  }
  return outcomes
}

type Named = Pick<HoldChange, 'id' | 'generation'>

function refusalOf(code: ErrorCode, { id, generation }: Named): IpamError {
  const details: Partial<Record<ErrorCode, string>> = {
    allocation_not_found: `There is no allocation ${id}.`,
    allocation_ended: `Allocation ${id} has been released.`,
    allocation_not_ended: `Allocation ${id} has not ended.`,
    allocation_not_held: `Allocation ${id} is confirmed.`,
    hold_expired: `Hold ${id} has lapsed.`,
    generation_mismatch: `Allocation ${id} does not have generation ${generation}.`,
    quarantine_over: `The address of allocation ${id} is not in quarantine.`,
  }
  const field = code === 'generation_mismatch' ? { field: 'generation' } : {}
  return new IpamError(code, details[code], field)
}

/** What became of the holds of an owner. */
export type OwnerRenewal = {
  readonly allocations: Allocation[]
  /** What it held and lost because it came too late: a few, those that lapsed last first. */
  readonly lapsed: Allocation[]
}

/** Whose allocations are meant, if one likes only those of a block. */
export type Owner = {
  readonly project_id: string
  readonly owner_type?: string | undefined
  readonly owner_id: string
  readonly block_id?: string | undefined
}

/** The conditions on the columns of a table of this name. */
export function ofOwner({ project_id, owner_type, owner_id, block_id }: Owner, a: Sql): Sql {
  const conditions = [sql`${a}.owner_id = ${owner_id} and ${a}.project_id = ${project_id}`]
  if (owner_type !== undefined) conditions.push(sql`${a}.owner_type = ${owner_type}`)
  if (block_id !== undefined) conditions.push(sql`${a}.block_id = ${block_id}`)
  return allOf(conditions)
}

/**
 * Renews all holds of an owner that have not lapsed.
 *
 * @throws {IpamError} `too_many_allocations`
 */
export function renewByOwner(
  db: Database,
  { lifetime_seconds, ...owner }: Owner & { readonly lifetime_seconds: number },
  countMax: number,
): Promise<OwnerRenewal> {
  return retryTransaction(db, async tx => {
    const held = await rows(tx, Type.Object({ id: Type.String() }))`
      select a.id from allocations a where a.expires_at is not null and ${ofOwner(owner, sql`a`)}
      order by a.id limit ${countMax + 1}`
    if (held.length > countMax) {
      throw new IpamError('too_many_allocations', `The owner holds more than ${countMax}.`)
    }
    const changes = held.map(({ id }) => ({ id, lifetime_seconds }))
    const outcomes = held.length > 0 ? await changeHolds(tx, changes) : []
    const allocations = outcomes.filter(
      (outcome): outcome is Allocation => typeof outcome === 'object' && 'id' in outcome,
    )
    return { allocations, lapsed: await lapsedOf(tx, owner) }
  })
}

/** Holds of an owner that have lapsed, and can be restored still. */
function lapsedOf(tx: Database, owner: Owner): Promise<Allocation[]> {
  return rows(tx, Allocation)`
    select * from (
      (select ${presentOf(sql`a`)} from allocations a join block_usage u on u.block_id = a.block_id
      where a.expires_at <= u.changed_at and ${ofOwner(owner, sql`a`)})
      union all
      (select ${endedOf(sql`h`)} from allocation_history h join quarantine q on q.allocation_id = h.id
      where h.expires_at <= h.ended_at and ${ofOwner(owner, sql`h`)})
    ) lapsed
    order by expires_at desc, id limit ${limitMax}`
}

const Refused = Type.Object({
  refusal: Nullable(Type.String()),
  detail: Nullable(Type.String()),
})

/**
 * Gives an address that waits in quarantine back to who had it, as a new allocation: a hold if it
 * has a lifetime.
 *
 * @throws {IpamError} `allocation_not_found`, `allocation_not_ended`, `quarantine_over`,
 * `quota_exceeded`, `not_granted`
 */
export function restoreAllocation(
  db: Database,
  id: string,
  lifetime_seconds: number | null,
): Promise<Allocation> {
  return retryTransaction(db, async tx => {
    const restored = newId()
    const [row] = await rows(tx, Refused)`
      select refusal, detail from restore_allocation(${id}, ${restored}, ${lifetime_seconds})`
    if (row?.refusal === 'quota_exceeded' || row?.refusal === 'not_granted') {
      throw new IpamError(row.refusal, row.detail ?? undefined)
    }
    if (row?.refusal) throw refusalOf(row.refusal as ErrorCode, { id })
    return getAllocation(tx, restored)
  })
}

const Reclaimed = Type.Object({ blocks: Type.Integer() })

/** How much one transaction ends at most, so that allocations wait for it but a moment. */
export type ReclaimLimits = { readonly blocks_max: number; readonly at_most: number }

/**
 * Ends holds that have lapsed, and quarantines that are over. Tells in how many blocks something
 * was due: none when all is done.
 */
export async function reclaimDue(
  db: Database,
  { blocks_max, at_most }: ReclaimLimits,
): Promise<number> {
  const [row]: Static<typeof Reclaimed>[] = await retryLost(
    () => rows(db, Reclaimed)`select reclaim(${blocks_max}, ${at_most}) as blocks`,
  )
  return row?.blocks ?? 0
}
