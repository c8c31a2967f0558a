import { Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { type Expected, refuseUnexpected } from '../../etags.ts'
import { newId } from '../../ids.ts'
import type { FilterOf } from '../../schema.ts'
import type { Block } from '../blocks/schema.ts'
import { getBlock, holdBlock } from '../blocks/store.ts'
import { appendEvents, type EventType, type NewEvent } from '../events/store.ts'
import { readDestination, readGateway } from './rules.ts'
import {
  BlockRoute,
  type BlockRoutePatch,
  type BlockRouteQuery,
  type BlockRouteRequest,
  routesMax,
} from './schema.ts'

const columns = sql`
  id, block_id, destination, gateway, metric, description, generation, created_at, updated_at`

/** A route of a block. */
export type RoutePlace = { readonly block_id: string; readonly id: string }
/** A route that is to be changed, if it still is as the caller knows it. */
export type RouteTarget = RoutePlace & { readonly expected: Expected }

/** @throws {IpamError} `block_not_found`, `block_route_not_found` */
export async function getRoute(db: Database, { block_id, id }: RoutePlace): Promise<BlockRoute> {
  const [route] = await rows(db, BlockRoute)`
    select ${columns} from block_routes where id = ${id} and block_id = ${block_id}`
  if (route) return route
  await getBlock(db, block_id)
  throw new IpamError('block_route_not_found', `Block ${block_id} has no route ${id}.`)
}

/**
 * In the order of their destinations, one more than a page holds; `after` is a destination.
 *
 * @throws {IpamError} `block_not_found`
 */
export async function listRoutes(
  db: Database,
  { block_id, destination, gateway }: FilterOf<BlockRouteQuery> & { readonly block_id: string },
  { limit, after }: { limit: number; after: string | null },
): Promise<BlockRoute[]> {
  await getBlock(db, block_id)
  const conditions = [
    sql`block_id = ${block_id}`,
    ...(destination ? [sql`destination = ${destination}`] : []),
    ...(gateway ? [sql`gateway = ${gateway}`] : []),
    ...(after ? [sql`destination > ${after}`] : []),
  ]
  return rows(db, BlockRoute)`
    select ${columns} from block_routes
    where ${allOf(conditions)} order by destination limit ${limit + 1}`
}

/** All routes of a block, in the order of their destinations. */
export function routesOf(db: Database, block_id: string): Promise<BlockRoute[]> {
  return rows(db, BlockRoute)`
    select ${columns} from block_routes where block_id = ${block_id} order by destination`
}

const Count = Type.Object({ routes: Type.Integer() })

/**
 * @throws {IpamError} `block_not_found`, `block_route_exists`, `block_route_limit_reached`,
 * `invalid_request`, `cidr_has_host_bits`
 */
export function createRoute(
  db: Database,
  block_id: string,
  { metric = null, description = '', ...request }: BlockRouteRequest,
): Promise<BlockRoute> {
  return retryTransaction(db, async tx => {
    const block = await holdBlock(tx, block_id)
    const destination = readDestination(request.destination, block.version)
    const gateway = readGateway(request.gateway, block.version)
    await refuseSame(tx, { block_id, id: null, destination })
    const [count] = await rows(tx, Count)`
      select count(*)::int as routes from block_routes where block_id = ${block_id}`
    if (count && count.routes >= routesMax) {
      const detail = `${block.cidr} has ${count.routes} routes; a block has ${routesMax} at most.`
      throw new IpamError('block_route_limit_reached', detail)
    }
    const [route] = await rows(tx, BlockRoute)`
      insert into block_routes (id, block_id, destination, gateway, metric, description)
      values (${newId()}, ${block_id}, ${destination}, ${gateway}, ${metric}, ${description})
      returning ${columns}`
    if (!route) throw new Error('a route that was inserted did not come back')
    await appendEvents(tx, [eventOf('block_route.created', block, route)])
    return route
  })
}

/**
 * @throws {IpamError} `block_not_found`, `block_route_not_found`, `precondition_failed`,
 * `block_route_exists`, `invalid_request`, `cidr_has_host_bits`
 */
export function updateRoute(
  db: Database,
  { expected, ...place }: RouteTarget,
  patch: BlockRoutePatch,
): Promise<BlockRoute> {
  return retryTransaction(db, async tx => {
    const block = await holdBlock(tx, place.block_id)
    const before = await getRoute(tx, place)
    refuseUnexpected(before, expected)
    const { metric, description, ...after } = { ...before, ...patch }
    const destination = readDestination(after.destination, block.version)
    const gateway = readGateway(after.gateway, block.version)
    await refuseSame(tx, { ...place, destination })
    const [route] = await rows(tx, BlockRoute)`
      update block_routes set destination = ${destination}, gateway = ${gateway},
        metric = ${metric}, description = ${description},
        generation = generation + 1, updated_at = clock_timestamp()
      where id = ${place.id} returning ${columns}`
    if (!route) throw new Error('a route that was changed did not come back')
    await appendEvents(tx, [eventOf('block_route.updated', block, route)])
    return route
  })
}

/** @throws {IpamError} `block_not_found`, `block_route_not_found`, `precondition_failed` */
export function deleteRoute(db: Database, { expected, ...place }: RouteTarget): Promise<void> {
  return retryTransaction(db, async tx => {
    const block = await holdBlock(tx, place.block_id)
    const route = await getRoute(tx, place)
    refuseUnexpected(route, expected)
    await tx.query(sql`delete from block_routes where id = ${place.id}`)
    await appendEvents(tx, [eventOf('block_route.deleted', block, route)])
  })
}

/** Deletes the routes of a block that is to be deleted; returns the events to write. */
export async function deleteRoutesOf(tx: Database, block: Block): Promise<NewEvent[]> {
  const gone = await rows(tx, BlockRoute)`
    delete from block_routes where block_id = ${block.id} returning ${columns}`
  return gone.map(route => eventOf('block_route.deleted', block, route))
}

/** @throws {IpamError} `block_route_exists` */
async function refuseSame(
  tx: Database,
  { block_id, id, destination }: { block_id: string; id: string | null; destination: string },
): Promise<void> {
  const [same] = await rows(tx, BlockRoute)`
    select ${columns} from block_routes
    where block_id = ${block_id} and destination = ${destination}
      and id is distinct from ${id}::uuid`
  if (!same) return
  const detail = `Route ${same.id} of the block leads to ${destination} already.`
  throw new IpamError('block_route_exists', detail, { field: 'destination' })
}

const eventOf = (type: EventType, { project_id }: Block, data: BlockRoute): NewEvent => {
  return { type, object_id: data.id, project_id, data }
}
