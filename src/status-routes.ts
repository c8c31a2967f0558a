import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { OpenDatabase } from './db/database.ts'
import { sql } from './db/sql.ts'
import { IpamError } from './errors.ts'
import { problems } from './schema.ts'
import { originOf } from './server/origin.ts'

const tags = ['status']
const open = { tags, security: [] }

/** What needs no token: where the API is described, whether the process is up, its OpenAPI. */
export const statusRoutes: FastifyPluginAsyncTypebox<{
  db: OpenDatabase
  version: string
}> = async (app, { db, version }) => {
  app.get('/v2/', { schema: { hide: true } }, async request => ({
    versions: [
      {
        id: 'v2',
        status: 'CURRENT',
        links: [
          { rel: 'self', href: `${originOf(request)}/v2/` },
          { rel: 'describedby', href: `${originOf(request)}/v2/openapi.json` },
        ],
      },
    ],
  }))

  app.get(
    '/healthz',
    {
      schema: {
        operationId: 'getHealth',
        summary: 'Whether the process is up',
        ...open,
        response: { 200: Type.Object({ status: Type.Literal('up'), version: Type.String() }) },
      },
    },
    async () => ({ status: 'up' as const, version }),
  )

  app.get(
    '/readyz',
    {
      schema: {
        operationId: 'getReadiness',
        summary: 'Whether the process can serve: its database answers',
        ...open,
        response: {
          200: Type.Object({ status: Type.Literal('ready'), database: Type.String() }),
          ...problems(),
        },
      },
    },
    async () => {
      try {
        await db.query(sql`select 1`)
      } catch (cause) {
        throw new IpamError('database_unavailable', undefined, { cause })
      }
      return { status: 'ready' as const, database: db.kind }
    },
  )

  app.get('/v2/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
