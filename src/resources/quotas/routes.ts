import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { readIfMatch } from '../../etags.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  closed,
  isId,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { scopeIdOf } from '../address-scopes/store.ts'
import {
  ProjectQuota,
  ProjectQuotaQuery,
  Quota,
  QuotaQuery,
  QuotaRequest,
  ScopeOfQuota,
  type ScopeQuota,
} from './schema.ts'
import {
  deleteQuota,
  getQuotaCounts,
  listQuotas,
  listScopeQuotas,
  projectOf,
  setQuota,
} from './store.ts'

const params = Type.Object({
  project_id: Type.String({
    minLength: 1,
    maxLength: 255,
    description: 'A project; `default` is every project that has no limit of its own.',
  }),
})
const tags = ['quotas']
const afterOf = (marker: string | undefined) =>
  marker === undefined ? null : (readMarker(marker, 'id', [isId])[0] ?? null)
const placeOf = (name: string, scope: string | undefined) => ({
  project_id: projectOf(name),
  scope_id: scope === undefined ? null : scopeIdOf(scope),
})

/** /v2/quotas: how much projects may have. */
export const quotaRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.get(
    '/v2/quotas',
    {
      schema: {
        operationId: 'listQuotas',
        summary: 'List the limits that are set',
        tags,
        querystring: QuotaQuery,
        response: { 200: pageOf('quotas', ref(Quota)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, project_id, scope_id } = query
      const filter = { project_id, scope_id: scope_id && scopeIdOf(scope_id) }
      const found = await listQuotas(db, filter, { limit, after: afterOf(marker), bound })
      const markerOf = ({ id }: Quota) => writeMarker('id', [id])
      return toPage({ key: 'quotas', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/quotas/:project_id',
    {
      schema: {
        operationId: 'getQuota',
        summary: 'Show what a project may have and what it has, in all and in each address scope',
        tags,
        params,
        querystring: ProjectQuotaQuery,
        response: {
          200: ref(ProjectQuota),
          ...problems('address_scope_not_found', 'marker_invalid'),
        },
      },
    },
    async ({ params: { project_id }, query: { limit, marker, scope_id }, url }) => {
      const place = placeOf(project_id, scope_id)
      const found = await listScopeQuotas(db, place, { limit, after: afterOf(marker) })
      const markerOf = ({ scope_id }: ScopeQuota) => writeMarker('id', [scope_id])
      return {
        project_id,
        ...(await getQuotaCounts(db, place.project_id)),
        ...toPage({ key: 'address_scopes', url, limit, markerOf }, found),
      }
    },
  )

  app.put(
    '/v2/quotas/:project_id',
    {
      schema: {
        operationId: 'updateQuota',
        summary: 'Set the limits of a project, or those of `default`',
        tags,
        params,
        querystring: closed({}), // The scope is named in the body; here it would be passed over.
        body: ref(QuotaRequest),
        response: {
          200: ref(Quota),
          ...changeProblems('address_scope_not_found', 'precondition_failed'),
        },
      },
    },
    ({ params: { project_id }, body: { scope_id, ...limits }, headers }, reply) => {
      if (Object.keys(limits).length === 0) {
        const detail = 'body: name allocations, ipv6_64s, blocks, floating_ips or interfaces'
        throw new IpamError('invalid_request', detail, { field: 'body' })
      }
      if (scope_id !== undefined && limits.interfaces !== undefined) {
        const detail = 'interfaces: goes without scope_id, for interfaces are of no address scope'
        throw new IpamError('invalid_request', detail, { field: 'interfaces' })
      }
      const target = { ...placeOf(project_id, scope_id), expected: readIfMatch(headers) }
      return once({ db, reply }, tx => setQuota(tx, target, limits))
    },
  )

  app.delete(
    '/v2/quotas/:project_id',
    {
      schema: {
        operationId: 'deleteQuota',
        summary: 'Forget the limits of a project: those of `default` apply to it again',
        tags,
        params,
        querystring: closed({ scope_id: ScopeOfQuota }),
        response: { 204: Type.Null(), ...changeProblems('quota_not_found', 'precondition_failed') },
      },
    },
    async ({ params: { project_id }, query: { scope_id }, headers }, reply) => {
      const target = { ...placeOf(project_id, scope_id), expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteQuota(tx, target))
      return reply.code(204).send(null)
    },
  )
}
