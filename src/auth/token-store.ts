import { hash, randomBytes } from 'node:crypto'
import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import type { Caller } from './caller.ts'

const start = 'melange_'
const prefixLength = start.length + 6

/** Whether a text has the form of a token of ours: the prefix, and 256 random bits in base64url. */
export const isOwnToken = (token: string): boolean => /^melange_[\w-]{43}$/.test(token)

/** A new token. */
export const newToken = (): string => `${start}${randomBytes(32).toString('base64url')}`

/** Tokens are random, so a plain hash protects them: there is nothing to guess. */
export const hashToken = (token: string): Buffer => hash('sha256', token, 'buffer')

/** What may be shown of a token: the 220 bits that are left are still not to be guessed. */
export const prefixOf = (token: string): string => token.slice(0, prefixLength)

/** Whoever has the admin token, the configured one or that of the first start. */
export const admin: Caller = {
  authority: 'token',
  user_id: 'admin',
  user_name: 'admin',
  user_domain_id: null,
  project_id: null,
  domain_id: null,
  system_scope: 'all',
  project_domain_id: null,
  roles: ['admin'],
  service: null,
}

const Stored = Type.Object({
  id: Type.String(),
  name: Type.String(),
  is_built_in: Type.Boolean(),
  project_id: Type.Union([Type.String(), Type.Null()]),
  system_scope: Type.Union([Type.Literal('all'), Type.Null()]),
  roles: Type.Array(Type.String()),
  seconds_left: Type.Union([Type.Number(), Type.Null()]),
})

/** A token in force. */
export type KnownToken = {
  readonly id: string
  readonly caller: Caller
  /** Until it expires; null if it does not. */
  readonly seconds_left: number | null
}

/** The token of this hash, if it is in force. */
export async function findToken(db: Database, hash: Buffer): Promise<KnownToken | null> {
  const [found] = await rows(db, Stored)`
    select id, name, is_built_in, project_id, system_scope, roles,
      extract(epoch from expires_at - clock_timestamp())::float8 as seconds_left
    from tokens
    where hash = ${hash} and revoked_at is null
      and (expires_at is null or expires_at > clock_timestamp())`
  if (!found) return null
  const { id, name, is_built_in, project_id, system_scope, roles, seconds_left } = found
  const user_id = is_built_in ? admin.user_id : id
  const caller = { ...admin, user_id, user_name: name, project_id, system_scope, roles }
  return { id, caller, seconds_left }
}

/**
 * Writes down when tokens were used last, to the minute; of tokens that somebody else changes at this
 * moment it does not.
 */
export async function noteUses(db: Database, uses: ReadonlyMap<string, Date>): Promise<void> {
  const ids = [...uses.keys()]
  const times = [...uses.values()].map(at => at.toISOString())
  await db.query(sql`
    update tokens t set last_used_at = u.at
    from (
      select id, date_trunc('minute', u.at) as at
      from unnest(${ids}::uuid[], ${times}::timestamptz[]) u (id, at)
        join (
          select id, last_used_at from tokens where id = any (${ids}::uuid[])
          for no key update skip locked
        ) unlocked using (id)
      where last_used_at is null or last_used_at < date_trunc('minute', u.at)
    ) u
    where t.id = u.id`)
}
