import { Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import { type FilterOf, Id, Nullable, Time } from '../../schema.ts'
import { publicScopeId } from '../address-scopes/schema.ts'
import { allocateOnce } from '../allocations/allocator-store.ts'
import type { Allocation } from '../allocations/schema.ts'
import { releaseOnce } from '../allocations/store.ts'
import { whyUnfit } from './rules.ts'
import {
  type AssociationQuery,
  FloatingIp,
  FloatingIpAssociation,
  type FloatingIpPatch,
  type FloatingIpQuery,
  type FloatingIpRequest,
} from './schema.ts'

// Events, history and counts are written by triggers (sql/functions/080_floating_ips.sql).

const columns = sql`
  id, project_id, name, description, tags, allocation_id, address, private_allocation_id,
  private_address, case when private_allocation_id is not null then since end as associated_at,
  generation, created_at, updated_at`

const notFound = (id: string) =>
  new IpamError('floating_ip_not_found', `There is no floating IP ${id}.`)

/** @throws {IpamError} `floating_ip_not_found` */
export async function getFloatingIp(db: Database, id: string): Promise<FloatingIp> {
  const [found] = await rows(db, FloatingIp)`select ${columns} from floating_ips where id = ${id}`
  if (!found) throw notFound(id)
  return found
}

/** Floating IPs in the order of their ids; one more than a page holds. */
export function listFloatingIps(
  db: Database,
  filter: FilterOf<FloatingIpQuery>,
  {
    limit,
    after,
    bound,
  }: { readonly limit: number; readonly after: string | null; readonly bound: Bound },
): Promise<FloatingIp[]> {
  const { project_id, name, tag, address, private_address, associated } = filter
  const { allocation_id, private_allocation_id } = filter
  const conditions: Sql[] = [
    ...boundedTo(bound),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(tag ? [sql`tags @> ${tag}`] : []),
    ...(address ? [sql`address = ${address}::inet`] : []),
    ...(allocation_id ? [sql`allocation_id = ${allocation_id}`] : []),
    ...(private_address ? [sql`private_address = ${private_address}::inet`] : []),
    ...(private_allocation_id ? [sql`private_allocation_id = ${private_allocation_id}`] : []),
    ...(associated === undefined
      ? []
      : [sql`(private_allocation_id is not null) = ${associated}::boolean`]),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, FloatingIp)`
    select ${columns} from floating_ips
    where ${allOf(conditions)} order by id limit ${limit + 1}`
}

export type AssociationPage = {
  readonly limit: number
  /** The start and the id of the association behind which the page begins. */
  readonly after: readonly string[] | null
  readonly bound: Bound
}

/** What pointed where, and from when to when, in the order of time; one more than a page holds. */
export function listAssociations(
  db: Database,
  filter: FilterOf<AssociationQuery>,
  { limit, after, bound }: AssociationPage,
): Promise<FloatingIpAssociation[]> {
  const { floating_ip_id, project_id, address, private_address, at } = filter
  const { private_allocation_id } = filter
  const conditions: Sql[] = [
    ...boundedTo(bound),
    ...(floating_ip_id ? [sql`floating_ip_id = ${floating_ip_id}`] : []),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(address ? [sql`address = ${address}::inet`] : []),
    ...(private_address ? [sql`private_address = ${private_address}::inet`] : []),
    ...(private_allocation_id ? [sql`private_allocation_id = ${private_allocation_id}`] : []),
    ...(at ? [sql`started_at <= ${at} and coalesce(ended_at > ${at}, true)`] : []),
    ...(after ? [sql`(started_at, id) > (${after[0]}, ${after[1]})`] : []),
  ]
  return rows(db, FloatingIpAssociation)`
    select id, floating_ip_id, project_id, allocation_id, address, private_allocation_id,
      private_address, started_at, ended_at
    from floating_ip_associations
    where ${allOf(conditions)} order by started_at, id limit ${limit + 1}`
}

/**
 * Takes a public address, which may point at a private allocation at once.
 *
 * @throws {IpamError} what an allocation can end in; `floating_ip_exists`, `block_not_public`,
 * `quota_exceeded`, and what an association can end in
 */
export function createFloatingIp(
  db: Database,
  request: FloatingIpRequest,
  { needs_grant = false }: { readonly needs_grant?: boolean } = {},
): Promise<FloatingIp> {
  const { project_id, name = '', description = '', tags = [] } = request
  const id = request.id?.toLowerCase() ?? newId()
  const target = request.private_allocation_id?.toLowerCase() ?? null
  return retryTransaction(db, async tx => {
    await refuseExisting(tx, id)
    const place = await placeOf(tx, request)
    const { block_id = null, network_id = null } = place
    if (target) {
      await tx.query(sql`select lock_floating_places(${block_id}, ${network_id}, ${target})`)
    }
    const { address, purpose } = request
    const owner = { project_id, owner_type: 'floating_ip', owner_id: id, name, tags }
    const families = network_id && !address ? [4] : undefined
    const ids = [newId()]
    const wanted = { ...place, ...owner, ids, address, purpose, families, needs_grant }
    const [allocation] = (await allocateOnce(tx, wanted)).allocations
    if (!allocation) throw new Error('an allocation did not come back')
    refusePrivate(allocation)
    await refuseOverQuota(tx, allocation)
    const { id: allocation_id } = allocation
    if (target) await refuseUnfit(tx, { id, address: allocation.address }, target)
    const since = await associationTime(tx, { id, allocation_id, target })
    const [created] = await rows(tx, FloatingIp)`
      insert into floating_ips (id, project_id, name, description, tags, allocation_id,
        private_allocation_id, since)
      values (${id}, ${project_id}, ${name}, ${description}, ${tags}, ${allocation_id}, ${target},
        ${since})
      returning ${columns}`
    if (!created) throw new Error('a floating IP that was created did not come back')
    return created
  })
}

async function refuseExisting(tx: Database, id: string): Promise<void> {
  const [found] = await rows(tx, Type.Object({ exists: Type.Boolean() }))`
    select hold_floating_ip(${id}) as exists`
  if (!found?.exists) return
  const detail = `There is a floating IP ${id} already.`
  throw new IpamError('floating_ip_exists', detail, { field: 'id' })
}

type Place = Pick<FloatingIpRequest, 'block_id' | 'network_id'>

/** Where the address is to be taken from; by its number it is in one block of the public scope. */
async function placeOf(tx: Database, request: FloatingIpRequest): Promise<Place> {
  const { block_id, network_id, address } = request
  if (block_id) return { block_id: block_id.toLowerCase() }
  if (network_id) return { network_id: network_id.toLowerCase() }
  const [block] = await rows(tx, Type.Object({ id: Id }))`
    select id from blocks where scope_id = ${publicScopeId} and cidr >>= ${address}::inet
    order by masklen(cidr) desc limit 1`
  if (block) return { block_id: block.id }
  const detail = `No block of the public address scope holds ${address}.`
  throw new IpamError('address_outside_block', detail, { field: 'address' })
}

function refusePrivate({ address, scope_id }: Allocation): void {
  if (scope_id === publicScopeId) return
  throw new IpamError('block_not_public', `${address} is not in the public address scope.`)
}

const Refusal = Type.Object({ refusal: Nullable(Type.String()) })

/** @throws {IpamError} `quota_exceeded` */
async function refuseOverQuota(tx: Database, { project_id, scope_id }: Allocation): Promise<void> {
  const [row] = await rows(tx, Refusal)`
    select floating_ips_over_quota(${project_id}, ${scope_id}, 1) as refusal`
  if (row?.refusal) throw new IpamError('quota_exceeded', row.refusal)
}

const TargetRow = Type.Object({
  scope_id: Id,
  address: Type.String(),
  is_ended: Type.Boolean(),
  has_lapsed: Type.Boolean(),
  is_prefix: Type.Boolean(),
  floating_ip_id: Nullable(Id),
})

/** Refuses a target, whose block is locked, that a floating IP cannot point at. */
async function refuseUnfit(
  tx: Database,
  floating: Pick<FloatingIp, 'id' | 'address'>,
  target: string,
): Promise<void> {
  const field = 'private_allocation_id'
  const [found] = await rows(tx, TargetRow)`
    select a.scope_id, a.address, false as is_ended,
      coalesce(a.expires_at <= u.changed_at, false) as has_lapsed, a.is_prefix,
      (select f.id from floating_ips f where f.private_allocation_id = a.id) as floating_ip_id
    from allocations a join block_usage u on u.block_id = a.block_id where a.id = ${target}
    union all
    select scope_id, address, true, false, is_prefix, null
    from allocation_history where id = ${target}`
  if (!found) {
    throw new IpamError('allocation_not_found', `There is no allocation ${target}.`, { field })
  }
  const why = whyUnfit(floating, found)
  if (why) throw new IpamError(why.code, why.detail, { field })
}

type Association = {
  readonly id: string
  readonly allocation_id: string
  readonly target: string | null
}

async function associationTime(tx: Database, { id, allocation_id, target }: Association) {
  const [row] = await rows(tx, Type.Object({ at: Time }))`
    select association_time(${id}, ${allocation_id}, ${target}) as at`
  if (!row) throw new Error('there is no time')
  return row.at
}

/** Locks a floating IP and the blocks of what it is, points at, and is to point at. */
async function lockFloatingIp(tx: Database, { id, expected }: Target, target: string | null) {
  await tx.query(sql`select lock_floating_ip(${id}, ${target})`)
  const found = await getFloatingIp(tx, id)
  refuseUnexpected(found, expected)
  return found
}

/**
 * Changes what is named, also what it points at: a move has no instant without a holder, and none
 * with two (I14).
 *
 * @throws {IpamError} `floating_ip_not_found`, `precondition_failed`, `allocation_not_found`,
 * `allocation_ended`, `hold_expired`, `private_allocation_unfit`, `private_allocation_associated`
 */
export function updateFloatingIp(
  db: Database,
  { id, expected }: Target,
  patch: FloatingIpPatch,
): Promise<FloatingIp> {
  const wanted = patch.private_allocation_id?.toLowerCase() ?? null
  return retryTransaction(db, async tx => {
    const before = await lockFloatingIp(tx, { id, expected }, wanted)
    const target = patch.private_allocation_id === undefined ? before.private_allocation_id : wanted
    const { name, description, tags } = { ...before, ...patch }
    const isOther = target !== before.private_allocation_id
    if (isOther && target) await refuseUnfit(tx, before, target)
    const { allocation_id } = before
    const since = isOther ? await associationTime(tx, { id, allocation_id, target }) : null
    const [data] = await rows(tx, FloatingIp)`
      update floating_ips set name = ${name}, description = ${description}, tags = ${tags},
        private_allocation_id = ${target}, since = coalesce(${since}::timestamptz, since),
        generation = generation + 1, updated_at = clock_timestamp()
      where id = ${id} returning ${columns}`
    if (!data) throw new Error('a floating IP that was changed did not come back')
    return data
  })
}

/**
 * Releases the address of a floating IP, which goes with it (I14).
 *
 * @throws {IpamError} `floating_ip_not_found`, `precondition_failed`
 */
export function deleteFloatingIp(db: Database, target: Target): Promise<void> {
  return retryTransaction(db, async tx => {
    const { allocation_id } = await lockFloatingIp(tx, target, null)
    await releaseOnce(tx, { id: allocation_id })
  })
}
