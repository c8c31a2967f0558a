import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { Type } from 'typebox'
import { inject } from 'vitest'
import { type Database, type OpenDatabase, rows } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { pgliteDatabase } from '../../src/db/pglite.ts'
import { postgresDatabase } from '../../src/db/postgres.ts'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import { createDatabase, dropDatabase } from './direct-sql.ts'

/** A new, migrated database of the kind this vitest project runs on; `close` removes it. */
export async function newDatabase(): Promise<OpenDatabase> {
  const template = inject('template')
  const db =
    inject('databaseKind') === 'pglite'
      ? await pgliteDatabase({ loadDataDir: new Blob([await readFile(template)]) })
      : await newOnServer(template)
  await migrate(db) // In watch mode the SQL may have changed since the template was made.
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

async function newOnServer(template?: string): Promise<OpenDatabase> {
  const url = await createDatabase(inject('postgresUrl'), template)
  const db = postgresDatabase({
    url,
    connections_max: connectionsMax,
    connect_timeout_seconds: 30,
    statement_timeout_seconds: 60,
    onError: () => undefined, // Nobody waits for a connection that was idle.
  })
  return {
    ...db,
    close: async () => {
      await db.close()
      await dropDatabase(url)
    },
  }
}

const Table = Type.Object({ name: Type.String(), is_large: Type.Boolean() })

/**
 * Brings a database back to the state right after its migration. Few rows are deleted: `truncate`
 * makes new files for all tables and indexes, which takes 50 ms, and with fsync ten times that.
 * An app knows who asked it, and still does.
 */
export async function emptyDatabase(db: Database): Promise<void> {
  const tables = await rows(db, Table)`
    select tablename as name, pg_relation_size(tablename::regclass) > 1048576 as is_large
    from pg_tables where schemaname = current_schema() and tablename not like 'schema\\_%'
      and tablename <> 'callers'`
  const names = tables.map(({ name }) => pg.escapeIdentifier(name))
  const isLarge = tables.some(({ is_large }) => is_large)
  await db.transaction(async tx => {
    // As for `truncate`, nothing that a test has left under way writes any longer.
    await tx.execute(`lock table ${names.join(', ')}`)
    await tx.execute(
      isLarge
        ? `truncate ${names.join(', ')}`
        : `set local session_replication_role = replica; -- without triggers and foreign keys
           ${names.map(name => `delete from ${name};`).join(' ')}
           set local session_replication_role = origin`,
    )
    await tx.execute(`
      select setval('event_seq', 1, false);
      insert into event_horizon values (0);
      insert into address_scopes (id, name, description)
      values ('${publicScopeId}', 'public', 'The one routing domain that everybody shares.')`)
  })
}
