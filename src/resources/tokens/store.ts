import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import type { Caller } from '../../auth/caller.ts'
import { hashToken, newToken, prefixOf } from '../../auth/token-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { newId } from '../../ids.ts'
import type { FilterOf } from '../../schema.ts'
import { appendEvents, type NewEvent } from '../events/store.ts'
import { excessOf, type Grant } from './rules.ts'
import { Token, type TokenQuery, type TokenRequest } from './schema.ts'

const columns = sql`
  id, name, description, prefix, project_id, system_scope, roles, created_by, created_at,
  expires_at, revoked_at, last_used_at`
const inForce = sql`
  revoked_at is null and (expires_at is null or expires_at > clock_timestamp())`
const ofSystemAdmin = sql`
  system_scope = 'all' and exists (select from unnest(roles) r where lower(r) = 'admin')`

const notFound = (id: string) => new IpamError('token_not_found', `There is no token ${id}.`)

/** A token, in force or ended. @throws {IpamError} `token_not_found` */
export async function getToken(db: Database, id: string): Promise<Token> {
  const [token] = await rows(db, Token)`select ${columns} from tokens where id = ${id}`
  if (!token) throw notFound(id)
  return token
}

/** In the order of their ids; one more than a page holds. */
export function listTokens(
  db: Database,
  filter: FilterOf<TokenQuery>,
  {
    limit,
    after,
    bound,
  }: { readonly limit: number; readonly after: string | null; readonly bound: Bound },
): Promise<Token[]> {
  const { project_id, system_scope, name, prefix, created_by, state = 'active' } = filter
  const conditions: Sql[] = [
    ...boundedTo(bound),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(system_scope ? [sql`system_scope = ${system_scope}`] : []),
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(prefix ? [sql`prefix = ${prefix}`] : []),
    ...(created_by ? [sql`created_by = ${created_by}`] : []),
    ...(state === 'active' ? [sql`(${inForce})`] : []),
    ...(state === 'ended' ? [sql`not (${inForce})`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, Token)`
    select ${columns} from tokens where ${allOf(conditions)} order by id limit ${limit + 1}`
}

/** A token with what is told of it just once. */
export type NewToken = { readonly token: Token; readonly secret: string }

/**
 * Makes a token in the name of somebody, or of whoever has the database (null), who may do all.
 *
 * @throws {IpamError} `token_exceeds_caller`, `invalid_request`
 */
export function createToken(
  db: Database,
  request: TokenRequest,
  creator: Caller | null,
): Promise<NewToken> {
  const grant = readGrant(request)
  const excess = creator && excessOf(grant, creator)
  if (excess) {
    const detail = `The ${excess} of the token is not one that ${creator.user_id} has.`
    const field = excess === 'scope' ? 'project_id' : 'roles'
    throw new IpamError('token_exceeds_caller', detail, { field })
  }
  const { name, description = '', lifetime_seconds = null } = request
  return retryTransaction(db, async tx => {
    const made = await insertToken(tx, {
      ...{ ...grant, name, description, lifetime_seconds },
      created_by: creator?.user_id ?? null,
      is_built_in: false,
    })
    if (!made) throw new Error('a token that was made did not come back')
    await appendEvents(tx, [eventOf('token.created', made.token)])
    return made
  })
}

function readGrant({ project_id = null, system_scope = null, roles }: TokenRequest): Grant {
  if ((project_id === null) === (system_scope === null)) {
    const detail = 'project_id: must be given, or else system_scope, and not both'
    throw new IpamError('invalid_request', detail, { field: 'project_id' })
  }
  return { project_id, system_scope, roles }
}

type Wanted = Grant &
  Pick<Token, 'name' | 'description' | 'created_by'> & {
    readonly lifetime_seconds: number | null
    readonly is_built_in: boolean
  }

/** Null if there is a built-in one in force already. */
async function insertToken(tx: Database, wanted: Wanted): Promise<NewToken | null> {
  const { name, description, project_id, system_scope, roles, created_by } = wanted
  const secret = newToken()
  const [token] = await rows(tx, Token)`
    insert into tokens (id, name, description, prefix, hash, project_id, system_scope, roles,
      is_built_in, created_by, expires_at)
    values (${newId()}, ${name}, ${description}, ${prefixOf(secret)}, ${hashToken(secret)},
      ${project_id}, ${system_scope}, ${roles}, ${wanted.is_built_in}, ${created_by},
      clock_timestamp() + make_interval(secs => ${wanted.lifetime_seconds}::float8))
    on conflict (is_built_in) where is_built_in and revoked_at is null do nothing
    returning ${columns}`
  return token ? { token, secret } : null
}

/**
 * Ends a token; one that has been revoked stays as it is. The last one of an admin of the system can
 * be refused: nobody could make another over the API.
 *
 * @throws {IpamError} `token_not_found`, `last_admin_token`
 */
export function revokeToken(
  db: Database,
  id: string,
  { mayBeLast }: { readonly mayBeLast: boolean },
): Promise<Token> {
  return retryTransaction(db, async tx => {
    // All tokens of admins at once: of two that are revoked at a time the second sees the first.
    const locked = await rows(tx, Token)`
      select ${columns} from tokens where id = ${id} or ${ofSystemAdmin} and ${inForce}
      order by id for update`
    const before = locked.find(token => token.id === id.toLowerCase())
    if (!before) throw notFound(id)
    if (before.revoked_at !== null) return before
    const [{ is_last } = { is_last: false }] = await rows(tx, IsLast)`
      select bool_or(id = ${id}) and count(*) = 1 as is_last
      from tokens where ${ofSystemAdmin} and ${inForce}`
    if (is_last && !mayBeLast) throw new IpamError('last_admin_token')
    const [token] = await rows(tx, Token)`
      update tokens set revoked_at = clock_timestamp() where id = ${id} returning ${columns}`
    if (!token) throw notFound(id)
    await appendEvents(tx, [eventOf('token.revoked', token)])
    return token
  })
}

const eventOf = (type: 'token.created' | 'token.revoked', token: Token): NewEvent => ({
  type,
  object_id: token.id,
  project_id: token.project_id,
  data: token,
})

const IsLast = Type.Object({ is_last: Type.Union([Type.Boolean(), Type.Null()]) })

const adminToken: Wanted = {
  name: 'admin',
  description: '',
  project_id: null,
  system_scope: 'all',
  roles: ['admin'],
  created_by: null,
  lifetime_seconds: null,
  is_built_in: true,
}

/** Makes the admin token of the first start; null if there ever was one. Only its hash is kept. */
export function createAdminToken(db: Database): Promise<string | null> {
  return retryTransaction(db, async tx => {
    const [known] = await rows(tx, Found)`select id from tokens where is_built_in limit 1`
    const made = known ? null : await insertToken(tx, adminToken)
    if (made) await appendEvents(tx, [eventOf('token.created', made.token)])
    return made?.secret ?? null
  })
}

/** Makes an admin token, and revokes the one that was made so before. */
export function resetAdminToken(db: Database): Promise<string> {
  return retryTransaction(db, async tx => {
    await tx.query(sql`lock table tokens in share row exclusive mode`)
    const revoked = await rows(tx, Token)`
      update tokens set revoked_at = clock_timestamp()
      where is_built_in and revoked_at is null returning ${columns}`
    const made = await insertToken(tx, adminToken)
    if (!made) throw new Error('a token that was made did not come back')
    await appendEvents(tx, [
      ...revoked.map(token => eventOf('token.revoked', token)),
      eventOf('token.created', made.token),
    ])
    return made.secret
  })
}

const Found = Type.Object({ id: Type.String() })

/** Removes at most `limit` tokens that ended more than `days` ago; tells how many. */
export async function removeOldTokens(
  db: Database,
  { days, limit }: { readonly days: number; readonly limit: number },
): Promise<number> {
  const removed = await rows(db, Found)`
    delete from tokens where id in (
      select id from tokens
      where least(revoked_at, expires_at) < now() - make_interval(days => ${days})
        and not is_built_in
      limit ${limit})
    returning id`
  return removed.length
}
