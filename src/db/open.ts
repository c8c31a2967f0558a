import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { lockDataFolder } from './data-folder-lock.ts'
import type { OpenDatabase } from './database.ts'
import { migrate } from './migrate.ts'
import { pgliteDatabase } from './pglite.ts'
import { postgresDatabase } from './postgres.ts'

export type DatabaseOptions = {
  readonly data_dir: string
  readonly database: {
    readonly url?: string
    readonly connections_max: number
    readonly connect_timeout_seconds: number
    readonly statement_timeout_seconds: number
  }
  readonly onError: (error: Error) => void
}

/** Where a database is, without its password. */
export function databaseName({ data_dir, database }: Omit<DatabaseOptions, 'onError'>): string {
  if (!database.url) return `embedded database in ${resolve(data_dir)}`
  try {
    const url = new URL(database.url)
    return `PostgreSQL at ${url.host}${url.pathname}`
  } catch {
    return 'PostgreSQL'
  }
}

/** The configured database, brought up to the schema of this program. */
export async function openDatabase(options: DatabaseOptions): Promise<OpenDatabase> {
  const db = await connect(options)
  try {
    await migrate(db)
    return db
  } catch (error) {
    await db.close().catch(options.onError)
    throw error
  }
}

async function connect({ data_dir, database, onError }: DatabaseOptions): Promise<OpenDatabase> {
  const { url } = database
  if (url) return postgresDatabase({ ...database, url, onError })
  mkdirSync(data_dir, { recursive: true, mode: 0o700 })
  const lock = lockDataFolder(data_dir)
  try {
    const db = await pgliteDatabase({ dataDir: join(data_dir, 'postgres') })
    return {
      ...db,
      close: async () => {
        await db.close()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}
