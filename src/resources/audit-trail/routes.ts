import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { accessTo, boundTo } from '../../access/enforce.ts'
import { uuidOf } from '../../audit-trail/done-by.ts'
import type { Database } from '../../db/database.ts'
import { readTime } from '../../fields.ts'
import { pageOf, problems, readMarker, ref, withMarker, writeMarker } from '../../schema.ts'
import { recordOf } from './rules.ts'
import { AuditRecord, AuditTrailQuery } from './schema.ts'
import { listTrail } from './store.ts'

const isNumber = (value: string) => /^[1-9][0-9]{0,14}$/.test(value)

/** /v2/audit-trail: who did what to which object, and what was refused. */
export const auditTrailRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.get(
    '/v2/audit-trail',
    {
      schema: {
        operationId: 'listAuditTrail',
        summary: 'List who did what to which object, and what was refused, the newest first',
        description:
          'A page may hold less than its limit, or nothing, and not be the last: it is the last that has no `next`.',
        tags: ['audit trail'],
        querystring: AuditTrailQuery,
        response: {
          200: pageOf('records', ref(AuditRecord)),
          ...problems('marker_invalid'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const { limit, marker, since, until, request_id, global_request_id, ...filter } = query
      const { caller, mayAlways } = accessTo(request)
      const reader = {
        isOfAll: mayAlways('audit_trail:list') === true,
        project_id: caller.project_id,
      }
      const bound = boundTo(request)
      const { found, next } = await listTrail(
        db,
        {
          ...filter,
          request_id: uuidOf(request_id) ?? undefined,
          global_request_id: uuidOf(global_request_id) ?? undefined,
          since: since && readTime(since, 'since'),
          until: until && readTime(until, 'until'),
          ...(bound.kind === 'project' && { project_id: bound.project_id ?? '' }),
          // Else whoever asks for a user would learn what an operator did.
          ...(!reader.isOfAll && filter.user_id && { by_project_id: reader.project_id }),
        },
        { limit, before: marker === undefined ? null : readNumber(marker) },
      )
      const next_marker = next === null ? null : writeMarker('seq', [String(next)])
      const href = next_marker && withMarker(url, next_marker)
      return {
        records: found.map(row => recordOf(row, reader)),
        next_marker,
        links: href ? [{ rel: 'next' as const, href }] : [],
      }
    },
  )
}

const readNumber = (marker: string) => Number(readMarker(marker, 'seq', [isNumber])[0])
