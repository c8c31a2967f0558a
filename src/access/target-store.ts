import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { type Sql, sql } from '../db/sql.ts'
import { publicScopeId } from '../ids.ts'
import type { Kind, Named } from './things.ts'

/** Whose a thing is: facts that stay true for as long as it is there, but for the last two. */
export type Owner = {
  readonly project_id: string | null
  /** Of a block: whose its address scope is. */
  readonly scope_project_id: string | null
  /** Of a block: whose the block above it is; null also if there is none. */
  readonly parent_project_id: string | null
  /** The project that asks, if it is a block or network, or a grant, that is granted to it. */
  readonly granted_to: string | null
}

/** The owners of things; undefined of what is not there. */
export type Owners = (thing: Pick<Named, 'kind' | 'id'>) => Owner | undefined

const plain = (table: Sql) => (ids: readonly string[]) =>
  sql`
  select id, project_id, null as scope_project_id, null as parent_project_id, false as is_granted
  from ${table} where id = any (${ids}::uuid[])`
const either = (table: Sql, history: Sql) => (ids: readonly string[]) =>
  sql`
  ${plain(table)(ids)} union all ${plain(history)(ids)}`

/** Whether a block b, or a network b, of others is granted to a project. */
const granted = (project: string | null, of: 'block' | 'network'): Sql => {
  if (project === null) return sql`false`
  const place = of === 'block' ? sql`b.id, null` : sql`null, b.id`
  return sql`b.project_id is distinct from ${project}
    and exists (select from grants_for(${project}, ${place}))`
}

const ownersIn: Record<Kind, (ids: readonly string[], project: string | null) => Sql> = {
  address_scope: plain(sql`address_scopes`),
  network: (ids, project) => sql`
    select b.id, b.project_id, null as scope_project_id, null as parent_project_id,
      ${granted(project, 'network')} as is_granted
    from networks b where b.id = any (${ids}::uuid[])`,
  block: (ids, project) => sql`
    select b.id, b.project_id, s.project_id as scope_project_id,
      p.project_id as parent_project_id, ${granted(project, 'block')} as is_granted
    from blocks b join address_scopes s on s.id = b.scope_id left join blocks p on p.id = b.parent_id
    where b.id = any (${ids}::uuid[])`,
  grant: (ids, project) => sql`
    select id, owner_project_id as project_id, null as scope_project_id, null as parent_project_id,
      (project_id is null or project_id = ${project}) and ${project}::text is not null as is_granted
    from grants where id = any (${ids}::uuid[]) and revoked_at is null`,
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
  parent_project_id: Type.Union([Type.String(), Type.Null()]),
  is_granted: Type.Union([Type.Boolean(), Type.Null()]),
})

const idOf = (id: string): string => (id === 'public' ? publicScopeId : id.toLowerCase())

/**
 * Looks up the owners of things, of all of them in one statement, and whether they are granted to the
 * project that asks.
 */
export async function findOwners(
  db: Database,
  named: readonly Pick<Named, 'kind' | 'id'>[],
  project: string | null = null,
): Promise<Owners> {
  const kinds = [...new Set(named.map(({ kind }) => kind))].toSorted()
  const parts = kinds.map(kind => {
    const ids = named.filter(one => one.kind === kind).map(({ id }) => idOf(id))
    const found = ownersIn[kind]([...new Set(ids)], project)
    return sql`
      select ${kind}::text as kind, id, project_id, scope_project_id, parent_project_id, is_granted
      from (${found}) one`
  })
  const [first, ...more] = parts
  const union = first && more.reduce((all, one) => sql`${all} union all ${one}`, first)
  const found = union ? await rows(db, OwnerRow)`${union}` : []
  const owners = new Map(
    found.map(({ kind, id, is_granted, ...owner }) => [
      `${kind} ${id}`,
      { ...owner, granted_to: is_granted ? project : null },
    ]),
  )
  return ({ kind, id }) => owners.get(`${kind} ${idOf(id)}`)
}

const Granted = Type.Object({ number: Type.Integer() })

/** A block or network from which addresses shall be taken for a project. */
export type Use = Pick<Named, 'kind' | 'id'> & { readonly project_id: string | null }

/** Which of some uses are granted: their places in the list. */
export async function findGranted(db: Database, uses: readonly Use[]): Promise<Set<number>> {
  if (uses.length === 0) return new Set()
  const wanted = uses.map(({ kind, id, project_id }, number) => {
    return { number, project_id, [kind]: id }
  })
  const found = await rows(db, Granted)`
    select w.number
    from jsonb_to_recordset(${JSON.stringify(wanted)}) w (number int, project_id text, block uuid,
      network uuid)
    where exists (select from grants_for(w.project_id, w.block, w.network))`
  return new Set(found.map(({ number }) => number))
}

/** The network of an interface; undefined if it is on none, or not there. */
export async function findNetworkOf(db: Database, interface_id: string) {
  const [found] = await rows(db, Type.Object({ id: Type.String() }))`
    select network_id as id from interfaces where id = ${interface_id} and network_id is not null`
  return found?.id
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
