import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { readIfMatch } from '../../etags.ts'
import { readTime } from '../../fields.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  closed,
  Id,
  isId,
  isTime,
  PageQuery,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import {
  createAllowedAddress,
  deleteAllowedAddress,
  getAllowedAddress,
  listAllowedAddresses,
  listAllowedPeriods,
  updateAllowedAddress,
} from './allowed-store.ts'
import {
  AllowedAddress,
  AllowedAddressPatch,
  AllowedAddressQuery,
  AllowedAddressRequest,
  AllowedPeriod,
  AllowedPeriodQuery,
} from './schema.ts'
import { getInterface } from './store.ts'

const ofInterface = Type.Object({ interface_id: Id })
const params = Type.Object({ interface_id: Id, allowed_id: Id })
const tags = ['allowed-addresses']
const afterOf = (marker: string | undefined) =>
  marker === undefined ? null : (readMarker(marker, 'id', [isId])[0] ?? null)
const markerOf = ({ id }: AllowedAddress) => writeMarker('id', [id])

/** What interfaces may use beside their own addresses: VIPs, VRRP pairs, prefixes behind them. */
export const allowedRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.get(
    '/v2/allowed-addresses',
    {
      schema: {
        operationId: 'listAllowedAddresses',
        summary: 'Find which interfaces may use an address beside their own, and in which role',
        tags,
        querystring: AllowedAddressQuery,
        response: {
          200: pageOf('allowed_addresses', ref(AllowedAddress)),
          ...problems('marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const found = await listAllowedAddresses(db, filter, { limit, after: afterOf(marker), bound })
      return toPage({ key: 'allowed_addresses', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/allowed-address-history',
    {
      schema: {
        operationId: 'listAllowedPeriods',
        summary: 'Find who may use an address beside its own and who might, and when',
        tags,
        querystring: AllowedPeriodQuery,
        response: {
          200: pageOf('periods', ref(AllowedPeriod)),
          ...problems('marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const { limit, marker, at, ...filter } = query
      const after = marker === undefined ? null : readMarker(marker, 'time', [isTime, isId])
      const when = at === undefined ? undefined : readTime(at, 'at')
      const page = { limit, after, bound: boundTo(request) }
      const found = await listAllowedPeriods(db, { ...filter, at: when }, page)
      const markerOf = (one: AllowedPeriod) =>
        writeMarker('time', [one.started_at, one.allowed_address_id])
      return toPage({ key: 'periods', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/interfaces/:interface_id/allowed-addresses',
    {
      schema: {
        operationId: 'listAllowedAddressesOfInterface',
        summary: 'List what an interface may use beside its own addresses',
        tags,
        params: ofInterface,
        querystring: closed(PageQuery),
        response: {
          200: pageOf('allowed_addresses', ref(AllowedAddress)),
          ...problems('interface_not_found', 'marker_invalid'),
        },
      },
    },
    async request => {
      const {
        params: { interface_id },
        query: { limit, marker },
        url,
      } = request
      const bound = boundTo(request)
      await getInterface(db, interface_id)
      const after = afterOf(marker)
      const found = await listAllowedAddresses(db, { interface_id }, { limit, after, bound })
      return toPage({ key: 'allowed_addresses', url, limit, markerOf }, found)
    },
  )

  app.post(
    '/v2/interfaces/:interface_id/allowed-addresses',
    {
      schema: {
        operationId: 'createAllowedAddress',
        summary: 'Allow an interface an address or a prefix beside its own',
        tags,
        params: ofInterface,
        body: ref(AllowedAddressRequest),
        response: {
          201: ref(AllowedAddress),
          ...changeProblems(
            'interface_not_found',
            'interface_without_network',
            'allowed_address_exists',
            'allowed_address_taken',
            'primary_taken',
            'cidr_has_host_bits',
          ),
        },
      },
    },
    async ({ params: { interface_id }, body }, reply) => {
      const allowed = await once({ db, reply }, tx => createAllowedAddress(tx, interface_id, body))
      const location = `/v2/interfaces/${allowed.interface_id}/allowed-addresses/${allowed.id}`
      return reply.code(201).header('location', location).send(allowed)
    },
  )

  app.get(
    '/v2/interfaces/:interface_id/allowed-addresses/:allowed_id',
    {
      schema: {
        operationId: 'getAllowedAddress',
        summary: 'Show what an interface may use',
        tags,
        params,
        response: {
          200: ref(AllowedAddress),
          ...problems('interface_not_found', 'allowed_address_not_found'),
        },
      },
    },
    ({ params: { interface_id, allowed_id: id } }) => getAllowedAddress(db, { id, interface_id }),
  )

  app.patch(
    '/v2/interfaces/:interface_id/allowed-addresses/:allowed_id',
    {
      schema: {
        operationId: 'updateAllowedAddress',
        summary: 'Change the role in which an interface has a shared address',
        tags,
        params,
        body: ref(AllowedAddressPatch),
        response: {
          200: ref(AllowedAddress),
          ...changeProblems(
            'interface_not_found',
            'allowed_address_not_found',
            'allowed_address_taken',
            'primary_taken',
            'precondition_failed',
          ),
        },
      },
    },
    ({ params: { interface_id, allowed_id: id }, body, headers }, reply) => {
      const target = { id, interface_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateAllowedAddress(tx, target, body))
    },
  )

  app.delete(
    '/v2/interfaces/:interface_id/allowed-addresses/:allowed_id',
    {
      schema: {
        operationId: 'deleteAllowedAddress',
        summary: 'Allow an interface an address no longer',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems(
            'interface_not_found',
            'allowed_address_not_found',
            'precondition_failed',
          ),
        },
      },
    },
    async ({ params: { interface_id, allowed_id: id }, headers }, reply) => {
      const target = { id, interface_id, expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteAllowedAddress(tx, target))
      return reply.code(204).send(null)
    },
  )
}
