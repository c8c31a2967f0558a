import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { accessTo } from '../../access/enforce.ts'
import { doneByOf } from '../../audit-trail/done-by.ts'
import type { Database } from '../../db/database.ts'
import { keyOf, once } from '../../idempotency.ts'
import { changeProblems, closed, Generation, Id, ProjectId, ref } from '../../schema.ts'
import {
  changeHold,
  type HoldChange,
  type Holds,
  renewByOwner,
  restoreAllocation,
} from './hold-store.ts'
import { Allocation, countMax, Lifetime, OwnerId, OwnerType } from './schema.ts'

const params = Type.Object({ allocation_id: Id })
const tags = ['holds']

/** Why a hold may not be changed. */
const refusals = [
  'allocation_not_found',
  'allocation_ended',
  'allocation_not_held',
  'hold_expired',
  'generation_mismatch',
] as const

/** A body of which all may be left out may be left out itself. */
const allowNoBody = async (request: { body: unknown }) => {
  request.body ??= {}
}

/** What a hold can become: renewed, confirmed, and restored after its end. */
export const holdRoutes: FastifyPluginAsyncTypebox<{ db: Database; holds: Holds }> = async (
  app,
  { db, holds },
) => {
  /** Only a request with a key has a transaction of its own. */
  const change = (wanted: HoldChange, reply: FastifyReply) =>
    keyOf(reply.request)
      ? once({ db, reply }, tx => changeHold(tx, wanted))
      : holds.change({ ...wanted, done_by: doneByOf(reply.request) })

  app.post(
    '/v2/allocations/:allocation_id/renew',
    {
      schema: {
        operationId: 'renewAllocation',
        summary: 'Renew a hold: it lasts so long from now on, if it has not lapsed',
        tags,
        params,
        body: closed({ lifetime_seconds: Lifetime, generation: Type.Optional(Generation) }),
        response: { 200: ref(Allocation), ...changeProblems(...refusals) },
      },
    },
    ({ params: { allocation_id: id }, body }, reply) => change({ id, ...body }, reply),
  )

  app.post(
    '/v2/allocations/:allocation_id/confirm',
    {
      preValidation: allowNoBody,
      schema: {
        operationId: 'confirmAllocation',
        summary: 'Confirm a hold: it expires no more. To confirm it again changes nothing',
        tags,
        params,
        body: closed({ generation: Type.Optional(Generation) }),
        response: { 200: ref(Allocation), ...changeProblems(...refusals) },
      },
    },
    ({ params: { allocation_id: id }, body }, reply) =>
      change({ id, lifetime_seconds: null, ...body }, reply),
  )

  app.post(
    '/v2/allocations/renew',
    {
      schema: {
        operationId: 'renewAllocations',
        summary: 'Renew all holds of an owner that have not lapsed',
        tags,
        body: closed({
          project_id: ProjectId,
          owner_type: Type.Optional(OwnerType),
          owner_id: OwnerId,
          block_id: Type.Optional(Id),
          lifetime_seconds: Lifetime,
        }),
        response: {
          200: closed({
            allocations: Type.Array(ref(Allocation), { description: 'The holds, renewed.' }),
            lapsed: Type.Array(ref(Allocation), {
              description:
                'Holds that lapsed before, whose addresses wait: a few, the last to lapse first.',
            }),
          }),
          ...changeProblems('too_many_allocations'),
        },
      },
    },
    async (request, reply) => {
      const { body } = request
      accessTo(request).demand('allocations:renew', { project_id: body.project_id })
      return once({ db, reply }, tx => renewByOwner(tx, body, countMax))
    },
  )

  app.post(
    '/v2/allocations/:allocation_id/restore',
    {
      preValidation: allowNoBody,
      schema: {
        operationId: 'restoreAllocation',
        summary: 'Give an address in quarantine back to who had it last, as a new allocation',
        tags,
        params,
        body: closed({ lifetime_seconds: Type.Optional(Lifetime) }),
        response: {
          201: ref(Allocation),
          ...changeProblems(
            'allocation_not_found',
            'allocation_not_ended',
            'quarantine_over',
            'quota_exceeded',
            'not_granted',
          ),
        },
      },
    },
    async ({ params: { allocation_id: id }, body: { lifetime_seconds = null } }, reply) => {
      const restored = await once({ db, reply }, tx => restoreAllocation(tx, id, lifetime_seconds))
      return reply.code(201).header('location', `/v2/allocations/${restored.id}`).send(restored)
    },
  )
}
