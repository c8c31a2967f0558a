import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problems } from '../schema.ts'
import type { Metrics } from './metrics.ts'

/** /metrics: what the process counts, for Prometheus. */
export const metricsRoutes: FastifyPluginAsyncTypebox<{ metrics: Metrics }> = async (
  app,
  { metrics },
) => {
  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'getMetrics',
        summary: "What this process counts, in Prometheus' text format",
        tags: ['status'],
        response: {
          200: {
            description: 'The metrics of docs/guides/metrics.md.',
            content: { 'text/plain': { schema: Type.String() } },
          },
          ...problems(),
        },
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()),
  )
}
