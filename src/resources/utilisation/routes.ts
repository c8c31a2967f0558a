import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Database } from '../../db/database.ts'
import { readTime } from '../../fields.ts'
import {
  closed,
  Id,
  isTime,
  PageQuery,
  pageOf,
  problems,
  readMarker,
  ref,
  type SortShape,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { getBlock } from '../blocks/store.ts'
import { getNetwork } from '../networks/store.ts'
import { getForecast, listSamples, type Subject, versionsOf } from './history-store.ts'
import { Forecast, HistoryQuery, type historySorts, UtilisationSample } from './schema.ts'

const tags = ['utilisation']
const isVersion: SortShape = value => value === '4' || value === '6'

type Query = {
  readonly from?: string
  readonly to?: string
  readonly sort: (typeof historySorts)[number]
  readonly limit: number
  readonly marker?: string
  readonly version?: 4 | 6
}

/** How full blocks and networks were, and when they will be full. */
export const utilisationRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  async function history(subject: Subject, { query, url }: { query: Query; url: string }) {
    const { from, to, sort, limit, marker, version } = query
    const found = await listSamples(db, subject, {
      version,
      from: from === undefined ? undefined : readTime(from, 'from'),
      to: to === undefined ? undefined : readTime(to, 'to'),
      sort,
      limit,
      after: marker === undefined ? null : readMarker(marker, sort, [isTime, isVersion]),
    })
    const markerOf = (last: UtilisationSample) => writeMarker(sort, [last.at, String(last.version)])
    return toPage({ key: 'samples', url, limit, markerOf }, found)
  }

  app.get(
    '/v2/blocks/:block_id/utilisation/history',
    {
      schema: {
        operationId: 'listBlockSamples',
        summary: 'List the counts of a block and all below it over time',
        tags,
        params: Type.Object({ block_id: Id }),
        querystring: closed({ ...HistoryQuery, ...PageQuery }),
        response: {
          200: pageOf('samples', ref(UtilisationSample)),
          ...problems('block_not_found', 'marker_invalid'),
        },
      },
    },
    async ({ params: { block_id }, query, url }) => {
      await getBlock(db, block_id)
      return history({ block_id }, { query, url })
    },
  )

  app.get(
    '/v2/blocks/:block_id/forecast',
    {
      schema: {
        operationId: 'getBlockForecast',
        summary: 'Forecast when a block will be full',
        tags,
        params: Type.Object({ block_id: Id }),
        response: { 200: ref(Forecast), ...problems('block_not_found') },
      },
    },
    async ({ params: { block_id } }) => {
      const { version } = await getBlock(db, block_id)
      return getForecast(db, { block_id }, version)
    },
  )

  app.get(
    '/v2/networks/:network_id/utilisation/history',
    {
      schema: {
        operationId: 'listNetworkSamples',
        summary: 'List the counts of the subnets of a network over time, for each IP version',
        tags,
        params: Type.Object({ network_id: Id }),
        querystring: closed({
          version: Type.Optional(Type.Union([Type.Literal(4), Type.Literal(6)])),
          ...HistoryQuery,
          ...PageQuery,
        }),
        response: {
          200: pageOf('samples', ref(UtilisationSample)),
          ...problems('network_not_found', 'marker_invalid'),
        },
      },
    },
    async ({ params: { network_id }, query, url }) => {
      const { created_at } = await getNetwork(db, network_id)
      return history({ network_id, created_at }, { query, url })
    },
  )

  app.get(
    '/v2/networks/:network_id/forecast',
    {
      schema: {
        operationId: 'getNetworkForecast',
        summary: 'Forecast when a network will be full, for each IP version that it has',
        tags,
        params: Type.Object({ network_id: Id }),
        response: {
          200: closed({ forecasts: Type.Array(ref(Forecast), { maxItems: 2 }) }),
          ...problems('network_not_found'),
        },
      },
    },
    async ({ params: { network_id } }) => {
      const { created_at } = await getNetwork(db, network_id)
      const network = { network_id, created_at }
      const forecasts: Forecast[] = []
      for (const version of await versionsOf(db, network)) {
        forecasts.push(await getForecast(db, network, version))
      }
      return { forecasts }
    },
  )
}
