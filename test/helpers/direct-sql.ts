import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { btree_gist } from '@electric-sql/pglite/contrib/btree_gist'
import pg from 'pg'

/** Runs SQL that none of the product's code has seen. */
export type Query = (
  text: string,
  values?: readonly unknown[],
) => Promise<Record<string, unknown>[]>

/** Uses a PostgreSQL database directly. */
export async function withPostgres<T>(url: string, work: (query: Query) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 20_000 })
  await client.connect()
  try {
    return await work(async (text, values = []) => (await client.query(text, [...values])).rows)
  } finally {
    await client.end()
  }
}

/** Uses an embedded database directly; no server may run on its folder. */
export async function withPglite<T>(
  folder: string,
  work: (query: Query) => Promise<T>,
): Promise<T> {
  const lite = await PGlite.create({ dataDir: folder, extensions: { btree_gist } })
  try {
    return await work(async (text, values = []) => {
      return (await lite.query<Record<string, unknown>>(text, [...values])).rows
    })
  } finally {
    await lite.close()
  }
}

/** A new database on the server of another one: empty, or a copy. */
export async function createDatabase(url: string, template?: string): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const copied = template && ` template ${new URL(template).pathname.slice(1)}`
  await withPostgres(url, query => query(`create database ${name}${copied ?? ''}`))
  return Object.assign(new URL(url), { pathname: `/${name}` }).href
}

/** Removes a database, and whoever uses it. */
export async function dropDatabase(url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1)
  const server = Object.assign(new URL(url), { pathname: '/postgres' }).href
  await withPostgres(server, query => query(`drop database if exists ${name} with (force)`))
}
