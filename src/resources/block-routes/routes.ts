import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Database } from '../../db/database.ts'
import { readIfMatch } from '../../etags.ts'
import { canonicalAddress, canonicalPrefix, isAddressOrCidr } from '../../fields.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  Id,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { BlockRoute, BlockRoutePatch, BlockRouteQuery, BlockRouteRequest } from './schema.ts'
import { createRoute, deleteRoute, getRoute, listRoutes, updateRoute } from './store.ts'

const ofBlock = Type.Object({ block_id: Id })
const params = Type.Object({ block_id: Id, route_id: Id })
const tags = ['block routes']
const notFound = ['block_not_found', 'block_route_not_found'] as const

/** /v2/blocks/…/routes: where the machines of a block send what is not for their subnet. */
export const blockRouteRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.post(
    '/v2/blocks/:block_id/routes',
    {
      schema: {
        operationId: 'createBlockRoute',
        summary: 'Add a route to a block',
        tags,
        params: ofBlock,
        body: ref(BlockRouteRequest),
        response: {
          201: ref(BlockRoute),
          ...changeProblems(
            'block_not_found',
            'block_route_exists',
            'block_route_limit_reached',
            'cidr_has_host_bits',
          ),
        },
      },
    },
    async ({ params: { block_id }, body }, reply) => {
      const route = await once({ db, reply }, tx => createRoute(tx, block_id, body))
      const location = `/v2/blocks/${route.block_id}/routes/${route.id}`
      return reply.code(201).header('location', location).send(route)
    },
  )

  app.get(
    '/v2/blocks/:block_id/routes',
    {
      schema: {
        operationId: 'listBlockRoutes',
        summary: 'List the routes of a block, in the order of their destinations',
        tags,
        params: ofBlock,
        querystring: BlockRouteQuery,
        response: {
          200: pageOf('routes', ref(BlockRoute)),
          ...problems('block_not_found', 'marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async ({ params: { block_id }, query: { limit, marker, ...query }, url }) => {
      const { destination, gateway } = query
      const filter = {
        block_id,
        destination: destination && canonicalPrefix(destination, 'destination'),
        gateway: gateway && canonicalAddress(gateway, 'gateway'),
      }
      const shapes = [isAddressOrCidr]
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'destination', shapes)
      const found = await listRoutes(db, filter, { limit, after })
      const markerOf = (route: BlockRoute) => writeMarker('destination', [route.destination])
      return toPage({ key: 'routes', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/blocks/:block_id/routes/:route_id',
    {
      schema: {
        operationId: 'getBlockRoute',
        summary: 'Show a route of a block',
        tags,
        params,
        response: { 200: ref(BlockRoute), ...problems(...notFound) },
      },
    },
    ({ params: { block_id, route_id } }) => getRoute(db, { block_id, id: route_id }),
  )

  app.patch(
    '/v2/blocks/:block_id/routes/:route_id',
    {
      schema: {
        operationId: 'updateBlockRoute',
        summary: 'Change a route of a block',
        tags,
        params,
        body: ref(BlockRoutePatch),
        response: {
          200: ref(BlockRoute),
          ...changeProblems(
            ...notFound,
            'block_route_exists',
            'cidr_has_host_bits',
            'precondition_failed',
          ),
        },
      },
    },
    ({ params: { block_id, route_id }, body, headers }, reply) => {
      const target = { block_id, id: route_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateRoute(tx, target, body))
    },
  )

  app.delete(
    '/v2/blocks/:block_id/routes/:route_id',
    {
      schema: {
        operationId: 'deleteBlockRoute',
        summary: 'Delete a route of a block',
        tags,
        params,
        response: { 204: Type.Null(), ...changeProblems(...notFound, 'precondition_failed') },
      },
    },
    async ({ params: { block_id, route_id }, headers }, reply) => {
      const target = { block_id, id: route_id, expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteRoute(tx, target))
      return reply.code(204).send(null)
    },
  )
}
