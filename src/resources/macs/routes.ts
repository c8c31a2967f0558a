import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import { doneByOf } from '../../audit-trail/done-by.ts'
import type { Database } from '../../db/database.ts'
import { readTime } from '../../fields.ts'
import { keyOf, markRepeated, once } from '../../idempotency.ts'
import {
  changeProblems,
  Id,
  isId,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { type MacAllocator, readWantedMac, releaseMac } from './allocator-store.ts'
import { Mac, MacQuery, MacRequest } from './schema.ts'
import { getMac, listMacs } from './store.ts'

const params = Type.Object({ mac_id: Id })
const tags = ['macs']

/** Why a MAC may be refused. */
export const macRefusals = [
  'network_not_found',
  'mac_range_not_found',
  'mac_range_full',
  'no_mac_range',
  'mac_needs_network',
  'mac_outside_range',
  'mac_forbidden',
  'mac_taken',
  'mac_waits',
] as const

/** /v2/macs: who has which MAC address, and who had it. */
export const macRoutes: FastifyPluginAsyncTypebox<{ db: Database; macs: MacAllocator }> = async (
  app,
  { db, macs },
) => {
  app.post(
    '/v2/macs',
    {
      schema: {
        operationId: 'createMac',
        summary: 'Take a MAC address: this one, one of a range, or one of any range',
        tags,
        body: ref(MacRequest),
        response: { 201: ref(Mac), ...changeProblems(...macRefusals) },
      },
    },
    async (request, reply) => {
      const idempotency = keyOf(request) ?? undefined
      const { mac, isRepeated } = await macs.take({
        ...readWantedMac(request.body),
        idempotency,
        done_by: doneByOf(request),
      })
      if (isRepeated) markRepeated(reply)
      return reply.code(201).header('location', `/v2/macs/${mac.id}`).send(mac)
    },
  )

  app.get(
    '/v2/macs',
    {
      schema: {
        operationId: 'listMacs',
        summary: 'Find who has a MAC address, or had it',
        tags,
        querystring: MacQuery,
        response: { 200: pageOf('macs', ref(Mac)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, at, ...filter } = query
      const after = marker === undefined ? null : (readMarker(marker, 'id', [isId])[0] ?? null)
      const when = at === undefined ? undefined : readTime(at, 'at')
      const found = await listMacs(db, { ...filter, at: when }, { limit, after, bound })
      const markerOf = ({ id }: Mac) => writeMarker('id', [id])
      return toPage({ key: 'macs', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/macs/:mac_id',
    {
      schema: {
        operationId: 'getMac',
        summary: 'Show a MAC address that somebody has or had',
        tags,
        params,
        response: { 200: ref(Mac), ...problems('mac_not_found') },
      },
    },
    ({ params: { mac_id } }) => getMac(db, mac_id),
  )

  app.delete(
    '/v2/macs/:mac_id',
    {
      schema: {
        operationId: 'releaseMac',
        summary: 'Release a MAC address that is no interface’s',
        tags,
        params,
        response: { 200: ref(Mac), ...changeProblems('mac_not_found', 'mac_in_use') },
      },
    },
    // To repeat a release changes nothing, so that only who sends a key pays for one.
    (request, reply) => {
      const { mac_id } = request.params
      return keyOf(request)
        ? once({ db, reply }, tx => releaseMac(tx, mac_id))
        : macs.release({ id: mac_id, done_by: doneByOf(request) })
    },
  )
}
