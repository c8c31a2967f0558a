import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { accessTo, boundTo } from '../../access/enforce.ts'
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
import { Grant, GrantPatch, GrantQuery, GrantUsage, GrantUsageQuery, NewGrant } from './schema.ts'
import {
  createGrant,
  getGrant,
  listGrants,
  listGrantUsage,
  revokeGrant,
  updateGrant,
} from './store.ts'

const params = Type.Object({ grant_id: Id })
const tags = ['grants']

/** /v2/grants: who may take addresses of whose blocks and networks. */
export const grantRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.post(
    '/v2/grants',
    {
      schema: {
        operationId: 'createGrant',
        summary: 'Let another project, or every one, take addresses of a block or network',
        tags,
        body: ref(NewGrant),
        response: {
          201: ref(Grant),
          ...changeProblems('block_not_found', 'network_not_found', 'grant_exists'),
        },
      },
    },
    async ({ body }, reply) => {
      const grant = await once({ db, reply }, tx => createGrant(tx, body))
      return reply.code(201).header('location', `/v2/grants/${grant.id}`).send(grant)
    },
  )

  app.get(
    '/v2/grants',
    {
      schema: {
        operationId: 'listGrants',
        summary: 'List grants: those that the project has given, and those that it has got',
        tags,
        querystring: GrantQuery,
        response: { 200: pageOf('grants', ref(Grant)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'id', [isId])
      const found = await listGrants(db, filter, { limit, after, bound })
      const markerOf = ({ id }: Grant) => writeMarker('id', [id])
      return toPage({ key: 'grants', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/grants/:grant_id',
    {
      schema: {
        operationId: 'getGrant',
        summary: 'Show a grant',
        tags,
        params,
        response: { 200: ref(Grant), ...problems('grant_not_found') },
      },
    },
    ({ params: { grant_id } }) => getGrant(db, grant_id),
  )

  app.get(
    '/v2/grants/:grant_id/usage',
    {
      schema: {
        operationId: 'getGrantUsage',
        summary: 'See what projects hold there under grants; others see but their own',
        tags,
        params,
        querystring: GrantUsageQuery,
        response: {
          200: pageOf('usage', ref(GrantUsage)),
          ...problems('grant_not_found', 'marker_invalid'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const { limit, marker } = query
      const grant = await getGrant(db, request.params.grant_id)
      const { may, caller } = accessTo(request)
      const seesAll = may('grants:get', { project_id: grant.owner_project_id })
      const project_id = seesAll ? null : (caller.project_id ?? '')
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'project', [isText])
      const found = await listGrantUsage(db, grant, { limit, after, project_id })
      const markerOf = (one: GrantUsage) => writeMarker('project', [one.project_id])
      return toPage({ key: 'usage', url, limit, markerOf }, found)
    },
  )

  app.patch(
    '/v2/grants/:grant_id',
    {
      schema: {
        operationId: 'updateGrant',
        summary: 'Change limit, description or tags of a grant; what is held stays',
        tags,
        params,
        body: ref(GrantPatch),
        response: {
          200: ref(Grant),
          ...changeProblems('grant_not_found', 'precondition_failed'),
        },
      },
    },
    ({ params: { grant_id }, body, headers }, reply) => {
      const target = { id: grant_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateGrant(tx, target, body))
    },
  )

  app.delete(
    '/v2/grants/:grant_id',
    {
      schema: {
        operationId: 'revokeGrant',
        summary: 'Revoke a grant: nothing more is taken under it, and what is held stays',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems('grant_not_found', 'precondition_failed'),
        },
      },
    },
    async ({ params: { grant_id }, headers }, reply) => {
      const expected = readIfMatch(headers)
      await once({ db, reply }, tx => revokeGrant(tx, { id: grant_id, expected }))
      return reply.code(204).send(null)
    },
  )
}
