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
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import {
  createMacRange,
  deleteMacRange,
  getMacRange,
  getMacRangeUtilisation,
  listMacRanges,
  updateMacRange,
} from './range-store.ts'
import {
  MacRange,
  MacRangePatch,
  MacRangeQuery,
  MacRangeRequest,
  MacRangeUtilisation,
} from './schema.ts'

const params = Type.Object({ range_id: Id })
const tags = ['mac-ranges']

/** /v2/mac-ranges: MAC addresses to give out. */
export const macRangeRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.post(
    '/v2/mac-ranges',
    {
      schema: {
        operationId: 'createMacRange',
        summary: 'Create a range of MAC addresses',
        tags,
        body: ref(MacRangeRequest),
        response: {
          201: ref(MacRange),
          ...changeProblems('mac_range_overlaps', 'mac_range_in_use', 'cidr_has_host_bits'),
        },
      },
    },
    async ({ body }, reply) => {
      const range = await once({ db, reply }, tx => createMacRange(tx, body))
      return reply.code(201).header('location', `/v2/mac-ranges/${range.id}`).send(range)
    },
  )

  app.get(
    '/v2/mac-ranges',
    {
      schema: {
        operationId: 'listMacRanges',
        summary: 'List ranges of MAC addresses',
        tags,
        querystring: MacRangeQuery,
        response: { 200: pageOf('mac_ranges', ref(MacRange)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const after = marker === undefined ? null : (readMarker(marker, 'id', [isId])[0] ?? null)
      const found = await listMacRanges(db, filter, { limit, after, bound })
      const markerOf = ({ id }: MacRange) => writeMarker('id', [id])
      return toPage({ key: 'mac_ranges', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/mac-ranges/:range_id',
    {
      schema: {
        operationId: 'getMacRange',
        summary: 'Show a range of MAC addresses',
        tags,
        params,
        response: { 200: ref(MacRange), ...problems('mac_range_not_found') },
      },
    },
    ({ params: { range_id } }) => getMacRange(db, range_id),
  )

  app.patch(
    '/v2/mac-ranges/:range_id',
    {
      schema: {
        operationId: 'updateMacRange',
        summary: 'Change what a range gives out, and how',
        tags,
        params,
        body: ref(MacRangePatch),
        response: {
          200: ref(MacRange),
          ...changeProblems('mac_range_not_found', 'cidr_has_host_bits', 'precondition_failed'),
        },
      },
    },
    ({ params: { range_id }, body, headers }, reply) => {
      const target = { id: range_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateMacRange(tx, target, body))
    },
  )

  app.delete(
    '/v2/mac-ranges/:range_id',
    {
      schema: {
        operationId: 'deleteMacRange',
        summary: 'Delete a range of which nobody has a MAC',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems('mac_range_not_found', 'mac_range_in_use', 'precondition_failed'),
        },
      },
    },
    async ({ params: { range_id }, headers }, reply) => {
      const expected = readIfMatch(headers)
      await once({ db, reply }, tx => deleteMacRange(tx, { id: range_id, expected }))
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/v2/mac-ranges/:range_id/utilisation',
    {
      schema: {
        operationId: 'getMacRangeUtilisation',
        summary: 'Count the MACs of a range; `free` is null where each network has its own',
        tags,
        params,
        response: { 200: ref(MacRangeUtilisation), ...problems('mac_range_not_found') },
      },
    },
    ({ params: { range_id } }) => getMacRangeUtilisation(db, range_id),
  )
}
