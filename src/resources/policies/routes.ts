import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { accessTo, boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { readIfMatch } from '../../etags.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  closed,
  Id,
  isId,
  isText,
  isTime,
  PageQuery,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { Allocation } from '../allocations/schema.ts'
import { getBlock } from '../blocks/store.ts'
import { showRules } from './rules.ts'
import { resolveForBlocks } from './rules-store.ts'
import { EffectiveRules, Policy, PolicyPatch, PolicyQuery, PolicyRequest } from './schema.ts'
import {
  createPolicy,
  deletePolicy,
  getPolicy,
  listExceptions,
  listPolicies,
  updatePolicy,
} from './store.ts'

const params = Type.Object({ policy_id: Id })
const tags = ['policies']
const sortShapes = { id: isId, name: isText, created_at: isTime }

/** How many exceptions the answer to a change names. */
const namedMax = 10

export const ChangedPolicy = closed(
  {
    ...Policy.properties,
    exceptions: Type.Array(ref(Allocation), {
      maxItems: namedMax,
      description: 'Some of what is held although the rules exclude it. It stays with its holders.',
    }),
  },
  { $id: 'ChangedPolicy' },
)

/** /v2/policies: named rules, attached to address scopes, blocks and networks. */
export const policyRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.post(
    '/v2/policies',
    {
      schema: {
        operationId: 'createPolicy',
        summary: 'Create a policy; it does nothing until it is attached',
        tags,
        body: ref(PolicyRequest),
        response: {
          201: ref(Policy),
          ...changeProblems('policy_name_taken', 'cidr_has_host_bits'),
        },
      },
    },
    async ({ body }, reply) => {
      const policy = await once({ db, reply }, tx => createPolicy(tx, body))
      return reply.code(201).header('location', `/v2/policies/${policy.id}`).send(policy)
    },
  )

  app.get(
    '/v2/policies',
    {
      schema: {
        operationId: 'listPolicies',
        summary: 'List policies',
        tags,
        querystring: PolicyQuery,
        response: { 200: pageOf('policies', ref(Policy)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, sort, ...filter } = query
      const after = marker === undefined ? null : readMarker(marker, sort, [sortShapes[sort], isId])
      const found = await listPolicies(db, filter, { sort, limit, after, bound })
      const markerOf = (policy: Policy) => writeMarker(sort, [policy[sort], policy.id])
      return toPage({ key: 'policies', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/policies/:policy_id',
    {
      schema: {
        operationId: 'getPolicy',
        summary: 'Show a policy',
        tags,
        params,
        response: { 200: ref(Policy), ...problems('policy_not_found') },
      },
    },
    ({ params: { policy_id } }) => getPolicy(db, policy_id),
  )

  app.patch(
    '/v2/policies/:policy_id',
    {
      schema: {
        operationId: 'updatePolicy',
        summary: 'Change a policy, and at once what may be given out wherever it reaches',
        tags,
        params,
        body: ref(PolicyPatch),
        response: {
          200: ref(ChangedPolicy),
          ...changeProblems(
            'policy_not_found',
            'policy_name_taken',
            'cidr_has_host_bits',
            'precondition_failed',
          ),
        },
      },
    },
    async (request, reply) => {
      const { params, body, headers } = request
      const { policy_id } = params
      const bound = accessTo(request).boundOf('allocations:list')
      const target = { id: policy_id, expected: readIfMatch(headers) }
      const policy = await once({ db, reply }, tx => updatePolicy(tx, target, body))
      const found = await listExceptions(db, policy_id, { limit: namedMax, after: null, bound })
      return { ...policy, exceptions: found.slice(0, namedMax) }
    },
  )

  app.delete(
    '/v2/policies/:policy_id',
    {
      schema: {
        operationId: 'deletePolicy',
        summary: 'Delete a policy that is attached to nothing',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems('policy_not_found', 'policy_in_use', 'precondition_failed'),
        },
      },
    },
    async ({ params: { policy_id }, headers }, reply) => {
      const expected = readIfMatch(headers)
      await once({ db, reply }, tx => deletePolicy(tx, { id: policy_id, expected }))
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/v2/policies/:policy_id/exceptions',
    {
      schema: {
        operationId: 'listPolicyExceptions',
        summary: 'List what is held although the rules of a policy exclude it',
        tags,
        params,
        querystring: closed(PageQuery),
        response: {
          200: pageOf('allocations', ref(Allocation)),
          ...problems('policy_not_found', 'marker_invalid'),
        },
      },
    },
    async request => {
      const { params, query, url } = request
      const { policy_id } = params
      const { limit, marker } = query
      const bound = accessTo(request).boundOf('allocations:list')
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'id', [isId])
      const found = await listExceptions(db, policy_id, { limit, after, bound })
      const markerOf = ({ id }: Allocation) => writeMarker('id', [id])
      return toPage({ key: 'allocations', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/blocks/:block_id/rules',
    {
      schema: {
        operationId: 'getBlockRules',
        summary: 'Show the rules that reach a block, each with where it comes from',
        tags,
        params: Type.Object({ block_id: Id }),
        response: { 200: ref(EffectiveRules), ...problems('block_not_found') },
      },
    },
    async ({ params: { block_id } }) => {
      await getBlock(db, block_id)
      return showRules((await resolveForBlocks(db, [block_id])).get(block_id) ?? {})
    },
  )
}
