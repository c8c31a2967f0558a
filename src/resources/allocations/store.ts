import { Type } from 'typebox'
import { type Bound, boundedTo, unbounded } from '../../access/bound-store.ts'
import { type Database, type DoneBy, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import type { FilterOf } from '../../schema.ts'
import { appendEvents } from '../events/store.ts'
import { Allocation, type AllocationPatch, type AllocationQuery } from './schema.ts'

const columns = sql`
  id, scope_id, block_id, address, project_id, owner_type, owner_id, name, tags, generation,
  started_at, expires_at`
const present = sql`${columns}, null::timestamptz as ended_at, null::timestamptz as quarantined_until`

const columnsOf = (a: Sql): Sql => sql`
  ${a}.id, ${a}.scope_id, ${a}.block_id, ${a}.address, ${a}.project_id, ${a}.owner_type,
  ${a}.owner_id, ${a}.name, ${a}.tags, ${a}.generation, ${a}.started_at, ${a}.expires_at`
/** The columns of a current allocation, where its table has this name in a join. */
export const presentOf = (a: Sql): Sql => sql`
  ${columnsOf(a)}, null::timestamptz as ended_at, null::timestamptz as quarantined_until`
/** The same of one that ended. */
export const endedOf = (h: Sql): Sql => sql`${columnsOf(h)}, ${h}.ended_at, ${h}.quarantined_until`
const current = sql`select ${present} from allocations`
const ended = sql`select ${columns}, ended_at, quarantined_until from allocation_history`

const notFound = (id: string) =>
  new IpamError('allocation_not_found', `There is no allocation ${id}.`)

/** An allocation, current or ended. @throws {IpamError} `allocation_not_found` */
export async function getAllocation(db: Database, id: string): Promise<Allocation> {
  const [found] = await rows(db, Allocation)`
    ${current} where id = ${id} union all ${ended} where id = ${id}`
  if (!found) throw notFound(id)
  return found
}

/** `at`, `held_from` and `held_to` mean current and ended ones, whatever the state. */
export type AllocationFilter = FilterOf<AllocationQuery> & Pick<AllocationQuery, 'state'>

export type AllocationPage = {
  readonly sort: 'id' | 'address'
  readonly limit: number
  /** The sort value and the id of the allocation behind which the page begins. */
  readonly after: readonly string[] | null
  readonly bound: Bound
}

/**
 * Current and ended allocations; one more than a page holds. An allocation is in just one of the
 * two tables at any instant, and one statement sees one instant.
 */
export function listAllocations(db: Database, filter: AllocationFilter, page: AllocationPage) {
  const { sort, limit, after, bound } = page
  const conditions = [...boundedTo(bound), ...commonConditions(filter)]
  if (after && sort === 'id') conditions.push(sql`id > ${after[1]}`)
  if (after && sort === 'address') conditions.push(sql`(address, id) > (${after[0]}, ${after[1]})`)
  const order = sort === 'id' ? sql`order by id` : sql`order by address, id`
  const behind = sql`${order} limit ${limit + 1}`

  const { at, held_from, held_to, state } = filter
  if (at) conditions.push(sql`started_at <= ${at}`)
  if (held_to) conditions.push(sql`started_at < ${held_to}`)
  const endedConditions = [
    ...conditions,
    ...(at ? [sql`ended_at > ${at}`] : []),
    ...(held_from ? [sql`ended_at > ${held_from}`] : []),
  ]
  const isOfTime = at !== undefined || held_from !== undefined || held_to !== undefined
  const currentConditions = [
    ...conditions,
    ...(filter.block_id ? [insideBlock(filter.block_id)] : []),
    ...(state === 'held' && !isOfTime ? [sql`expires_at is not null`] : []),
  ]
  const wants = (one: 'current' | 'ended') =>
    isOfTime || state === 'all' || (state === 'held' ? 'current' : state) === one
  const union = [
    ...(wants('current') ? branches(current, currentConditions, filter.address) : []),
    ...(wants('ended') ? branches(ended, endedConditions, filter.address) : []),
  ]
    .map(part => sql`(${part} ${behind})`)
    .reduce((all, one) => sql`${all} union all ${one}`)
  return rows(db, Allocation)`select * from (${union}) found ${behind}`
}

/**
 * Current allocations are indexed by scope and address, and a block is a range of those. The range
 * begins at the CIDR itself, which sorts before all that lies in it.
 */
const insideBlock = (id: string): Sql => sql`
  scope_id = (select b.scope_id from blocks b where b.id = ${id})
  and address >= (select b.cidr::inet from blocks b where b.id = ${id})
  and address <= (select last_of(b.cidr) from blocks b where b.id = ${id})`

/** An address is found in its own row, or in that of the prefix which holds it: two indexes. */
function branches(select: Sql, conditions: readonly Sql[], address: string | undefined): Sql[] {
  if (address === undefined) return [sql`${select} where ${allOf(conditions)}`]
  return [
    sql`${select} where ${allOf([...conditions, sql`address = ${address}::inet`])}`,
    sql`${select} where ${allOf([
      ...conditions,
      sql`is_prefix and address >>= ${address}::inet and address <> ${address}::inet`,
    ])}`,
  ]
}

function commonConditions(filter: AllocationFilter): Sql[] {
  const { scope_id, block_id, within, project_id, owner_type, owner_id, name, tag } = filter
  const conditions: Sql[] = []
  if (scope_id) conditions.push(sql`scope_id = ${scope_id}`)
  else if (filter.address !== undefined || within) {
    conditions.push(sql`scope_id = any (array(select s.id from address_scopes s))`)
  }
  if (block_id) conditions.push(sql`block_id = ${block_id}`)
  if (within) conditions.push(sql`address <<= ${within}::inet`)
  if (project_id) conditions.push(sql`project_id = ${project_id}`)
  if (owner_type) conditions.push(sql`owner_type = ${owner_type}`)
  if (owner_id) conditions.push(sql`owner_id = ${owner_id}`)
  if (name !== undefined) conditions.push(sql`name = ${name}`)
  if (tag) conditions.push(sql`tags <> '{}' and tags @> ${tag}`)
  return conditions
}

/**
 * Changes what may change while an allocation lasts.
 *
 * @throws {IpamError} `allocation_not_found`, `precondition_failed`, `generation_mismatch`
 */
export function updateAllocation(
  db: Database,
  { id, expected }: Target,
  { generation, ...patch }: AllocationPatch,
): Promise<Allocation> {
  return retryTransaction(db, async tx => {
    const [before] = await rows(tx, Allocation)`${current} where id = ${id} for update`
    if (!before) throw notFound(id)
    refuseUnexpected(before, expected)
    if (generation !== undefined && generation !== before.generation) {
      const detail = `The allocation has generation ${before.generation}, not ${generation}.`
      throw new IpamError('generation_mismatch', detail, { field: 'generation' })
    }
    const { name, tags } = { ...before, ...patch }
    const [data] = await rows(tx, Allocation)`
      update allocations set name = ${name}, tags = ${tags}, generation = generation + 1
      where id = ${id} returning ${present}`
    if (!data) throw notFound(id)
    const { project_id } = data
    await appendEvents(tx, [{ type: 'allocation.updated', object_id: id, project_id, data }])
    return data
  })
}

const Released = Type.Object({
  request: Type.Integer(),
  allocation: Type.Union([Allocation, Type.Null()]),
  error: Type.Union([Type.String(), Type.Null()]),
})

/** An allocation to release, if it still has the generation. */
export type Release = {
  readonly id: string
  readonly generation?: number | undefined
  /** The project that it has to be of; any, if it is left out. */
  readonly project_id?: string | undefined
  /** In whose name; left out, it is whoever the transaction is of. */
  readonly done_by?: DoneBy | undefined
}

/**
 * Releases allocations in one transaction, each with its own outcome, in the order of asking. To
 * release once more what has ended just so gives the same answer.
 */
export async function releaseEach(
  db: Database,
  releases: readonly Release[],
): Promise<(Allocation | IpamError)[]> {
  const batch = releases.map(({ done_by, ...release }, request) => ({
    request,
    ...release,
    ...done_by,
  }))
  const found = await rows(db, Released)`
    select request, allocation, error from release_allocations(${JSON.stringify(batch)})`
  const outcomes = releases.map(({ id }): Allocation | IpamError => notFound(id))
  for (const { request, allocation, error } of found) {
    if (allocation) outcomes[request] = allocation
    else if (error === 'generation_mismatch') outcomes[request] = new IpamError(error)
  }
  return outcomes
}

/** Releases one allocation. @throws {IpamError} `allocation_not_found`, `generation_mismatch` */
export async function releaseOnce(tx: Database, release: Release): Promise<Allocation> {
  const [outcome] = await releaseEach(tx, [release])
  if (!outcome || outcome instanceof IpamError) throw outcome ?? notFound(release.id)
  return outcome
}

/**
 * Releases allocations, all or none.
 *
 * @throws {IpamError} `allocation_not_found`, `generation_mismatch`
 */
export function releaseAll(db: Database, releases: readonly Release[]): Promise<Allocation[]> {
  return retryTransaction(db, tx => releaseAllIn(tx, releases))
}

async function releaseAllIn(tx: Database, releases: readonly Release[]): Promise<Allocation[]> {
  const outcomes = await releaseEach(tx, releases)
  return outcomes.map(outcome => {
    if (outcome instanceof IpamError) throw outcome
    return outcome
  })
}

export type OwnerFilter = Pick<
  AllocationFilter,
  'project_id' | 'owner_type' | 'owner_id' | 'block_id'
>

/**
 * Releases all that an owner holds.
 *
 * @throws {IpamError} `too_many_allocations`
 */
export function releaseByOwner(
  db: Database,
  owner: OwnerFilter,
  countMax: number,
): Promise<Allocation[]> {
  return retryTransaction(db, async tx => {
    const page = { sort: 'id', limit: countMax, after: null, bound: unbounded } as const
    const held = await listAllocations(tx, { ...owner, state: 'current' }, page)
    if (held.length > countMax) {
      throw new IpamError('too_many_allocations', `The owner holds more than ${countMax}.`)
    }
    if (held.length === 0) return []
    // What somebody else released in the meantime is as good as released here.
    const outcomes = await releaseEach(
      tx,
      held.map(({ id }) => ({ id })),
    )
    return outcomes.filter((outcome): outcome is Allocation => !(outcome instanceof IpamError))
  })
}
