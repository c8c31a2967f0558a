import type { TestProject } from 'vitest/node'
import { migrate } from '../../src/db/migrate.ts'
import { postgresDatabase } from '../../src/db/postgres.ts'
import { createDatabase, dropDatabase } from './direct-sql.ts'
import { findPostgresBinaries, startPostgresServer } from './postgres-server.ts'

/** What a developer without PostgreSQL reads instead of failures. */
export const postgresMissing =
  'Tests on PostgreSQL are skipped: install it with `npm run setup:debian`, ' +
  'or set MELANGE_TEST_POSTGRES_URL.'

/** Whether tests on PostgreSQL can run here; in CI they must, so there the answer is yes. */
export function expectsPostgres(): boolean {
  const { MELANGE_TEST_POSTGRES_URL, CI } = process.env
  return Boolean(MELANGE_TEST_POSTGRES_URL || CI) || findPostgresBinaries() !== null
}

/** Vitest calls this once for each project that needs PostgreSQL, and what it returns at the end. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const url = process.env.MELANGE_TEST_POSTGRES_URL
  if (!url && !expectsPostgres()) {
    console.warn(postgresMissing)
    project.provide('postgresUrl', '')
    return async () => undefined
  }
  if (!url && findPostgresBinaries() === null) {
    throw new Error(
      'CI needs PostgreSQL: run `npm run setup:debian` or set MELANGE_TEST_POSTGRES_URL',
    )
  }
  // Each test file has a pool of its own, and there are as many at a time as processors. What
  // tests of the API write need not outlive a crash; tests of the system meet a server as it is.
  const quick = { fsync: 'off', full_page_writes: 'off' }
  const settings = { max_connections: '300', ...(project.name !== 'system' && quick) }
  const server = url
    ? { url, stop: async () => undefined }
    : await startPostgresServer({ settings })
  project.provide('postgresUrl', server.url)
  const template = await createTemplate(server.url)
  project.provide('template', template)
  return async () => {
    await dropDatabase(template)
    await server.stop()
  }
}

/** Makes the migrated database of which each test file gets a copy; returns its URL. */
async function createTemplate(server: string): Promise<string> {
  const url = await createDatabase(server)
  const db = postgresDatabase({
    url,
    connections_max: 1,
    connect_timeout_seconds: 30,
    statement_timeout_seconds: 60,
    onError: error => console.error(error),
  })
  await migrate(db)
  await db.close()
  return url
}
