import type { Static } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import type { FilterOf } from '../../schema.ts'
import { deleteOptionsOf } from '../dhcp-options/store.ts'
import { appendEvents, type EventType } from '../events/store.ts'
import { applyRules } from '../policies/apply-store.ts'
import { holdPolicy } from '../policies/rules-store.ts'
import { deleteQuotasOfScope } from '../quotas/scope-store.ts'
import {
  AddressScope,
  type AddressScopePatch,
  type AddressScopeQuery,
  type AddressScopeRequest,
  publicScopeId,
} from './schema.ts'

const columns = sql`
  id, project_id, name, description, tags, policy_id, generation, created_at, updated_at`

/** The id of a scope as requests name it: by its id, or `public`. */
export const scopeIdOf = (name: string): string => (name === 'public' ? publicScopeId : name)

const notFound = (id: string) =>
  new IpamError('address_scope_not_found', `There is no address scope ${id}.`)

/** @throws {IpamError} `address_scope_not_found` */
export async function getAddressScope(db: Database, id: string): Promise<AddressScope> {
  const [scope] = await rows(db, AddressScope)`
    select ${columns} from address_scopes where id = ${id}`
  if (!scope) throw notFound(id)
  return scope
}

/**
 * Locks the tree of a scope: blocks are created, resized and deleted by one transaction at a time.
 *
 * @throws {IpamError} `address_scope_not_found`
 */
export async function lockAddressScope(tx: Database, id: string): Promise<AddressScope> {
  const [scope] = await rows(tx, AddressScope)`
    select ${columns} from address_scopes where id = ${id} for no key update`
  if (!scope) throw notFound(id)
  return scope
}

/** In the order of their ids; one more than a page holds. */
export function listAddressScopes(
  db: Database,
  { project_id, name, tag }: FilterOf<Static<typeof AddressScopeQuery>>,
  { limit, after, bound }: { limit: number; after: string | null; bound: Bound },
) {
  const conditions = [
    ...boundedTo(bound),
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(tag ? [sql`tags @> ${tag}`] : []),
    ...(after ? [sql`id > ${after}`] : []),
  ]
  return rows(db, AddressScope)`
    select ${columns} from address_scopes where ${allOf(conditions)} order by id limit ${limit + 1}`
}

/** @throws {IpamError} `address_scope_name_taken` */
export function createAddressScope(db: Database, request: AddressScopeRequest) {
  return changeScope(db, 'address_scope.created', async tx => {
    const { project_id, name, description = '', tags = [], policy_id = null } = request
    await holdPolicy(tx, policy_id)
    return rows(tx, AddressScope)`
      insert into address_scopes (id, project_id, name, description, tags, policy_id)
      values (${newId()}, ${project_id}, ${name}, ${description}, ${tags}, ${policy_id})
      returning ${columns}`
  })
}

/**
 * @throws {IpamError} `address_scope_not_found`, `address_scope_built_in`, `precondition_failed`,
 * `policy_not_found`, `address_scope_name_taken`
 */
export function updateAddressScope(db: Database, target: Target, patch: AddressScopePatch) {
  const { id, expected } = target
  return changeScope(db, 'address_scope.updated', async tx => {
    await holdPolicy(tx, patch.policy_id)
    const isBuiltIn = id === publicScopeId && Object.keys(patch).some(key => key !== 'policy_id')
    if (isBuiltIn) throw new IpamError('address_scope_built_in')
    const before = await lockAddressScope(tx, id)
    refuseUnexpected(before, expected)
    const { name, description, tags, policy_id } = { ...before, ...patch }
    const updated = await rows(tx, AddressScope)`
      update address_scopes set name = ${name}, description = ${description}, tags = ${tags},
        policy_id = ${policy_id}, generation = generation + 1, updated_at = clock_timestamp()
      where id = ${id} returning ${columns}`
    // A name is part of the reasons that refusals give.
    const isFelt = policy_id !== before.policy_id || (policy_id && name !== before.name)
    if (isFelt) await applyRules(tx, { scope_id: id })
    return updated
  })
}

/**
 * @throws {IpamError} `address_scope_not_found`, `address_scope_built_in`, `precondition_failed`,
 * `address_scope_not_empty`
 */
export function deleteAddressScope(db: Database, target: Target): Promise<void> {
  const { id } = target
  return retryTransaction(db, async tx => {
    const data = await lockPrivateScope(tx, target)
    const events = [
      ...(await deleteQuotasOfScope(tx, id)),
      ...(await deleteOptionsOf(tx, { ...data, type: 'address_scope' })),
    ]
    await tx.query(sql`delete from address_scopes where id = ${id}`)
    const { project_id } = data
    const type = 'address_scope.deleted'
    await appendEvents(tx, [...events, { type, object_id: id, project_id, data }])
  })
}

async function lockPrivateScope(tx: Database, { id, expected }: Target): Promise<AddressScope> {
  if (id === publicScopeId) throw new IpamError('address_scope_built_in')
  const scope = await lockAddressScope(tx, id)
  refuseUnexpected(scope, expected)
  return scope
}

function changeScope(
  db: Database,
  type: EventType,
  change: (tx: Database) => Promise<AddressScope[]>,
): Promise<AddressScope> {
  return retryTransaction(db, async tx => {
    const [data] = await change(tx)
    if (!data) throw new Error('a scope that was changed did not come back')
    await appendEvents(tx, [{ type, object_id: data.id, project_id: data.project_id, data }])
    return data
  })
}
