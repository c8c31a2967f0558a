import type { FastifyReply, FastifyRequest } from 'fastify'
import { IpamError } from '../errors.ts'
import type { Authority, Credentials } from './authority.ts'
import type { Caller } from './caller.ts'

/** Lets a request pass, or throws; what the answer to a refusal has to say in headers is set. */
export type Authenticate = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

/**
 * Lets a request pass that bears a valid token, and says in its `caller` who makes it. The first
 * authority that knows tokens of this form decides.
 *
 * @throws {IpamError} `authentication_required`, `identity_unavailable`
 */
export function createAuthenticator(authorities: readonly Authority[]): Authenticate {
  return async (request, reply) => {
    const token = tokenOf(request)
    if (token === undefined) {
      throw new IpamError('authentication_required', 'The request has no token.')
    }
    const verdict = await ask(authorities, credentialsOf(request, token))
    if (verdict?.kind === 'valid') {
      request.setDecorator<Caller>('caller', verdict.caller)
      return
    }
    if (verdict?.kind === 'unavailable') {
      reply.header('retry-after', String(verdict.retry_after_seconds ?? 1))
      throw new IpamError('identity_unavailable', verdict.reason)
    }
    throw new IpamError('authentication_required', verdict?.reason ?? 'The token is not valid.')
  }
}

/** Whether the token of a request was valid lately, as far as somebody remembers without asking. */
export const remembersToken =
  (authorities: readonly Authority[]) =>
  (request: FastifyRequest): boolean => {
    const token = tokenOf(request)
    return token !== undefined && authorities.some(one => one.remembers(token))
  }

/** In whose name a request is made. */
export const callerOf = (request: Pick<FastifyRequest, 'getDecorator'>): Caller =>
  request.getDecorator<Caller>('caller')

function ask(authorities: readonly Authority[], credentials: Credentials) {
  for (const authority of authorities) {
    const verdict = authority.validate(credentials)
    if (verdict) return verdict
  }
  return undefined
}

function credentialsOf({ headers, method, url }: FastifyRequest, token: string): Credentials {
  return { token, serviceToken: textOf(headers['x-service-token']), method, url }
}

/** The token of a request. X-Storage-Token is an old name of X-Auth-Token, which keystonemiddleware takes as well. */
export function tokenOf({ headers }: Pick<FastifyRequest, 'headers'>): string | undefined {
  return (
    textOf(headers['x-auth-token']) ??
    textOf(headers['x-storage-token']) ??
    /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  )
}

/** Blanks around a token mean nothing, and one of blanks alone is none. */
const textOf = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header.trim() || undefined : undefined
