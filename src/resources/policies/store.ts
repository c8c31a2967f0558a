import { randomBytes } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import type { FilterOf } from '../../schema.ts'
import { lockAddressScope } from '../address-scopes/store.ts'
import { Allocation } from '../allocations/schema.ts'
import { presentOf } from '../allocations/store.ts'
import { appendEvents, type EventType } from '../events/store.ts'
import { applyRules, reached, scopesOf } from './apply-store.ts'
import { readRules, showPolicy } from './rules.ts'
import { sourceOf } from './rules-store.ts'
import {
  type Policy,
  type PolicyPatch,
  type PolicyQuery,
  type PolicyRequest,
  type policySorts,
  StoredPolicy,
} from './schema.ts'

const columns = sql`
  id, project_id, name, description, tags, rules, generation, created_at, updated_at`

const notFound = (id: string) => new IpamError('policy_not_found', `There is no policy ${id}.`)

/** @throws {IpamError} `policy_not_found` */
export async function getPolicy(db: Database, id: string): Promise<Policy> {
  const [policy] = await rows(db, StoredPolicy)`select ${columns} from policies where id = ${id}`
  if (!policy) throw notFound(id)
  return showPolicy(policy)
}

const sortColumns: Record<(typeof policySorts)[number], Sql> = {
  id: sql`id::text`,
  name: sql`name`,
  created_at: sql`created_at`,
}

export type PolicyPage = {
  readonly sort: (typeof policySorts)[number]
  readonly limit: number
  readonly after: readonly string[] | null
  readonly bound: Bound
}

/** One policy more than a page holds. */
export async function listPolicies(
  db: Database,
  { project_id, name, tag }: FilterOf<Static<typeof PolicyQuery>>,
  { sort, limit, after, bound }: PolicyPage,
): Promise<Policy[]> {
  const column = sortColumns[sort]
  const conditions = [
    ...boundedTo(bound),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(tag ? [sql`tags @> ${tag}`] : []),
    ...(after ? [sql`(${column}, id) > (${after[0]}, ${after[1]})`] : []),
  ]
  const found = await rows(db, StoredPolicy)`
    select ${columns} from policies where ${allOf(conditions)}
    order by ${column}, id limit ${limit + 1}`
  return found.map(showPolicy)
}

const newSecret = () => randomBytes(32).toString('hex')

/** @throws {IpamError} `policy_name_taken`, `invalid_request`, `cidr_has_host_bits` */
export function createPolicy(db: Database, request: PolicyRequest): Promise<Policy> {
  const { project_id = null, name, description = '', tags = [] } = request
  const rules = JSON.stringify(readRules(request.rules ?? {}, { secret: newSecret(), project_id }))
  return changePolicy(
    db,
    'policy.created',
    tx => rows(tx, StoredPolicy)`
      insert into policies (id, project_id, name, description, tags, rules)
      values (${newId()}, ${project_id}, ${name}, ${description}, ${tags}, ${rules})
      returning ${columns}`,
  )
}

/**
 * Changes a policy, and at once what may be given out wherever its rules reach. What is held stays
 * as it is.
 *
 * @throws {IpamError} `policy_not_found`, `precondition_failed`, `policy_name_taken`,
 * `invalid_request`, `cidr_has_host_bits`
 */
export function updatePolicy(db: Database, target: Target, patch: PolicyPatch): Promise<Policy> {
  const { id } = target
  return changePolicy(db, 'policy.updated', async tx => {
    const before = await lockPolicy(tx, target)
    const { name, description, tags } = { ...before, ...patch }
    const secret = before.rules.ipv6_generator?.secret ?? newSecret()
    const { project_id } = before
    const rules = patch.rules ? readRules(patch.rules, { secret, project_id }) : before.rules
    const updated = await rows(tx, StoredPolicy)`
      update policies set name = ${name}, description = ${description}, tags = ${tags},
        rules = ${JSON.stringify(rules)}, generation = generation + 1,
        updated_at = clock_timestamp()
      where id = ${id} returning ${columns}`
    // A name is part of the reasons that refusals give.
    if (patch.rules || name !== before.name) {
      // Who puts a block into a network holds the network.
      await tx.query(sql`
        select from networks where policy_id = ${id} order by id for no key update`)
      const scopes = await scopesOf(tx, { policy_id: id })
      for (const scope of scopes) await lockAddressScope(tx, scope)
      await applyRules(tx, { policy_id: id })
    }
    return updated
  })
}

/** @throws {IpamError} `policy_not_found`, `precondition_failed`, `policy_in_use` */
export function deletePolicy(db: Database, target: Target): Promise<Policy> {
  const { id } = target
  return changePolicy(db, 'policy.deleted', async tx => {
    await lockPolicy(tx, target)
    await refuseUse(tx, id)
    return rows(tx, StoredPolicy)`delete from policies where id = ${id} returning ${columns}`
  })
}

const Use = Type.Object({ name: Type.String() })

async function refuseUse(tx: Database, id: string): Promise<void> {
  const uses = await rows(tx, Use)`
    select 'block ' || cidr as name from blocks where policy_id = ${id}
    union all
    select 'network ' || coalesce(nullif(name, ''), id::text) from networks where policy_id = ${id}
    union all
    select 'address scope ' || name from address_scopes where policy_id = ${id}
    limit 10`
  if (uses.length === 0) return
  const names = uses.map(({ name }) => name).join(', ')
  throw new IpamError('policy_in_use', `The policy is attached to ${names}.`)
}

async function lockPolicy(tx: Database, { id, expected }: Target): Promise<StoredPolicy> {
  const [policy] = await rows(tx, StoredPolicy)`
    select ${columns} from policies where id = ${id} for no key update`
  if (!policy) throw notFound(id)
  refuseUnexpected(policy, expected)
  return policy
}

function changePolicy(
  db: Database,
  type: EventType,
  change: (tx: Database) => Promise<StoredPolicy[]>,
): Promise<Policy> {
  return retryTransaction(db, async tx => {
    const [stored] = await change(tx)
    if (!stored) throw new Error('a policy that was changed did not come back')
    const data = showPolicy(stored)
    await appendEvents(tx, [{ type, object_id: data.id, project_id: data.project_id, data }])
    return data
  })
}

/** Current allocations that the rules of a policy exclude; one more than a page. */
export async function listExceptions(
  db: Database,
  id: string,
  {
    limit,
    after,
    bound,
  }: { readonly limit: number; readonly after: string | null; readonly bound: Bound },
): Promise<Allocation[]> {
  await getPolicy(db, id)
  return rows(db, Allocation)`
    select ${presentOf(sql`a`)} from allocations a join blocks b on b.id = a.block_id
    where b.excluded_octets is not null and a.id > ${after ?? '00000000-0000-0000-0000-000000000000'}
      and (not a.is_prefix and last_octet(a.address) = any (b.excluded_octets)
        or exists (
          select from kept_ranges k
          where k.block_id = b.id and k.purpose is null
            and k.last >= first_of(a.address) and k.first <= last_of(a.address)))
      and ${reached({ policy_id: id })} and ${sourceOf('exclusions')} = ${id}
      and ${allOf(boundedTo(bound, sql`a.project_id`))}
    order by a.id limit ${limit + 1}`
}
