import { type Static, Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import { type FilterOf, Id, Time } from '../../schema.ts'
import { NatMapping, type NatMappingQuery, type NatMappingRequest } from './schema.ts'

// Events are written by a trigger (sql/functions/082_nat_mappings.sql).

const columns = sql`
  id, project_id, inside_local_id, inside_local_address, inside_global_id, inside_global_address,
  started_at, ended_at`

const notFound = (id: string) =>
  new IpamError('nat_mapping_not_found', `There is no NAT mapping ${id}.`)

/** A mapping, current or ended. @throws {IpamError} `nat_mapping_not_found` */
export async function getNatMapping(db: Database, id: string): Promise<NatMapping> {
  const [found] = await rows(db, NatMapping)`select ${columns} from nat_mappings where id = ${id}`
  if (!found) throw notFound(id)
  return found
}

/** Mappings in the order of their ids, which is that of their beginning; one more than a page. */
export function listNatMappings(
  db: Database,
  filter: FilterOf<NatMappingQuery>,
  {
    limit,
    after,
    bound,
  }: { readonly limit: number; readonly after: string | null; readonly bound: Bound },
): Promise<NatMapping[]> {
  const { project_id, inside_local_address, inside_global_address, state = 'current' } = filter
  const conditions: Sql[] = [
    ...boundedTo(bound),
    ...sidesOf(filter),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(inside_local_address ? [sql`inside_local_address = ${inside_local_address}::inet`] : []),
    ...(inside_global_address ? [sql`inside_global_address = ${inside_global_address}::inet`] : []),
    ...(state === 'current' ? [sql`ended_at is null`] : []),
    ...(state === 'ended' ? [sql`ended_at is not null`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, NatMapping)`
    select ${columns} from nat_mappings
    where ${allOf(conditions)} order by id limit ${limit + 1}`
}

/** One side, whose mappings are meant, or both. */
export type Sides = {
  readonly inside_local_id?: string | undefined
  readonly inside_global_id?: string | undefined
}

const sidesOf = ({ inside_local_id, inside_global_id }: Sides): Sql[] => [
  ...(inside_local_id ? [sql`inside_local_id = ${inside_local_id}`] : []),
  ...(inside_global_id ? [sql`inside_global_id = ${inside_global_id}`] : []),
]

/**
 * Maps a local allocation to a global one.
 *
 * @throws {IpamError} `nat_mapping_exists`, `allocation_not_found`, `allocation_ended`,
 * `hold_expired`, `invalid_request`
 */
export function createNatMapping(db: Database, pair: NatMappingRequest): Promise<NatMapping> {
  return retryTransaction(db, async tx => {
    const [created] = await assignNatMappings(tx, [pair])
    if (created) return created
    throw new IpamError('nat_mapping_exists', undefined, { field: 'inside_global_id' })
  })
}

/**
 * Maps pairs of allocations, all of them or none; those that are mapped already stay as they are.
 * Answers the new mappings.
 *
 * @throws {IpamError} `allocation_not_found`, `allocation_ended`, `hold_expired`,
 * `invalid_request`
 */
export function assignNatMappings(
  db: Database,
  pairs: readonly NatMappingRequest[],
): Promise<NatMapping[]> {
  const locals = pairs.map(pair => pair.inside_local_id)
  const globals = pairs.map(pair => pair.inside_global_id)
  return retryTransaction(db, async tx => {
    const at = await lockAllocations(tx, [...locals, ...globals])
    await refuseEnded(tx, pairs)
    return rows(tx, NatMapping)`
      insert into nat_mappings (id, inside_local_id, inside_global_id, started_at)
      select p.id, p.inside_local_id, p.inside_global_id, ${at}
      from unnest(${pairs.map(newId)}::uuid[], ${locals}::uuid[], ${globals}::uuid[])
        p (id, inside_local_id, inside_global_id)
      on conflict (inside_local_id, inside_global_id) where ended_at is null do nothing
      returning ${columns}`
  })
}

const At = Type.Object({ at: Type.Union([Time, Type.Null()]) })

/** Locks the blocks of the allocations that are current; answers the time there, if there are any. */
async function lockAllocations(tx: Database, ids: readonly string[]): Promise<string | null> {
  const [row] = await rows(tx, At)`select lock_allocations(${ids}) as at`
  return row?.at ?? null
}

const Side = Type.Object({
  id: Id,
  address: Type.String(),
  is_ended: Type.Boolean(),
  has_lapsed: Type.Boolean(),
})

/** Refuses pairs of which a side is no current allocation; the blocks are locked. */
async function refuseEnded(tx: Database, pairs: readonly NatMappingRequest[]): Promise<void> {
  const ids = pairs.flatMap(pair => [pair.inside_local_id, pair.inside_global_id])
  const found = await rows(tx, Side)`
    select a.id, a.address, false as is_ended,
      coalesce(a.expires_at <= u.changed_at, false) as has_lapsed
    from allocations a join block_usage u on u.block_id = a.block_id where a.id = any (${ids})
    union all
    select id, address, true, false from allocation_history where id = any (${ids})`
  const byId = new Map(found.map(side => [side.id, side]))
  for (const pair of pairs) {
    if (pair.inside_local_id.toLowerCase() === pair.inside_global_id.toLowerCase()) {
      const detail = 'inside_global_id: must be another allocation than inside_local_id'
      throw new IpamError('invalid_request', detail, { field: 'inside_global_id' })
    }
    for (const field of ['inside_local_id', 'inside_global_id'] as const) {
      refuseSide(byId.get(pair[field].toLowerCase()), { id: pair[field], field })
    }
  }
}

function refuseSide(
  side: Static<typeof Side> | undefined,
  { id, field }: { readonly id: string; readonly field: string },
): void {
  if (!side) {
    throw new IpamError('allocation_not_found', `There is no allocation ${id}.`, { field })
  }
  const { address } = side
  if (side.is_ended) {
    throw new IpamError('allocation_ended', `${address} has been released.`, { field })
  }
  if (side.has_lapsed) {
    throw new IpamError('hold_expired', `The hold of ${address} has lapsed.`, { field })
  }
}

/** @throws {IpamError} `nat_mapping_not_found`, also if it has ended */
export function deleteNatMapping(db: Database, id: string): Promise<void> {
  return retryTransaction(db, async tx => {
    const { ended_at, inside_local_id, inside_global_id } = await getNatMapping(tx, id)
    if (ended_at !== null) throw notFound(id)
    const ended = await endMappings(tx, [inside_local_id, inside_global_id], sql`id = ${id}`)
    if (ended.length === 0) throw notFound(id)
  })
}

/**
 * Removes all mappings of one side, or with both sides that of the pair; answers what was removed.
 */
export function removeNatMappings(db: Database, sides: Sides): Promise<NatMapping[]> {
  const conditions = sidesOf(sides)
  if (conditions.length === 0) throw new Error('removing mappings takes a side')
  return retryTransaction(db, async tx => {
    const present = await rows(tx, NatMapping)`
      select ${columns} from nat_mappings where ${allOf(conditions)} and ended_at is null`
    if (present.length === 0) return []
    const ids = present.flatMap(one => [one.inside_local_id, one.inside_global_id])
    return endMappings(tx, ids, allOf(conditions))
  })
}

/** Ends what has not ended, under the locks of these allocations. */
async function endMappings(tx: Database, allocations: readonly string[], meant: Sql) {
  const at = await lockAllocations(tx, allocations)
  return rows(tx, NatMapping)`
    select ${columns} from end_nat_mappings(
      array(select id from nat_mappings where ${meant} and ended_at is null), ${at})`
}
