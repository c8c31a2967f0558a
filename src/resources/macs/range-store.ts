import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import { formatMacPrefix, lastMac, type MacPrefix } from '../../ip/mac.ts'
import { type FilterOf, Id } from '../../schema.ts'
import { appendEvents, type EventType } from '../events/store.ts'
import { readForbidden, readMac, readMacPrefix, readUnicastRange } from './read-mac.ts'
import {
  MacRange,
  type MacRangePatch,
  type MacRangeQuery,
  type MacRangeRequest,
  MacRangeUtilisation,
  MacText,
} from './schema.ts'

const columns = sql`
  id, project_id, mac_text(first) || '/' || prefix_length as prefix, name, description, tags,
  strategy, reuse_after_seconds, forbidden, uniqueness, generation, created_at, updated_at`

const notFound = (id: string) =>
  new IpamError('mac_range_not_found', `There is no MAC range ${id}.`)

/** @throws {IpamError} `mac_range_not_found` */
export async function getMacRange(db: Database, id: string): Promise<MacRange> {
  const [range] = await rows(db, MacRange)`select ${columns} from mac_ranges where id = ${id}`
  if (!range) throw notFound(id)
  return range
}

/**
 * In the order of their ids; one more than a page holds.
 *
 * @throws {IpamError} `invalid_request`
 */
