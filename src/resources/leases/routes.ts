import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { readTime } from '../../fields.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
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
import { readReport } from './read-report.ts'
import { reportLeases } from './report-store.ts'
import {
  Lease,
  LeaseQuery,
  LeaseReports,
  ReportOutcome,
  reportsMax,
  WithheldAddress,
  WithheldQuery,
} from './schema.ts'
import { listLeases } from './store.ts'
import { endWithholding, listWithheld } from './withheld-store.ts'

const tags = ['leases']
const sort = 'started_at'
const sortWithheld = 'withheld_until'

export type LeaseOptions = {
  readonly db: Database
  /** How long an address is at least told to nobody that a machine found in use. */
  readonly declined_seconds: number
  /** Told of each batch of reports that was answered. */
  readonly observeReports: (counts: { accepted: number; refused: number }) => void
}

/** /v2/leases: what servers told machines; /v2/withheld-addresses: what they tell to nobody. */
export const leaseRoutes: FastifyPluginAsyncTypebox<LeaseOptions> = async (
  app,
  { db, declined_seconds, observeReports },
) => {
  app.post(
    '/v2/leases',
    {
      schema: {
        operationId: 'reportLeases',
        summary: `Report what a server told machines, and what these said: up to ${reportsMax} leases, each by itself`,
        tags,
        body: ref(LeaseReports),
        response: { 200: ref(ReportOutcome), ...changeProblems('cidr_has_host_bits') },
      },
    },
    async ({ body: { server, leases } }, reply) => {
      const reports = leases.map(readReport)
      const outcome = await once({ db, reply }, tx =>
        reportLeases(tx, { server, reports, declined_seconds }),
      )
      observeReports({ accepted: outcome.accepted, refused: outcome.refused.length })
      return outcome
    },
  )

  app.get(
    '/v2/leases',
    {
      schema: {
        operationId: 'listLeases',
        summary: 'List what machines were told, the newest lease first',
        tags,
        querystring: LeaseQuery,
        response: {
          200: pageOf('leases', ref(Lease)),
          ...problems('marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const { limit, marker, ...filter } = query
      const { scope_id, address, at } = filter
      const found = await listLeases(
        db,
        {
          ...filter,
          scope_id: scope_id && scopeIdOf(scope_id),
          address: address && readAllocated(address, 'address'),
          at: at && readTime(at, 'at'),
        },
        {
          limit,
          after: marker === undefined ? null : readMarker(marker, sort, [isTime, isId]),
          bound: boundTo(request),
        },
      )
      const markerOf = ({ started_at, id }: Lease) => writeMarker(sort, [started_at, id])
      return toPage({ key: 'leases', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/withheld-addresses',
    {
      schema: {
        operationId: 'listWithheldAddresses',
        summary: 'List the addresses that are told to nobody, those first that will be told first',
        tags,
        querystring: WithheldQuery,
        response: {
          200: pageOf('withheld_addresses', ref(WithheldAddress)),
          ...problems('marker_invalid'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const { limit, marker, ...filter } = query
      const after = marker === undefined ? null : readMarker(marker, sortWithheld, [isTime, isId])
      const found = await listWithheld(db, filter, { limit, after, bound: boundTo(request) })
      const markerOf = (one: WithheldAddress) =>
        writeMarker(sortWithheld, [one.withheld_until, one.allocation_id])
      return toPage({ key: 'withheld_addresses', url, limit, markerOf }, found)
    },
  )

  app.delete(
    '/v2/withheld-addresses/:allocation_id',
    {
      schema: {
        operationId: 'endWithholding',
        summary: 'Let servers tell an address again, before its time',
        tags,
        params: Type.Object({ allocation_id: Id }),
        response: {
          204: Type.Null(),
          ...changeProblems('allocation_not_found', 'address_not_withheld'),
        },
      },
    },
    async ({ params: { allocation_id } }, reply) => {
      await once({ db, reply }, tx => endWithholding(tx, allocation_id))
      return reply.code(204).send(null)
    },
  )
}
