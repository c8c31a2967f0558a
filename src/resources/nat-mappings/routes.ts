import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  Id,
  isId,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { readAllocated } from '../allocations/read-request.ts'
import { NatMapping, NatMappingQuery, NatMappingRequest } from './schema.ts'
import { createNatMapping, deleteNatMapping, getNatMapping, listNatMappings } from './store.ts'

const params = Type.Object({ nat_mapping_id: Id })
const tags = ['NAT mappings']

/** /v2/nat-mappings: which inside-global address stands for which inside-local one. */
export const natMappingRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.post(
    '/v2/nat-mappings',
    {
      schema: {
        operationId: 'createNatMapping',
        summary: 'Map an inside-local allocation to an inside-global one',
        tags,
        body: ref(NatMappingRequest),
        response: {
          201: ref(NatMapping),
          ...changeProblems(
            'nat_mapping_exists',
            'allocation_not_found',
            'allocation_ended',
            'hold_expired',
          ),
        },
      },
    },
    async ({ body }, reply) => {
      const created = await once({ db, reply }, tx => createNatMapping(tx, body))
      return reply.code(201).header('location', `/v2/nat-mappings/${created.id}`).send(created)
    },
  )

  app.get(
    '/v2/nat-mappings',
    {
      schema: {
        operationId: 'listNatMappings',
        summary: 'List NAT mappings, by either side',
        tags,
        querystring: NatMappingQuery,
        response: { 200: pageOf('nat_mappings', ref(NatMapping)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'id', [isId])
      const { inside_local_address: local, inside_global_address: global } = filter
      const asked = {
        ...filter,
        inside_local_address: local && readAllocated(local, 'inside_local_address'),
        inside_global_address: global && readAllocated(global, 'inside_global_address'),
      }
      const found = await listNatMappings(db, asked, { limit, after, bound })
      const markerOf = ({ id }: NatMapping) => writeMarker('id', [id])
      return toPage({ key: 'nat_mappings', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/nat-mappings/:nat_mapping_id',
    {
      schema: {
        operationId: 'getNatMapping',
        summary: 'Show a NAT mapping, current or ended',
        tags,
        params,
        response: { 200: ref(NatMapping), ...problems('nat_mapping_not_found') },
      },
    },
    ({ params: { nat_mapping_id } }) => getNatMapping(db, nat_mapping_id),
  )

  app.delete(
    '/v2/nat-mappings/:nat_mapping_id',
    {
      schema: {
        operationId: 'deleteNatMapping',
        summary: 'End a NAT mapping',
        tags,
        params,
        response: { 204: Type.Null(), ...changeProblems('nat_mapping_not_found') },
      },
    },
    async ({ params: { nat_mapping_id } }, reply) => {
      await once({ db, reply }, tx => deleteNatMapping(tx, nat_mapping_id))
      return reply.code(204).send(null)
    },
  )
}