export function listMacRanges(
  db: Database,
  { project_id, name, tag, contains }: FilterOf<MacRangeQuery>,
  { limit, after, bound }: { limit: number; after: string | null; bound: Bound },
): Promise<MacRange[]> {
  const conditions: Sql[] = [
    ...boundedTo(bound),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(tag ? [sql`tags @> ${tag}`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  if (contains !== undefined) {
    const mac = readMac(contains, 'contains').toString()
    conditions.push(sql`int8range(first, last, '[]') @> ${mac}::bigint`)
  }
  return rows(db, MacRange)`
    select ${columns} from mac_ranges where ${allOf(conditions)} order by id limit ${limit + 1}`
}

/**
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, `mac_range_overlaps`,
 * `mac_range_in_use` if somebody has a MAC of it already
 */
export function createMacRange(db: Database, request: MacRangeRequest): Promise<MacRange> {
  const { project_id = null, name = '', description = '', tags = [] } = request
  const { strategy = 'sequential', reuse_after_seconds = 0, uniqueness = 'range' } = request
  const prefix = readUnicastRange(request.prefix)
  const forbidden = readForbidden(request.forbidden ?? [], prefix)
  return retryTransaction(db, async tx => {
    await lockMacRanges(tx)
    await refuseHeld(tx, prefix)
    const [range] = await rows(tx, MacRange)`
      insert into mac_ranges (id, project_id, name, description, tags, first, prefix_length,
        forbidden, strategy, reuse_after_seconds, uniqueness)
      values (${newId()}, ${project_id}, ${name}, ${description}, ${tags},
        ${prefix.first.toString()}, ${prefix.length}, ${forbidden}, ${strategy},
        ${reuse_after_seconds}, ${uniqueness})
      returning ${columns}`
    if (!range) throw new Error('a MAC range that was created did not come back')
    await appendEvents(tx, [eventOf('mac_range.created', range)])
    return range
  })
}

const Held = Type.Object({ id: Id, address: MacText })
/** How many of the things in the way are named. */
const conflictsMax = 10

async function refuseHeld(tx: Database, prefix: MacPrefix): Promise<void> {
  const held = await rows(tx, Held)`
    select id, mac_text(mac) as address from macs
    where mac between ${prefix.first.toString()} and ${lastMac(prefix).toString()}
    order by mac limit ${conflictsMax}`
  if (held.length === 0) return
  const detail = `Somebody has MACs of ${formatMacPrefix(prefix)}, for instance ${held[0]?.address}.`
  throw new IpamError('mac_range_in_use', detail, {
    conflicts: held.map(one => ({ type: 'mac', ...one })),
  })
}

/**
 * Changes what it names. Who has a MAC keeps it, also if it is forbidden now.
 *
 * @throws {IpamError} `mac_range_not_found`, `precondition_failed`, `invalid_request`,
 * `cidr_has_host_bits`
 */
export function updateMacRange(
  db: Database,
  { id, expected }: Target,
  patch: MacRangePatch,
): Promise<MacRange> {
  return retryTransaction(db, async tx => {
    const before = await lockMacRange(tx, id)
    refuseUnexpected(before, expected)
    const after = { ...before, ...patch }
    const forbidden = readForbidden(after.forbidden, readMacPrefix(before.prefix, 'prefix'))
    const [range] = await rows(tx, MacRange)`
      update mac_ranges set name = ${after.name}, description = ${after.description},
        tags = ${after.tags}, strategy = ${after.strategy}, forbidden = ${forbidden},
        reuse_after_seconds = ${after.reuse_after_seconds},
        generation = generation + 1, updated_at = clock_timestamp()
      where id = ${id} returning ${columns}`
    if (!range) throw new Error('a MAC range that was changed did not come back')
    const isOtherSpace =
      range.strategy !== before.strategy || forbidden.join() !== before.forbidden.join()
    if (isOtherSpace) await tx.query(sql`select refill_mac_range(${id})`)
    await appendEvents(tx, [eventOf('mac_range.updated', range)])
    return range
  })
}

/**
 * Deletes a range. If its MACs are to be kept, who has one keeps it, of no range from now on.
 *
 * @throws {IpamError} `mac_range_not_found`, `precondition_failed`, `mac_range_in_use`
 */
export function deleteMacRange(
  db: Database,
  { id, expected, keepMacs = false }: Target & { readonly keepMacs?: boolean },
): Promise<void> {
  return retryTransaction(db, async tx => {
    await lockMacRanges(tx)
    const range = await lockMacRange(tx, id)
    refuseUnexpected(range, expected)
    if (keepMacs) {
      await tx.query(sql`
        update macs set range_id = null, pool_id = null where range_id = ${id}`)
    } else await refuseHeld(tx, readMacPrefix(range.prefix, 'prefix'))
    await tx.query(sql`delete from mac_ranges where id = ${id}`)
    await appendEvents(tx, [eventOf('mac_range.deleted', range)])
  })
}

/**
 * Counts the MACs of a range: of all networks together, where each has its own.
 *
 * @throws {IpamError} `mac_range_not_found`
 */
export async function getMacRangeUtilisation(
  db: Database,
  id: string,
): Promise<MacRangeUtilisation> {
  const [counts] = await rows(db, MacRangeUtilisation)`
    select r.last - r.first + 1 as total, f.forbidden, p.held, p.waiting,
      case when r.uniqueness = 'network' then null
        when p.pools = 0 then r.last - r.first + 1 - f.forbidden else free.size end as free
    from mac_ranges r,
      lateral (select coalesce(sum(upper(m) - lower(m)), 0)::bigint as forbidden
        from unnest(r.forbidden_macs) m) f,
      lateral (select count(*) as pools, coalesce(sum(p.held), 0)::bigint as held,
        coalesce(sum(p.waiting), 0)::bigint as waiting
        from mac_pools p where p.range_id = r.id) p,
      lateral (select coalesce(sum(f.last - f.first + 1), 0)::bigint as size
        from mac_free_ranges f where f.pool_id = r.id) free
    where r.id = ${id}`
  if (!counts) throw notFound(id)
  return counts
}

/** Waits for whoever takes a MAC, and makes those wait who want to. */
async function lockMacRanges(tx: Database): Promise<void> {
  await tx.query(sql`select lock_mac_ranges()`)
}

async function lockMacRange(tx: Database, id: string): Promise<MacRange> {
  const [range] = await rows(tx, MacRange)`
    select ${columns} from mac_ranges where id = ${id} for update`
  if (!range) throw notFound(id)
  return range
}

const eventOf = (type: EventType, data: MacRange) => {
  return { type, object_id: data.id, project_id: data.project_id, data }
}
