import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundEach, demandOnBlock } from '../../access/batches.ts'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  closed,
  Id,
  isId,
  isTime,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { scopeIdOf } from '../address-scopes/store.ts'
import { readAllocated } from '../allocations/read-request.ts'
import { countMax } from '../allocations/schema.ts'
import { QuarantinedAddress, QuarantineEnd, QuarantineQuery } from './schema.ts'
import { endQuarantine, endQuarantineOfBlock, endQuarantines, listQuarantine } from './store.ts'

const tags = ['quarantine']
const sort = 'quarantined_until'

/** /v2/quarantine: addresses that wait for the one who had them last. */
export const quarantineRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.get(
    '/v2/quarantine',
    {
      schema: {
        operationId: 'listQuarantine',
        summary: 'List the addresses that wait, those first that will wait no more',
        tags,
        querystring: QuarantineQuery,
        response: {
          200: pageOf('quarantine', ref(QuarantinedAddress)),
          ...problems('marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const { scope_id, address } = filter
      const after = marker === undefined ? null : readMarker(marker, sort, [isTime, isId])
      const found = await listQuarantine(
        db,
        {
          ...filter,
          scope_id: scope_id && scopeIdOf(scope_id),
          address: address && readAllocated(address, 'address'),
        },
        { limit, after, bound },
      )
      const markerOf = (one: QuarantinedAddress) =>
        writeMarker(sort, [one.quarantined_until, one.allocation_id])
      return toPage({ key: 'quarantine', url, limit, markerOf }, found)
    },
  )

  app.delete(
    '/v2/quarantine/:allocation_id',
    {
      schema: {
        operationId: 'endQuarantine',
        summary: 'Free the address of an allocation that ended, before its time',
        tags,
        params: Type.Object({ allocation_id: Id }),
        response: {
          204: Type.Null(),
          ...changeProblems('allocation_not_found', 'allocation_not_ended', 'quarantine_over'),
        },
      },
    },
    async ({ params: { allocation_id } }, reply) => {
      await once({ db, reply }, tx => endQuarantine(tx, allocation_id))
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/v2/quarantine/end',
    {
      schema: {
        operationId: 'endQuarantines',
        summary: 'Free, before their time, these addresses, or those of a block',
        tags,
        body: ref(QuarantineEnd),
        response: {
          200: closed({
            ended: Type.Integer({ description: 'How many did wait, and are free now.' }),
            more: Type.Boolean({
              description: `Whether the block has more that wait: one call frees ${countMax}.`,
            }),
          }),
          ...changeProblems('block_not_found'),
        },
      },
    },
    async (request, reply) => {
      const { block_id, allocation_ids } = request.body
      const rule = 'quarantine:end'
      if (block_id !== undefined && !allocation_ids) {
        const at_most = countMax
        await demandOnBlock({ db, request, rule }, block_id)
        return once({ db, reply }, tx => endQuarantineOfBlock(tx, { block_id, at_most }))
      }
      if (allocation_ids && block_id === undefined) {
        const named = allocation_ids.map(id => ({ id }))
        const bounded = await boundEach({ db, request, rule }, named)
        const ids = bounded.flatMap(({ id, project_id }) => (project_id === undefined ? [id] : []))
        const ended = await once({ db, reply }, tx => endQuarantines(tx, ids))
        return { ended, more: false }
      }
      const detail = 'allocation_ids: name either these, or a block_id'
      throw new IpamError('invalid_request', detail, { field: 'allocation_ids' })
    },
  )
}
