import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newId } from '../ids.ts'
import { parseAddress } from '../ip/address.ts'
import { formatPrefix } from '../ip/prefix.ts'
import { createRoute, deleteRoute, routesOf } from '../resources/block-routes/store.ts'
import { Id, Nullable, Time } from '../schema.ts'
import { isUuid } from './ids.ts'
import { behindMarker } from './marker-store.ts'
import type { Page } from './page.ts'
import { readNetwork } from './values.ts'

const Row = Type.Object({
  id: Id,
  block_id: Id,
  destination: Type.String(),
  netmask: Nullable(Type.String()),
  gateway: Type.String(),
  created_at: Time,
  updated_at: Time,
})
/** A route of a block, in any words. */
export type RouteRow = Static<typeof Row>

/**
 * The routes as they were written, and those that are only known elsewhere. A written one has the id
 * of the route that it stands for, if it means anything.
 */
const all = sql`(
  select id, block_id, destination, netmask, gateway, created_at, updated_at from v1_routes
  union all
  select id, block_id, destination::text, null, host(gateway), created_at, updated_at
  from block_routes r
  where not exists (select from v1_routes v where v.route_id = r.id)) r`

/** One more than a page holds. */
export function listIpRoutes(db: Database, block_id: string, page: Page): Promise<RouteRow[]> {
  return rows(db, Row)`
    select * from ${all} where block_id = ${block_id} and ${behindMarker(sql`id`, page)}
    order by id limit ${page.limit + 1}`
}

const routesMax = 1000

/** The routes of blocks, for those who have addresses there. */
export function listRoutesOf(db: Database, blocks: readonly string[]): Promise<RouteRow[]> {
  return rows(db, Row)`
    select * from ${all} where block_id = any (${blocks}::uuid[]) order by id limit ${routesMax}`
}

/** Null if there is none. */
export async function findIpRoute(
  db: Database,
  { id, block_id }: { readonly id: string; readonly block_id: string },
): Promise<RouteRow | null> {
  if (!isUuid(id)) return null
  const [found] = await rows(db, Row)`
    select * from ${all} where id = ${id} and block_id = ${block_id}`
  return found ?? null
}

export type Words = Pick<RouteRow, 'destination' | 'netmask' | 'gateway'>

/** Writes a route down; what it means, if it means anything, is a route of the block. */
export async function writeIpRoute(
  tx: Database,
  { id = newId(), block_id, ...words }: Words & { readonly id?: string; readonly block_id: string },
): Promise<RouteRow> {
  await forget(tx, { id, block_id })
  const route_id = await mean(tx, block_id, words)
  const { destination, netmask, gateway } = words
  const [written] = await rows(tx, Row)`
    insert into v1_routes (id, block_id, destination, netmask, gateway, route_id)
    values (${id}, ${block_id}, ${destination}, ${netmask}, ${gateway}, ${route_id})
    on conflict (id) do update set destination = excluded.destination, netmask = excluded.netmask,
      gateway = excluded.gateway, route_id = excluded.route_id, updated_at = clock_timestamp()
    returning id, block_id, destination, netmask, gateway, created_at, updated_at`
  if (!written) throw new Error('a route that was written did not come back')
  return written
}

export async function deleteIpRoute(tx: Database, route: RouteRow): Promise<void> {
  await forget(tx, route)
  await tx.query(sql`delete from v1_routes where id = ${route.id}`)
}

const Meant = Type.Object({ id: Id })

/** Deletes the route of the block that is written under this id, or is known by it elsewhere. */
async function forget(tx: Database, { id, block_id }: { id: string; block_id: string }) {
  const meant = await rows(tx, Meant)`
    select r.id from block_routes r left join v1_routes v on v.route_id = r.id
    where r.block_id = ${block_id} and coalesce(v.id, r.id) = ${id}`
  await tx.query(sql`update v1_routes set route_id = null where id = ${id}`)
  for (const route of meant) await deleteRoute(tx, { id: route.id, block_id, expected: undefined })
}

/** Null where the words are no route, or one that the block has already. */
async function mean(tx: Database, block_id: string, words: Words): Promise<string | null> {
  const { destination, netmask, gateway } = words
  const hasMask = netmask !== null && netmask !== '' && !destination.includes('/')
  const prefix = readNetwork(hasMask ? `${destination}/${netmask}` : destination)
  const address = parseAddress(gateway)
  if (!prefix || !address || address.version !== prefix.version) return null
  const cidr = formatPrefix(prefix)
  const [block] = await rows(tx, Type.Object({ version: Type.Integer() }))`
    select family(cidr) as version from blocks where id = ${block_id}`
  if (block?.version !== prefix.version) return null
  if ((await routesOf(tx, block_id)).some(route => route.destination === cidr)) return null
  return (await createRoute(tx, block_id, { destination: cidr, gateway })).id
}
