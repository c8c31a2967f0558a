import { readFileSync } from 'node:fs'
import pg from 'pg'
import type { Logger } from 'pino'
import type { OpenDatabase } from '../../db/database.ts'
import { postgresDatabase } from '../../db/postgres.ts'
import type { DiscoveryConfig } from '../config.ts'
import { DiscoveryError } from '../driver.ts'
import type { Json } from './configuration.ts'
import { readSchemaVersion } from './hosts-store.ts'

/** Kea's own database: for Melange, and as Kea is told of it. */
export type KeaDatabase = { readonly db: OpenDatabase; readonly access: Json }

/** That of Kea 2.2. */
const schemaVersion = '13.0'

/**
 * Opens Kea's database.
 *
 * @throws {DiscoveryError} if it is not there, or of another version
 */
export async function openKeaDatabase(
  settings: DiscoveryConfig['kea'],
  log: Logger,
): Promise<KeaDatabase> {
  const url = readUrl(settings)
  const db = postgresDatabase({
    url,
    connections_max: 2,
    connect_timeout_seconds: 10,
    statement_timeout_seconds: 120,
    onError: error => log.warn({ err: error }, "a connection to Kea's database was lost"),
  })
  try {
    const version = await readSchemaVersion(db)
    if (version === null) {
      throw new DiscoveryError(
        "kea.database_url: Kea's tables are not there: kea-admin db-init pgsql makes them",
      )
    }
    if (version !== schemaVersion) {
      throw new DiscoveryError(
        `kea.database_url: Kea's tables are of version ${version}, and ${schemaVersion} (Kea 2.2) is needed`,
      )
    }
    return { db, access: accessOf(url) }
  } catch (cause) {
    await db.close()
    if (cause instanceof DiscoveryError) throw cause
    throw new DiscoveryError(`kea.database_url: ${reasonOf(cause)}`, { cause })
  }
}

/** What is behind an error that says little. */
const reasonOf = (error: unknown): string => {
  const { cause, message } = error as Error
  return cause instanceof Error && cause.message !== '' ? cause.message : message
}

function readUrl({ database_url, database_url_file }: DiscoveryConfig['kea']): string {
  if (database_url !== undefined) return database_url
  if (database_url_file === undefined) {
    throw new DiscoveryError('kea.database_url or kea.database_url_file is needed')
  }
  try {
    return readFileSync(database_url_file, 'utf8').trim()
  } catch (cause) {
    throw new DiscoveryError(`kea.database_url_file: ${(cause as Error).message}`, { cause })
  }
}

/** The same URL in Kea's words. Without the database Kea answers nobody: it would refuse those it knows. */
function accessOf(url: string): Json {
  const { host, port, database, user, password } = new pg.Client({ connectionString: url })
  return {
    type: 'postgresql',
    host,
    port,
    name: database ?? '',
    user: user ?? '',
    password: typeof password === 'string' ? password : '',
    'max-reconnect-tries': 1_000_000,
    'reconnect-wait-time': 500,
    'on-fail': 'stop-retry-exit',
  }
}
