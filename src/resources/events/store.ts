import { type Static, Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { Id, Nullable, oneOf, Time } from '../../schema.ts'

export const eventTypes = [
  'address_scope.created',
  'address_scope.updated',
  'address_scope.deleted',
  'policy.created',
  'policy.updated',
  'policy.deleted',
  'network.created',
  'network.updated',
  'network.deleted',
  'block.created',
  'block.updated',
  'block.deleted',
  'block.threshold_reached',
  'block.threshold_left',
  'block_route.created',
  'block_route.updated',
  'block_route.deleted',
  'dhcp_option.created',
  'dhcp_option.updated',
  'dhcp_option.deleted',
  'allocation.created',
  'allocation.updated',
  'allocation.renewed',
  'allocation.confirmed',
  'allocation.released',
  'allocation.expired',
  'lease.declined',
  'lease.withholding_ended',
  'floating_ip.created',
  'floating_ip.updated',
  'floating_ip.associated',
  'floating_ip.moved',
  'floating_ip.disassociated',
  'floating_ip.deleted',
  'nat_mapping.created',
  'nat_mapping.deleted',
  'mac_range.created',
  'mac_range.updated',
  'mac_range.deleted',
  'mac.created',
  'mac.released',
  'interface.created',
  'interface.updated',
  'interface.deleted',
  'allowed_address.created',
  'allowed_address.updated',
  'allowed_address.deleted',
  'quota.updated',
  'quota.deleted',
  'network.threshold_reached',
  'network.threshold_left',
  'grant.created',
  'grant.updated',
  'grant.deleted',
  'token.created',
  'token.revoked',
] as const

export type EventType = (typeof eventTypes)[number]

/** A change, and the state of the object after it (before it, if it was deleted). */
export type NewEvent = {
  readonly type: EventType
  readonly object_id: string
  readonly project_id: string | null
  readonly data: object
}

const EventRow = Type.Object({
  seq: Type.Integer(),
  at: Time,
  type: oneOf(eventTypes),
  object_id: Id,
  project_id: Nullable(Type.String()),
  data: Type.Object({}),
})
export type EventRow = Static<typeof EventRow>

/**
 * Writes the events of a transaction. It takes the lock that orders events, so it is the last
 * thing that the transaction does.
 */
export async function appendEvents(tx: Database, events: readonly NewEvent[]): Promise<void> {
  await tx.query(sql`select append_events(${JSON.stringify(events)})`)
}

export type EventFilter = {
  readonly type?: string | undefined
  readonly project_id?: string | undefined
}

const Now = Type.Object({ removed_through: Type.Integer(), read_at: Time })
const Horizon = Type.Object({ newest: Type.Integer(), removed_through: Type.Integer() })

/** The number of the newest event, 0 before the first. */
export async function newestEvent(db: Database): Promise<number> {
  const [row] = await rows(db, Type.Object({ newest: Type.Integer() }))`
    select greatest(
      coalesce((select max(seq) from events), 0),
      (select removed_through from event_horizon)) as newest`
  return row?.newest ?? 0
}

/**
 * The events behind a cursor, in commit order, and the cursor behind them. No number below the
 * cursor can appear later (I9), so whoever follows the cursors misses none and sees none twice.
 * With them comes when they were read, by the clock that gave them their times.
 *
 * @throws {IpamError} `events_expired` when events behind the cursor have been removed
 */
export async function listEvents(
  db: Database,
  {
    after,
    limit,
    filter,
    bound,
  }: { after: number; limit: number; filter: EventFilter; bound: Bound },
): Promise<{ events: EventRow[]; cursor: number; read_at: string }> {
  const conditions: Sql[] = [sql`seq > ${after}`, ...boundedTo(bound)]
  if (filter.type) conditions.push(sql`type = ${filter.type}`)
  if (filter.project_id) conditions.push(sql`project_id = ${filter.project_id}`)
  // Read before the events: what is newer than this may be missing from what follows.
  const [horizon] = await rows(db, Horizon)`
    select removed_through, greatest(
      coalesce((select max(seq) from events), 0), removed_through) as newest from event_horizon`
  const events = await rows(db, EventRow)`
    select seq, at, type, object_id, project_id, data from events
    where ${allOf(conditions)} and seq <= ${horizon?.newest ?? 0} order by seq limit ${limit}`
  const [now] = await rows(db, Now)`
    select removed_through, clock_timestamp() as read_at from event_horizon`
  if (!now) throw new Error('there is no horizon of events')
  if (after < now.removed_through) throw new IpamError('events_expired')
  const isLastPage = events.length < limit
  const newest = Math.max(horizon?.newest ?? 0, after)
  const cursor = isLastPage ? newest : (events.at(-1)?.seq ?? after)
  return { events, cursor, read_at: now.read_at }
}

/**
 * To be asked after events were read, some of which may have been removed meanwhile.
 *
 * @throws {IpamError} `events_expired` when events behind the cursor have been removed
 */
export async function refuseExpired(db: Database, after: number): Promise<void> {
  const [now] = await rows(db, Type.Object({ removed_through: Type.Integer() }))`
    select removed_through from event_horizon`
  if (after < (now?.removed_through ?? 0)) throw new IpamError('events_expired')
}

/** Removes at most `limit` events older than `days`; tells how many it removed. */
export function removeOldEvents(db: Database, { days, limit }: { days: number; limit: number }) {
  return db.transaction(async tx => {
    const removed = await rows(tx, Type.Object({ seq: Type.Integer() }))`
      delete from events where seq in (
        select seq from events where at < now() - make_interval(days => ${days})
        order by seq limit ${limit})
      returning seq`
    const through = Math.max(0, ...removed.map(({ seq }) => seq))
    await tx.query(sql`
      update event_horizon set removed_through = greatest(removed_through, ${through})`)
    return removed.length
  })
}
