import { execFile } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { type PostgresServer, startPostgresServer } from '../../test/helpers/postgres-server.ts'
import type { Lab } from './lab.ts'
import { parentOf } from './processes.ts'

/** PostgreSQL, which programs in a namespace come to by a socket in a folder. */
export type Database = {
  readonly postgres: PostgresServer
  readonly socket_folder: string
  /** Of the postmaster. */
  readonly pid: number
}

const access = 'local all all trust\nhost all all 127.0.0.1/32 trust\n'

export async function startDatabase(lab: Lab): Promise<Database> {
  const socket_folder = lab.makeFolder('postgres')
  chmodSync(socket_folder, 0o777)
  const hba_file = join(socket_folder, 'pg_hba.conf')
  writeFileSync(hba_file, access)
  const postgres = await startPostgresServer({
    settings: { unix_socket_directories: socket_folder, hba_file },
  })
  return { postgres, socket_folder, pid: await findPostmaster(postgres.url) }
}

async function findPostmaster(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    return parentOf(rows[0]?.pid ?? 0) // The backend is there as long as the connection is.
  } finally {
    await client.end()
  }
}

/** Runs a file of statements and of commands of psql. */
export async function runSqlFile(url: string, file: string): Promise<void> {
  const flags = ['--quiet', '--no-psqlrc', '--set=ON_ERROR_STOP=1', '--output=/dev/null']
  await promisify(execFile)('psql', [...flags, '--file', file, url])
}
