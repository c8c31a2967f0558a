import { timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Database } from '../db/database.ts'
import { IpamError } from '../errors.ts'
import { hashToken, tokenExists } from './token-store.ts'

export type AuthOptions = {
  readonly db: Database
  /** A token that is configured; it is held in memory only. */
  readonly admin_token: string | undefined
  /** How long an answer about a token is remembered. */
  readonly cache_seconds: number
  readonly cache_max: number
}

/** In whose name requests are made: today whoever has a token is the admin. */
const admin = 'admin'

/**
 * Lets a request pass that bears a valid token, and says in its `caller` who makes it. Whether a stored token is valid is asked of the
 * database once in `cache_seconds`; what is remembered is bounded, and never the token itself.
 *
 * @throws {IpamError} `authentication_required`
 */
export function createAuthenticator({ db, admin_token, cache_seconds, cache_max }: AuthOptions) {
  const configured = admin_token === undefined ? null : hashToken(admin_token)
  const known = new Map<string, { valid: Promise<boolean>; until: number }>()

  function isStored(hash: Buffer): Promise<boolean> {
    const key = hash.toString('base64')
    const now = Date.now()
    const found = known.get(key)
    if (found && found.until > now) return found.valid
    if (known.size >= cache_max) known.clear()
    const valid = tokenExists(db, hash)
    known.set(key, { valid, until: now + cache_seconds * 1000 })
    valid.catch(() => known.delete(key)) // A database that is away says nothing about a token.
    return valid
  }

  return async (request: FastifyRequest): Promise<void> => {
    const token = tokenOf(request)
    if (token === undefined) {
      throw new IpamError('authentication_required', 'The request has no token.')
    }
    const hash = hashToken(token)
    const isValid = (configured && timingSafeEqual(hash, configured)) || (await isStored(hash))
    if (!isValid) throw new IpamError('authentication_required', 'The token is not valid.')
    request.setDecorator<string>('caller', admin)
  }
}

function tokenOf({ headers }: FastifyRequest): string | undefined {
  const token = headers['x-auth-token']
  if (typeof token === 'string' && token !== '') return token
  return /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
}
