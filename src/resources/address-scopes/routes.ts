import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { readIfMatch } from '../../etags.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  isId,
  pageOf,
  problems,
  readMarker,
  ref,
  ScopeId,
  toPage,
  writeMarker,
} from '../../schema.ts'
import {
  AddressScope,
  AddressScopePatch,
  AddressScopeQuery,
  AddressScopeRequest,
} from './schema.ts'
import {
  createAddressScope,
  deleteAddressScope,
  getAddressScope,
  listAddressScopes,
  scopeIdOf,
  updateAddressScope,
} from './store.ts'

const params = Type.Object({ scope_id: ScopeId })
const tags = ['address scopes']

/** /v2/address-scopes: routing domains. */
export const addressScopeRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.post(
    '/v2/address-scopes',
    {
      schema: {
        operationId: 'createAddressScope',
        summary: 'Create a private address scope for a project',
        tags,
        body: ref(AddressScopeRequest),
        response: {
          201: ref(AddressScope),
          ...changeProblems('address_scope_name_taken', 'policy_not_found'),
        },
      },
    },
    async ({ body }, reply) => {
      const scope = await once({ db, reply }, tx => createAddressScope(tx, body))
      return reply.code(201).send(scope)
    },
  )

  app.get(
    '/v2/address-scopes',
    {
      schema: {
        operationId: 'listAddressScopes',
        summary: 'List address scopes',
        tags,
        querystring: AddressScopeQuery,
        response: {
          200: pageOf('address_scopes', ref(AddressScope)),
          ...problems('marker_invalid'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker } = query
      const after = marker === undefined ? null : (readMarker(marker, 'id', [isId])[0] ?? null)
      const found = await listAddressScopes(db, query, { limit, after, bound })
      const markerOf = ({ id }: AddressScope) => writeMarker('id', [id])
      return toPage({ key: 'address_scopes', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/address-scopes/:scope_id',
    {
      schema: {
        operationId: 'getAddressScope',
        summary: 'Show an address scope',
        tags,
        params,
        response: { 200: ref(AddressScope), ...problems('address_scope_not_found') },
      },
    },
    ({ params: { scope_id } }) => getAddressScope(db, scopeIdOf(scope_id)),
  )

  app.patch(
    '/v2/address-scopes/:scope_id',
    {
      schema: {
        operationId: 'updateAddressScope',
        summary: 'Change name, description or tags of an address scope',
        tags,
        params,
        body: ref(AddressScopePatch),
        response: {
          200: ref(AddressScope),
          ...changeProblems(
            'address_scope_not_found',
            'address_scope_built_in',
            'precondition_failed',
            'address_scope_name_taken',
            'policy_not_found',
          ),
        },
      },
    },
    ({ params: { scope_id }, headers, body }, reply) => {
      const target = { id: scopeIdOf(scope_id), expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateAddressScope(tx, target, body))
    },
  )

  app.delete(
    '/v2/address-scopes/:scope_id',
    {
      schema: {
        operationId: 'deleteAddressScope',
        summary: 'Delete an address scope that has no blocks',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems(
            'address_scope_not_found',
            'address_scope_built_in',
            'precondition_failed',
            'address_scope_not_empty',
          ),
        },
      },
    },
    async ({ params: { scope_id }, headers }, reply) => {
      const target = { id: scopeIdOf(scope_id), expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteAddressScope(tx, target))
      return reply.code(204).send(null)
    },
  )
}
