import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { createNetwork } from '../resources/networks/store.ts'
import { Id } from '../schema.ts'
import { isUuid } from './ids.ts'

const Row = Type.Object({
  id: Id,
  name: Type.String(),
  project_id: Type.Union([Type.String(), Type.Null()]),
})
/** A network, and what it is called: a text of somebody's choice, or its id. */
export type NetworkRow = Static<typeof Row>

/** What a network `n` is called. */
export const networkName = sql`coalesce(n.v1_id, n.id::text)`

/** Null if there is no such network. */
export async function findNetwork(db: Database, name: string): Promise<NetworkRow | null> {
  const [named] = await rows(db, Row)`
    select n.id, ${networkName} as name, n.project_id from networks n where n.v1_id = ${name}`
  if (named || !isUuid(name)) return named ?? null
  const [network] = await rows(db, Row)`
    select n.id, ${networkName} as name, n.project_id from networks n
    where n.id = ${name} and (n.v1_id is null or n.v1_id = ${name})`
  return network ?? null
}

/**
 * The network of a name, which is made if it is not there. Of two that make it at the same time one
 * is run again.
 *
 * @throws {IpamError} `network_exists`
 */
export async function obtainNetwork(
  tx: Database,
  { name, tenant_id }: { readonly name: string; readonly tenant_id: string },
): Promise<NetworkRow> {
  const found = await findNetwork(tx, name)
  if (found) return found
  const isId = isUuid(name)
  const { id } = await createNetwork(tx, { ...(isId && { id: name }), project_id: tenant_id })
  if (id !== name) await tx.query(sql`update networks set v1_id = ${name} where id = ${id}`)
  return { id, name, project_id: tenant_id }
}
