import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import { grantsNeededBy } from '../../access/sources.ts'
import type { Database } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { readIfMatch } from '../../etags.ts'
import { canonicalAddress, readTime } from '../../fields.ts'
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
import {
  AssociationQuery,
  FloatingIp,
  FloatingIpAssociation,
  FloatingIpPatch,
  FloatingIpQuery,
  FloatingIpRequest,
} from './schema.ts'
import {
  createFloatingIp,
  deleteFloatingIp,
  getFloatingIp,
  listAssociations,
  listFloatingIps,
  updateFloatingIp,
} from './store.ts'

const params = Type.Object({ floating_ip_id: Id })
const tags = ['floating IPs']

/** Why an association may be refused. */
const unfit = [
  'allocation_not_found',
  'allocation_ended',
  'hold_expired',
  'private_allocation_unfit',
  'private_allocation_associated',
] as const
/** Why the address may be refused. */
const refusals = [
  'floating_ip_exists',
  'block_not_public',
  'block_not_found',
  'network_not_found',
  'network_full',
  'no_subnet',
  'generator_needs_input',
  'quota_exceeded',
  'address_quarantined',
  'block_has_children',
  'block_full',
  'address_taken',
  'address_excluded',
  'address_outside_block',
] as const

/** /v2/floating-ips: public allocations that point at private ones. */
export const floatingIpRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.post(
    '/v2/floating-ips',
    {
      schema: {
        operationId: 'createFloatingIp',
        summary: 'Take a public address as a floating IP, which may point at something at once',
        tags,
        body: ref(FloatingIpRequest),
        response: { 201: ref(FloatingIp), ...changeProblems(...refusals, ...unfit) },
      },
    },
    async (request, reply) => {
      const wanted = readPlace(request.body)
      const needs_grant = grantsNeededBy(request).size > 0
      const created = await once({ db, reply }, tx => createFloatingIp(tx, wanted, { needs_grant }))
      return reply.code(201).header('location', `/v2/floating-ips/${created.id}`).send(created)
    },
  )

  app.get(
    '/v2/floating-ips',
    {
      schema: {
        operationId: 'listFloatingIps',
        summary: 'List floating IPs',
        tags,
        querystring: FloatingIpQuery,
        response: { 200: pageOf('floating_ips', ref(FloatingIp)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'id', [isId])
      const found = await listFloatingIps(
        db,
        { ...filter, ...readAddresses(filter) },
        { limit, after, bound },
      )
      const markerOf = ({ id }: FloatingIp) => writeMarker('id', [id])
      return toPage({ key: 'floating_ips', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/floating-ips/associations',
    {
      schema: {
        operationId: 'listFloatingIpAssociations',
        summary: 'List what floating IPs point at, and pointed at, in the order of time',
        tags,
        querystring: AssociationQuery,
        response: {
          200: pageOf('associations', ref(FloatingIpAssociation)),
          ...problems('marker_invalid'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, at, ...filter } = query
      const after = marker === undefined ? null : readMarker(marker, 'time', [isTime, isId])
      const time = at && readTime(at, 'at')
      const asked = { ...filter, ...readAddresses(filter), at: time }
      const found = await listAssociations(db, asked, { limit, after, bound })
      const markerOf = (one: FloatingIpAssociation) => writeMarker('time', [one.started_at, one.id])
      return toPage({ key: 'associations', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/floating-ips/:floating_ip_id',
    {
      schema: {
        operationId: 'getFloatingIp',
        summary: 'Show a floating IP',
        tags,
        params,
        response: { 200: ref(FloatingIp), ...problems('floating_ip_not_found') },
      },
    },
    ({ params: { floating_ip_id } }) => getFloatingIp(db, floating_ip_id),
  )

  app.patch(
    '/v2/floating-ips/:floating_ip_id',
    {
      schema: {
        operationId: 'updateFloatingIp',
        summary:
          'Let a floating IP point at something, at something else, or at nothing; or rename it',
        tags,
        params,
        body: ref(FloatingIpPatch),
        response: {
          200: ref(FloatingIp),
          ...changeProblems('floating_ip_not_found', 'precondition_failed', ...unfit),
        },
      },
    },
    ({ params: { floating_ip_id: id }, body, headers }, reply) => {
      const target = { id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateFloatingIp(tx, target, body))
    },
  )

  app.delete(
    '/v2/floating-ips/:floating_ip_id',
    {
      schema: {
        operationId: 'deleteFloatingIp',
        summary: 'Release the address of a floating IP, and forget what it points at',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems('floating_ip_not_found', 'precondition_failed'),
        },
      },
    },
    async ({ params: { floating_ip_id: id }, headers }, reply) => {
      const target = { id, expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteFloatingIp(tx, target))
      return reply.code(204).send(null)
    },
  )
}

/** @throws {IpamError} `invalid_request` */
function readPlace(body: FloatingIpRequest): FloatingIpRequest {
  const { block_id, network_id, address } = body
  const refuse = (detail: string): never => {
    throw new IpamError('invalid_request', `block_id: ${detail}`, { field: 'block_id' })
  }
  if (block_id !== undefined && network_id !== undefined) {
    refuse('name either a block or, as network_id, a network')
  }
  if (block_id === undefined && network_id === undefined && address === undefined) {
    refuse('name a block, a network or an address')
  }
  return address === undefined ? body : { ...body, ...readAddresses({ address }) }
}

type Addresses = {
  readonly address?: string | undefined
  readonly private_address?: string | undefined
}

function readAddresses({ address, private_address }: Addresses) {
  return {
    ...(address !== undefined && { address: canonicalAddress(address, 'address') }),
    ...(private_address !== undefined && {
      private_address: canonicalAddress(private_address, 'private_address'),
    }),
  }
}
