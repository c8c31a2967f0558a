import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { readIfMatch } from '../../etags.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  Id,
  isId,
  isText,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import {
  Network,
  NetworkPatch,
  NetworkQuery,
  NetworkRequest,
  NetworkUtilisation,
} from './schema.ts'
import {
  createNetwork,
  deleteNetwork,
  getNetwork,
  getNetworkUtilisation,
  listNetworks,
  updateNetwork,
} from './store.ts'

const params = Type.Object({ network_id: Id })
const tags = ['networks']
const sortShapes = { id: isId, name: isText }

/** /v2/networks: layer-2 segments, on which subnets of both IP versions sit. */
export const networkRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.post(
    '/v2/networks',
    {
      schema: {
        operationId: 'createNetwork',
        summary: 'Create a network, with an id of your own if you like',
        tags,
        body: ref(NetworkRequest),
        response: { 201: ref(Network), ...changeProblems('network_exists', 'policy_not_found') },
      },
    },
    async ({ body }, reply) => {
      const network = await once({ db, reply }, tx => createNetwork(tx, body))
      return reply.code(201).header('location', `/v2/networks/${network.id}`).send(network)
    },
  )

  app.get(
    '/v2/networks',
    {
      schema: {
        operationId: 'listNetworks',
        summary: 'List networks',
        tags,
        querystring: NetworkQuery,
        response: { 200: pageOf('networks', ref(Network)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, sort, ...filter } = query
      const after = marker === undefined ? null : readMarker(marker, sort, [sortShapes[sort], isId])
      const found = await listNetworks(db, filter, { sort, limit, after, bound })
      const markerOf = (network: Network) => writeMarker(sort, [network[sort], network.id])
      return toPage({ key: 'networks', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/networks/:network_id',
    {
      schema: {
        operationId: 'getNetwork',
        summary: 'Show a network',
        tags,
        params,
        response: { 200: ref(Network), ...problems('network_not_found') },
      },
    },
    ({ params: { network_id } }) => getNetwork(db, network_id),
  )

  app.patch(
    '/v2/networks/:network_id',
    {
      schema: {
        operationId: 'updateNetwork',
        summary: 'Change name, description, tags, policy or MTU of a network',
        tags,
        params,
        body: ref(NetworkPatch),
        response: {
          200: ref(Network),
          ...changeProblems(
            'network_not_found',
            'policy_not_found',
            'mtu_too_small',
            'precondition_failed',
          ),
        },
      },
    },
    ({ params: { network_id }, body, headers }, reply) => {
      const target = { id: network_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateNetwork(tx, target, body))
    },
  )

  app.delete(
    '/v2/networks/:network_id',
    {
      schema: {
        operationId: 'deleteNetwork',
        summary: 'Delete a network that has no subnets and no interfaces',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems(
            'network_not_found',
            'network_has_subnets',
            'network_in_use',
            'precondition_failed',
          ),
        },
      },
    },
    async ({ params: { network_id }, headers }, reply) => {
      const expected = readIfMatch(headers)
      await once({ db, reply }, tx => deleteNetwork(tx, { id: network_id, expected }))
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/v2/networks/:network_id/utilisation',
    {
      schema: {
        operationId: 'getNetworkUtilisation',
        summary: 'Count the addresses of the subnets of a network, by IP version',
        tags,
        params,
        response: { 200: ref(NetworkUtilisation), ...problems('network_not_found') },
      },
    },
    ({ params: { network_id } }) => getNetworkUtilisation(db, network_id),
  )
}
