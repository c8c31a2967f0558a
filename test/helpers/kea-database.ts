import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type PostgresServer, startPostgresServer } from './postgres-server.ts'

/** Of Debian's kea-admin. */
const schema = '/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql'

/** A PostgreSQL server for Keas, which is reached from all network namespaces by its unix socket. */
export type KeaDatabases = {
  readonly server: PostgresServer
  /** The URL of a new database, with Kea's tables unless it shall be empty. */
  create(options?: { readonly isEmpty?: boolean }): Promise<string>
  stop(): Promise<void>
}

export async function startKeaDatabases(): Promise<KeaDatabases> {
  if (!existsSync(schema)) throw new Error('Kea is not installed: npm run setup:debian -- dhcp')
  const folder = mkdtempSync(join(tmpdir(), 'ml-kea-pg-'))
  chmodSync(folder, 0o777)
  const access = join(folder, 'pg_hba.conf')
  writeFileSync(access, 'local all all trust\nhost all all 127.0.0.1/32 trust\n', { mode: 0o644 })
  const settings = { unix_socket_directories: folder, hba_file: access }
  const server = await startPostgresServer({ settings })
  return {
    server,
    async create({ isEmpty = false } = {}) {
      const { pathname } = new URL(await server.createDatabase())
      const name = pathname.slice(1)
      const flags = ['-h', folder, '-p', String(server.port), '-U', 'postgres', '-q', '-d', name]
      // It is meant for psql, and says much.
      if (!isEmpty) await promisify(execFile)('psql', [...flags, '-o', '/dev/null', '-f', schema])
      return `postgres://postgres@/${name}?host=${encodeURIComponent(folder)}&port=${server.port}`
    },
    async stop() {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
