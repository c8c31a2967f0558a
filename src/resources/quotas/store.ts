import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { type Expected, refuseUnexpected } from '../../etags.ts'
import { newId } from '../../ids.ts'
import { type FilterOf, Nullable } from '../../schema.ts'
import { getAddressScope, lockAddressScope } from '../address-scopes/store.ts'
import { appendEvents } from '../events/store.ts'
import {
  defaultProject,
  Quota,
  QuotaCounts,
  type QuotaQuery,
  type QuotaRequest,
  ScopeQuota,
} from './schema.ts'
import { asDeleted, quotaColumns } from './scope-store.ts'

/** What limits are for: a project (null is every one without its own), in a scope or in all. */
export type QuotaPlace = { readonly project_id: string | null; readonly scope_id: string | null }
/** Limits that are to be changed, if they still are as the caller knows them. */
export type QuotaTarget = QuotaPlace & { readonly expected: Expected }

/** The project as requests name it. */
export const projectOf = (name: string): string | null => (name === defaultProject ? null : name)

const isAt = ({ project_id, scope_id }: QuotaPlace): Sql => sql`
  project_id is not distinct from ${project_id} and scope_id is not distinct from ${scope_id}`

/** The limits that are kept, in the order of their ids; one more than a page holds. */
export function listQuotas(
  db: Database,
  { project_id, scope_id }: FilterOf<QuotaQuery>,
  { limit, after, bound }: { limit: number; after: string | null; bound: Bound },
): Promise<Quota[]> {
  const conditions = [
    ...boundedTo(bound),
    ...(project_id === undefined
      ? []
      : [sql`project_id is not distinct from ${projectOf(project_id)}`]),
    ...(scope_id ? [sql`scope_id = ${scope_id}`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, Quota)`
    select ${quotaColumns} from quotas where ${allOf(conditions)} order by id limit ${limit + 1}`
}

/** Limit and use of one kind, as the API shows them. */
const counted = (project_id: string | null, kind: Sql, type: Sql): Sql => sql`json_build_object(
  'limit', coalesce(own.${kind}, common.${kind})::${type},
  'limit_from', case when own.${kind} is not null then 'own'
    when common.${kind} is not null then 'default' end,
  'used', case when ${project_id}::text is not null then coalesce(u.${kind}, 0) end::${type})`

/** What is in force for a project and what it uses, in each of some scopes, or in all (null). */
const countsOf = (project_id: string | null, scopes: Sql, more: Sql = sql``): Sql => sql`
  select s.scope_id, ${counted(project_id, sql`allocations`, sql`bigint`)} as allocations,
    ${counted(project_id, sql`ipv6_64s`, sql`text`)} as ipv6_64s,
    ${counted(project_id, sql`blocks`, sql`bigint`)} as blocks,
    ${counted(project_id, sql`floating_ips`, sql`bigint`)} as floating_ips, ${more}
    case when ${project_id}::text is null then common.generation else own.generation end
      as own_generation
  from (${scopes}) s
    left join quotas own
      on own.project_id = ${project_id} and own.scope_id is not distinct from s.scope_id
    left join quotas common
      on common.project_id is null and common.scope_id is not distinct from s.scope_id
    left join project_usage u
      on u.project_id = ${project_id} and u.scope_id is not distinct from s.scope_id`

/** What is in force for a project, and what it uses, in all address scopes together. */
export async function getQuotaCounts(db: Database, project_id: string | null) {
  const inAll = sql`select null::uuid as scope_id`
  const interfaces = counted(project_id, sql`interfaces`, sql`bigint`)
  const [counts] = await rows(db, QuotaCounts)`
    select allocations, ipv6_64s, blocks, floating_ips, interfaces, own_generation
    from (${countsOf(project_id, inAll, sql`${interfaces} as interfaces,`)}) counts`
  if (!counts) throw new Error('the counts of a project did not come back')
  return counts
}

/**
 * The same in each address scope where something is used or limited, or in the scope that is named;
 * in the order of their ids, one more than a page holds.
 *
 * @throws {IpamError} `address_scope_not_found`
 */
export async function listScopeQuotas(
  db: Database,
  { project_id, scope_id }: QuotaPlace,
  { limit, after }: { limit: number; after: string | null },
): Promise<ScopeQuota[]> {
  if (scope_id) {
    await getAddressScope(db, scope_id)
    const named = sql`select ${scope_id}::uuid as scope_id`
    return rows(db, ScopeQuota)`${countsOf(project_id, named)} where ${isBehind(after)}`
  }
  const concerned = sql`
    select scope_id from quotas
    where (project_id is null or project_id = ${project_id}) and scope_id is not null
    union
    select scope_id from project_usage
    where project_id = ${project_id} and scope_id is not null
      and (allocations, ipv6_64s, blocks, floating_ips) <> (0, 0, 0, 0)`
  return rows(db, ScopeQuota)`
    ${countsOf(project_id, concerned)}
    where ${isBehind(after)} order by s.scope_id limit ${limit + 1}`
}

const isBehind = (after: string | null) => (after ? sql`s.scope_id > ${after}` : sql`true`)

/**
 * Sets the limits that are named and leaves the others. Whoever allocates from here on is held to
 * them; nothing is taken away from who has more.
 *
 * @throws {IpamError} `address_scope_not_found`, `precondition_failed`
 */
export function setQuota(
  db: Database,
  { project_id, scope_id, expected }: QuotaTarget,
  limits: Omit<QuotaRequest, 'scope_id'>,
): Promise<Quota> {
  return retryTransaction(db, async tx => {
    if (scope_id) await lockAddressScope(tx, scope_id)
    await lockLimits(tx)
    const [before] = await rows(tx, Quota)`
      select ${quotaColumns} from quotas where ${isAt({ project_id, scope_id })}`
    if (before) refuseUnexpected(before, expected)
    else if (expected) throw notYet()
    const none = { allocations: null, ipv6_64s: null, blocks: null }
    const others = { floating_ips: null, interfaces: null }
    const all = { id: newId(), ...none, ...others, ...before, ...limits }
    const { id, allocations, ipv6_64s, blocks, floating_ips, interfaces } = all
    const [data] = await rows(tx, Quota)`
      insert into quotas as q
        (id, project_id, scope_id, allocations, ipv6_64s, blocks, floating_ips, interfaces)
      values (${id}, ${project_id}, ${scope_id}, ${allocations}, ${ipv6_64s}, ${blocks},
        ${floating_ips}, ${interfaces})
      on conflict (id) do update set allocations = excluded.allocations,
        ipv6_64s = excluded.ipv6_64s, blocks = excluded.blocks,
        floating_ips = excluded.floating_ips, interfaces = excluded.interfaces,
        generation = q.generation + 1, updated_at = clock_timestamp()
      returning ${quotaColumns}`
    if (!data) throw new Error('limits that were set did not come back')
    await appendEvents(tx, [{ type: 'quota.updated', object_id: data.id, project_id, data }])
    return data
  })
}

/** @throws {IpamError} `quota_not_found`, `precondition_failed` */
export function deleteQuota(db: Database, { expected, ...place }: QuotaTarget): Promise<void> {
  return retryTransaction(db, async tx => {
    await lockLimits(tx)
    const [gone] = await rows(tx, Quota)`
      delete from quotas where ${isAt(place)} returning ${quotaColumns}`
    if (!gone) throw notFound(place)
    refuseUnexpected(gone, expected)
    await appendEvents(tx, [asDeleted(gone)])
  })
}

function notFound({ project_id, scope_id }: QuotaPlace): IpamError {
  const what = project_id === null ? 'There are no default limits' : `${project_id} has no limits`
  const where = scope_id === null ? '' : ` in the address scope ${scope_id}`
  return new IpamError('quota_not_found', `${what}${where}.`)
}

const notYet = () =>
  new IpamError('precondition_failed', 'No such limits are set yet.', { field: 'if-match' })

/** Waits for those who have looked at limits, and makes those wait who want to. */
async function lockLimits(tx: Database): Promise<void> {
  await tx.query(sql`select lock_limits()`)
}

const Refusal = Type.Object({ refusal: Nullable(Type.String()) })

/**
 * Refuses blocks that a project may not have beside those it has. It locks what the project uses:
 * after the locks of blocks, before the one of events.
 *
 * @throws {IpamError} `quota_exceeded`
 */
export async function refuseOverQuota(
  tx: Database,
  { project_id, scope_id, blocks }: QuotaPlace & { readonly blocks: number },
): Promise<void> {
  if (project_id === null) return
  const [row] = await rows(tx, Refusal)`
    select blocks_over_quota(${project_id}, ${scope_id}, ${blocks}) as refusal`
  if (row?.refusal) throw new IpamError('quota_exceeded', row.refusal)
}
