import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { type Sql, sql } from '../db/sql.ts'
import { publicScopeId } from '../ids.ts'
import type { Kind, Named } from './things.ts'

/** Whose a thing is: facts that stay true for as long as it is there. */
export type Owner = {
  readonly project_id: string | null
  /** Of a block: whose its address scope is. */
  readonly scope_project_id: string | null
}

/** The owners of things; undefined of what is not there. */
export type Owners = (thing: Pick<Named, 'kind' | 'id'>) => Owner | undefined

const plain = (table: Sql) => (ids: readonly string[]) =>
  sql`
  select id, project_id, null as scope_project_id from ${table} where id = any (${ids}::uuid[])`
const either = (table: Sql, history: Sql) => (ids: readonly string[]) =>
  sql`
  ${plain(table)(ids)} union all ${plain(history)(ids)}`

const ownersIn: Record<Kind, (ids: readonly string[]) => Sql> = {
  address_scope: plain(sql`address_scopes`),
  network: plain(sql`networks`),
  block: ids => sql`
    select b.id, b.project_id, s.project_id as scope_project_id
    from blocks b join address_scopes s on s.id = b.scope_id where b.id = any (${ids}::uuid[])`,
  policy: plain(sql`policies`),
  allocation: either(sql`allocations`, sql`allocation_history`),
  floating_ip: plain(sql`floating_ips`),
  nat_mapping: plain(sql`nat_mappings`),
  mac_range: plain(sql`mac_ranges`),
  mac: either(sql`macs`, sql`mac_history`),
  interface: plain(sql`interfaces`),
  token: plain(sql`tokens`),
}

const OwnerRow = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  project_id: Type.Union([Type.String(), Type.Null()]),
  scope_project_id: Type.Union([Type.String(), Type.Null()]),
})

const idOf = (id: string): string => (id === 'public' ? publicScopeId : id.toLowerCase())

/** Looks up the owners of things, of all of them in one statement. */
export async function findOwners(
  db: Database,
  named: readonly Pick<Named, 'kind' | 'id'>[],
): Promise<Owners> {
  const kinds = [...new Set(named.map(({ kind }) => kind))].toSorted()
  const parts = kinds.map(kind => {
    const ids = named.filter(one => one.kind === kind).map(({ id }) => idOf(id))
    const found = ownersIn[kind]([...new Set(ids)])
    return sql`select ${kind}::text as kind, id, project_id, scope_project_id from (${found}) one`
  })
  const [first, ...more] = parts
  const union = first && more.reduce((all, one) => sql`${all} union all ${one}`, first)
  const found = union ? await rows(db, OwnerRow)`${union}` : []
  const owners = new Map(found.map(({ kind, id, ...owner }) => [`${kind} ${id}`, owner]))
  return ({ kind, id }) => owners.get(`${kind} ${idOf(id)}`)
}

/** The block of the public address scope that holds an address; undefined if none does. */
export async function findPublicBlock(db: Database, address: string): Promise<string | undefined> {
  const [found] = await rows(db, Type.Object({ id: Type.String() }))`
    select id from blocks where scope_id = ${publicScopeId} and cidr >>= ${address}::inet
    order by masklen(cidr) desc limit 1`
  return found?.id
}

/** Whether a request with this key was answered before, and so will be answered the same. */
export async function isKeyKnown(
  db: Database,
  { caller, key }: { readonly caller: string; readonly key: string },
): Promise<boolean> {
  const found = await rows(db, Type.Object({ key: Type.String() }))`
    select key from idempotency_keys where caller = ${caller} and key = ${key}`
  return found.length > 0
}
