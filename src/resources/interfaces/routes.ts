import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import { grantsNeededBy } from '../../access/sources.ts'
import type { Database } from '../../db/database.ts'
import { readIfMatch } from '../../etags.ts'
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
import { macRefusals } from '../macs/routes.ts'
import {
  Interface,
  InterfaceAddressRequest,
  InterfacePatch,
  InterfacePeriod,
  InterfacePeriodQuery,
  InterfaceQuery,
  InterfaceRequest,
} from './schema.ts'
import {
  addAddresses,
  createInterface,
  deleteInterface,
  getInterface,
  listInterfacePeriods,
  listInterfaces,
  removeAddress,
  updateInterface,
} from './store.ts'

const params = Type.Object({ interface_id: Id })
const addressParams = Type.Object({ interface_id: Id, allocation_id: Id })
const tags = ['interfaces']

/** Why an interface may not get an address. */
const addressRefusals = [
  'network_not_found',
  'network_full',
  'no_subnet',
  'generator_needs_input',
  'quota_exceeded',
  'address_quarantined',
  'address_taken',
  'address_excluded',
  'address_outside_block',
] as const
/** Why an interface may not be created. */
export const interfaceRefusals = [
  'interface_exists',
  'client_id_taken',
  'duid_taken',
  ...macRefusals,
  ...addressRefusals,
] as const

/** /v2/interfaces: virtual NICs, each with its MAC and its addresses. */
export const interfaceRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.post(
    '/v2/interfaces',
    {
      schema: {
        operationId: 'createInterface',
        summary: 'Create an interface with its MAC and its addresses, all of it or nothing',
        tags,
        body: ref(InterfaceRequest),
        response: { 201: ref(Interface), ...changeProblems(...interfaceRefusals) },
      },
    },
    async (request, reply) => {
      const underGrants = grantsNeededBy(request)
      const created = await once({ db, reply }, tx =>
        createInterface(tx, request.body, underGrants),
      )
      return reply.code(201).header('location', `/v2/interfaces/${created.id}`).send(created)
    },
  )

  app.get(
    '/v2/interfaces',
    {
      schema: {
        operationId: 'listInterfaces',
        summary: 'List interfaces, of a device, with a MAC or with an address',
        tags,
        querystring: InterfaceQuery,
        response: { 200: pageOf('interfaces', ref(Interface)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const after = marker === undefined ? null : (readMarker(marker, 'id', [isId])[0] ?? null)
      const found = await listInterfaces(db, filter, { limit, after, bound })
      const markerOf = ({ id }: Interface) => writeMarker('id', [id])
      return toPage({ key: 'interfaces', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/interface-history',
    {
      schema: {
        operationId: 'listInterfacePeriods',
        summary: 'Find at which devices interfaces are and were, and with which MAC',
        tags,
        querystring: InterfacePeriodQuery,
        response: { 200: pageOf('periods', ref(InterfacePeriod)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, at, ...filter } = query
      const after = marker === undefined ? null : readMarker(marker, 'time', [isTime, isId])
      const when = at === undefined ? undefined : readTime(at, 'at')
      const found = await listInterfacePeriods(db, { ...filter, at: when }, { limit, after, bound })
      const markerOf = (one: InterfacePeriod) =>
        writeMarker('time', [one.started_at, one.interface_id])
      return toPage({ key: 'periods', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/interfaces/:interface_id',
    {
      schema: {
        operationId: 'getInterface',
        summary: 'Show an interface',
        tags,
        params,
        response: { 200: ref(Interface), ...problems('interface_not_found') },
      },
    },
    ({ params: { interface_id } }) => getInterface(db, interface_id),
  )

  app.patch(
    '/v2/interfaces/:interface_id',
    {
      schema: {
        operationId: 'updateInterface',
        summary:
          'Change an interface, but for its MAC and its addresses, or bring it to another device',
        tags,
        params,
        body: ref(InterfacePatch),
        response: {
          200: ref(Interface),
          ...changeProblems(
            'interface_not_found',
            'precondition_failed',
            'client_id_taken',
            'duid_taken',
          ),
        },
      },
    },
    ({ params: { interface_id }, body, headers }, reply) => {
      const target = { id: interface_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateInterface(tx, target, body))
    },
  )

  app.delete(
    '/v2/interfaces/:interface_id',
    {
      schema: {
        operationId: 'deleteInterface',
        summary: 'Delete an interface, and release its MAC and its addresses',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems('interface_not_found', 'too_many_allocations', 'precondition_failed'),
        },
      },
    },
    async ({ params: { interface_id }, headers }, reply) => {
      const target = { id: interface_id, expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteInterface(tx, target))
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/v2/interfaces/:interface_id/addresses',
    {
      schema: {
        operationId: 'createInterfaceAddresses',
        summary: 'Give an interface more addresses of its network, all or none',
        tags,
        params,
        body: ref(InterfaceAddressRequest),
        response: {
          201: ref(Interface),
          ...changeProblems(
            'interface_not_found',
            'interface_without_network',
            'precondition_failed',
            ...addressRefusals,
          ),
        },
      },
    },
    async (request, reply) => {
      const { params, body, headers } = request
      const target = { id: params.interface_id, expected: readIfMatch(headers) }
      const underGrants = grantsNeededBy(request)
      const changed = await once({ db, reply }, tx => addAddresses(tx, target, body, underGrants))
      return reply.code(201).send(changed)
    },
  )

  app.delete(
    '/v2/interfaces/:interface_id/addresses/:allocation_id',
    {
      schema: {
        operationId: 'releaseInterfaceAddress',
        summary: 'Take an address from an interface',
        tags,
        params: addressParams,
        response: {
          200: ref(Interface),
          ...changeProblems('interface_not_found', 'allocation_not_found', 'precondition_failed'),
        },
      },
    },
    ({ params: { interface_id, allocation_id }, headers }, reply) => {
      const target = { id: interface_id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => removeAddress(tx, target, allocation_id))
    },
  )
}
