import { Type } from 'typebox'
import type { Bound } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import { type FilterOf, Nullable } from '../../schema.ts'
import { appendEvents, type EventType, type NewEvent } from '../events/store.ts'
import { Grant, type GrantPatch, type GrantQuery, GrantUsage, type NewGrant } from './schema.ts'

const columns = sql`
  id, block_id, network_id, owner_project_id, project_id, allocations_max, description, tags,
  generation, created_at, updated_at`

const notFound = (id: string) => new IpamError('grant_not_found', `There is no grant ${id}.`)

/** A grant that is in force. @throws {IpamError} `grant_not_found` */
export async function getGrant(db: Database, id: string): Promise<Grant> {
  const [grant] = await rows(db, Grant)`
    select ${columns} from grants where id = ${id} and revoked_at is null`
  if (!grant) throw notFound(id)
  return grant
}

export type GrantPage = {
  readonly limit: number
  readonly after: string | null
  readonly bound: Bound
}

/** Grants in force that the project has given or got, in the order of their ids; one more than a page. */
export function listGrants(
  db: Database,
  { block_id, network_id, project_id, tag }: FilterOf<GrantQuery>,
  { limit, after, bound }: GrantPage,
): Promise<Grant[]> {
  const conditions: Sql[] = [
    sql`revoked_at is null`,
    ...(bound.kind === 'project' ? [concerns(bound)] : []),
    ...(block_id ? [sql`block_id = ${block_id}`] : []),
    ...(network_id ? [sql`network_id = ${network_id}`] : []),
    ...(project_id ? [sql`(project_id = ${project_id} or project_id is null)`] : []),
    ...(tag ? [sql`tags @> ${tag}`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, Grant)`
    select ${columns} from grants where ${allOf(conditions)} order by id limit ${limit + 1}`
}

function concerns({ project_id, isShared }: Extract<Bound, { kind: 'project' }>): Sql {
  const given = isShared
    ? sql`owner_project_id = ${project_id} or owner_project_id is null`
    : sql`owner_project_id = ${project_id}`
  return sql`(${given} or project_id = ${project_id}
    or project_id is null and ${project_id}::text is not null)`
}

export type UsagePage = {
  readonly limit: number
  readonly after: string | null
  /** Whose use is told; of all projects if it is null. */
  readonly project_id: string | null
}

/** What projects hold of the place of a grant, under whichever grants; one more than a page. */
export async function listGrantUsage(
  db: Database,
  grant: Grant,
  { limit, after, project_id }: UsagePage,
): Promise<GrantUsage[]> {
  const conditions: Sql[] = [
    ...(grant.block_id
      ? [sql`block_id = ${grant.block_id}`]
      : [sql`network_id = ${grant.network_id}`]),
    ...(grant.project_id === null ? [] : [sql`project_id = ${grant.project_id}`]),
    ...(project_id === null ? [] : [sql`project_id = ${project_id}`]),
    ...(after === null ? [] : [sql`project_id > ${after}`]),
  ]
  return rows(db, GrantUsage)`
    select project_id, held from grant_usage
    where held > 0 and ${allOf(conditions)} order by project_id limit ${limit + 1}`
}

const Place = Type.Object({ project_id: Nullable(Type.String()) })

/**
 * Lets a project, or every one, take addresses of a block or a network.
 *
 * @throws {IpamError} `invalid_request`, `block_not_found`, `network_not_found`, `grant_exists`
 */
export function createGrant(db: Database, request: NewGrant): Promise<Grant> {
  const { project_id, allocations_max = null, description = '', tags = [] } = request
  const block_id = request.block_id?.toLowerCase() ?? null
  const network_id = request.network_id?.toLowerCase() ?? null
  if ((block_id === null) === (network_id === null)) {
    const detail = 'block_id: name either a block or, as network_id, a network'
    throw new IpamError('invalid_request', detail, { field: 'block_id' })
  }
  return retryTransaction(db, async tx => {
    const [place] = block_id
      ? await rows(tx, Place)`select project_id from blocks where id = ${block_id} for key share`
      : await rows(tx, Place)`
          select project_id from networks where id = ${network_id} for key share`
    if (!place) {
      const field = block_id ? 'block_id' : 'network_id'
      const [code, kind] = block_id
        ? (['block_not_found', 'block'] as const)
        : (['network_not_found', 'network'] as const)
      throw new IpamError(code, `There is no ${kind} ${block_id ?? network_id}.`, { field })
    }
    if (place.project_id !== null && place.project_id === project_id) {
      const detail = 'project_id: has it already, for it is the owner'
      throw new IpamError('invalid_request', detail, { field: 'project_id' })
    }
    const [grant] = await rows(tx, Grant)`
      insert into grants (id, block_id, network_id, owner_project_id, project_id, allocations_max,
        description, tags)
      values (${newId()}, ${block_id}, ${network_id}, ${place.project_id}, ${project_id},
        ${allocations_max}, ${description}, ${tags})
      on conflict (block_id, network_id, project_id) where revoked_at is null do nothing
      returning ${columns}`
    if (!grant) throw await existing(tx, { block_id, network_id, project_id })
    await appendEvents(tx, [eventOf('grant.created', grant)])
    return grant
  })
}

async function existing(
  tx: Database,
  { block_id, network_id, project_id }: Pick<Grant, 'block_id' | 'network_id' | 'project_id'>,
): Promise<IpamError> {
  const [grant] = await rows(tx, Grant)`
    select ${columns} from grants where revoked_at is null
      and block_id is not distinct from ${block_id}::uuid
      and network_id is not distinct from ${network_id}::uuid
      and project_id is not distinct from ${project_id}::text`
  const whom = project_id === null ? 'Every project' : `Project ${project_id}`
  return new IpamError('grant_exists', `${whom} has grant ${grant?.id} already.`)
}

/**
 * Changes a grant. A smaller limit takes nothing from who holds more.
 *
 * @throws {IpamError} `grant_not_found`, `precondition_failed`
 */
export function updateGrant(db: Database, target: Target, patch: GrantPatch): Promise<Grant> {
  return retryTransaction(db, async tx => {
    const before = await lockGrant(tx, target)
    const { allocations_max, description, tags } = { ...before, ...patch }
    const [grant] = await rows(tx, Grant)`
      update grants set allocations_max = ${allocations_max}, description = ${description},
        tags = ${tags}, generation = generation + 1, updated_at = clock_timestamp()
      where id = ${before.id} returning ${columns}`
    if (!grant) throw notFound(before.id)
    await appendEvents(tx, [eventOf('grant.updated', grant)])
    return grant
  })
}

/**
 * Revokes a grant: what is held under it stays, and nothing more is taken (I15).
 *
 * @throws {IpamError} `grant_not_found`, `precondition_failed`
 */
export function revokeGrant(db: Database, target: Target): Promise<void> {
  return retryTransaction(db, async tx => {
    const grant = await lockGrant(tx, target)
    await tx.query(sql`
      update grants set revoked_at = clock_timestamp(), generation = generation + 1
      where id = ${grant.id}`)
    await appendEvents(tx, [eventOf('grant.deleted', grant)])
  })
}

/** Waits for whoever takes addresses under the grant. */
async function lockGrant(tx: Database, { id, expected }: Target): Promise<Grant> {
  const [grant] = await rows(tx, Grant)`
    select ${columns} from grants where id = ${id} and revoked_at is null for no key update`
  if (!grant) throw notFound(id)
  refuseUnexpected(grant, expected)
  return grant
}

const Gone = Type.Object({ ...Grant.properties, is_in_force: Type.Boolean() })

/** Deletes the grants of a block or network that is to be deleted; returns the events to write. */
export async function deleteGrantsOf(
  tx: Database,
  place: { readonly block_id: string } | { readonly network_id: string },
): Promise<NewEvent[]> {
  const of =
    'block_id' in place ? sql`block_id = ${place.block_id}` : sql`network_id = ${place.network_id}`
  const gone = await rows(tx, Gone)`
    delete from grants where ${of} returning ${columns}, revoked_at is null as is_in_force`
  return gone
    .filter(({ is_in_force }) => is_in_force)
    .map(({ is_in_force: _, ...grant }) => eventOf('grant.deleted', grant))
}

const eventOf = (type: EventType, data: Grant): NewEvent => {
  return { type, object_id: data.id, project_id: data.owner_project_id, data }
}
