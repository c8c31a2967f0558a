import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { Type } from 'typebox'
import { inject } from 'vitest'
import { type Database, type OpenDatabase, rows } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { pgliteDatabase } from '../../src/db/pglite.ts'
import { postgresDatabase } from '../../src/db/postgres.ts'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'

/** A new, migrated database of the kind this vitest project runs on; `close` removes it. */
export async function newDatabase(): Promise<OpenDatabase> {
  const db = await newEmptyDatabase()
  await migrate(db)
  return db
}

/** A new database of this kind, without a schema. */
export const newEmptyDatabase = (): Promise<OpenDatabase> =>
  inject('databaseKind') === 'pglite' ? pgliteDatabase() : newOnServer()

const connectionsMax = 10

/** A database of a server, for who fills it with what tests look at. */
export const openForWorld = (url: string): OpenDatabase =>
  postgresDatabase({
    url,
    connections_max: 2,
    connect_timeout_seconds: 20,
    statement_timeout_seconds: 60,
    onError: error => console.error(error),
  })

async function newOnServer(): Promise<OpenDatabase> {
  const server = inject('postgresUrl')
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await runOn(server, `create database ${name}`)
  const db = postgresDatabase({
    url: Object.assign(new URL(server), { pathname: `/${name}` }).href,
    connections_max: connectionsMax,
    connect_timeout_seconds: 30,
    statement_timeout_seconds: 60,
    onError: () => undefined, // Nobody waits for a connection that was idle.
  })
  return {
    ...db,
    close: async () => {
      await db.close()
      await runOn(server, `drop database ${name} with (force)`)
    },
  }
}

async function runOn(server: string, text: string): Promise<void> {
  const client = new pg.Client(server)
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}

const Table = Type.Object({ tablename: Type.String() })

/** Brings a database back to the state right after its migration; an app knows who asked, and still does. */
export async function emptyDatabase(db: Database): Promise<void> {
  const tables = await rows(db, Table)`
    select tablename from pg_tables
    where schemaname = current_schema() and tablename not like 'schema\\_%'
      and tablename <> 'callers'`
  await db.execute(`
    truncate ${tables.map(({ tablename }) => pg.escapeIdentifier(tablename)).join(', ')};
    alter sequence event_seq restart;
    insert into event_horizon values (0);
    insert into address_scopes (id, name, description)
    values ('${publicScopeId}', 'public', 'The one routing domain that everybody shares.')`)
}
