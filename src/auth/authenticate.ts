import type { FastifyRequest } from 'fastify'
import { IpamError } from '../errors.ts'
import type { Authority, Credentials } from './authority.ts'
import type { Caller } from './caller.ts'

/**
 * Lets a request pass that bears a valid token, and says in its `caller` who makes it. The first
 * authority that knows tokens of this form decides.
 *
 * @throws {IpamError} `authentication_required`, `identity_unavailable`
 */
export function createAuthenticator(authorities: readonly Authority[]) {
  return async (request: FastifyRequest): Promise<void> => {
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
      throw new IpamError('identity_unavailable', verdict.reason)
    }
    throw new IpamError('authentication_required', verdict?.reason ?? 'The token is not valid.')
  }
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
  const service = headers['x-service-token']
  return { token, serviceToken: typeof service === 'string' ? service : undefined, method, url }
}

function tokenOf({ headers }: FastifyRequest): string | undefined {
  const token = headers['x-auth-token']
  if (typeof token === 'string' && token !== '') return token
  return /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
}
