import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import { callerOf } from '../../auth/authenticate.ts'
import type { Database } from '../../db/database.ts'
import { once } from '../../idempotency.ts'
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
import { CreatedToken, Token, TokenQuery, TokenRequest } from './schema.ts'
import { createToken, getToken, listTokens, revokeToken } from './store.ts'

const params = Type.Object({ token_id: Id })
const tags = ['tokens']

export type TokenRouteOptions = {
  readonly db: Database
  /** Whether a token of an admin is configured, so that none that is stored is ever the last one. */
  readonly hasConfiguredAdmin: boolean
  /** Told when a token was revoked. */
  readonly onRevoked: () => void
}

/** /v2/tokens: tokens of our own. What they may be used for never changes; they only end. */
export const tokenRoutes: FastifyPluginAsyncTypebox<TokenRouteOptions> = async (
  app,
  { db, hasConfiguredAdmin, onRevoked },
) => {
  app.post(
    '/v2/tokens',
    {
      schema: {
        operationId: 'createToken',
        summary: 'Create a token for a project or the system; its secret is told once',
        tags,
        body: ref(TokenRequest),
        response: { 201: ref(CreatedToken), ...changeProblems('token_exceeds_caller') },
      },
    },
    async (request, reply) => {
      // Not a part of the result, which is stored with the key of the request.
      let secret: string | null = null
      const token = await once({ db, reply }, async tx => {
        const made = await createToken(tx, request.body, callerOf(request))
        secret = made.secret
        return made.token
      })
      reply.header('cache-control', 'no-store').header('location', `/v2/tokens/${token.id}`)
      return reply.code(201).send({ ...token, secret })
    },
  )

  app.get(
    '/v2/tokens',
    {
      schema: {
        operationId: 'listTokens',
        summary: 'List tokens, those in force unless asked for others',
        tags,
        querystring: TokenQuery,
        response: { 200: pageOf('tokens', ref(Token)), ...problems('marker_invalid') },
      },
    },
    async request => {
      const { query, url } = request
      const bound = boundTo(request)
      const { limit, marker, ...filter } = query
      const [after = null] = marker === undefined ? [] : readMarker(marker, 'id', [isId])
      const found = await listTokens(db, filter, { limit, after, bound })
      const markerOf = ({ id }: Token) => writeMarker('id', [id])
      return toPage({ key: 'tokens', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/tokens/:token_id',
    {
      schema: {
        operationId: 'getToken',
        summary: 'Show a token, in force or ended',
        tags,
        params,
        response: { 200: ref(Token), ...problems('token_not_found') },
      },
    },
    ({ params: { token_id } }) => getToken(db, token_id),
  )

  app.delete(
    '/v2/tokens/:token_id',
    {
      schema: {
        operationId: 'revokeToken',
        summary: 'Revoke a token; that it was there is remembered for a while',
        tags,
        params,
        response: {
          200: ref(Token),
          ...changeProblems('token_not_found', 'last_admin_token'),
        },
      },
    },
    async ({ params: { token_id } }, reply) => {
      const token = await once({ db, reply }, tx =>
        revokeToken(tx, token_id, { mayBeLast: hasConfiguredAdmin }),
      )
      onRevoked()
      return token
    },
  )
}
