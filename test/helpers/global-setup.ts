import type { TestProject } from 'vitest/node'
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
  if (url || !expectsPostgres()) {
    if (!url) console.warn(postgresMissing)
    project.provide('postgresUrl', url ?? '')
    return async () => undefined
  }
  if (findPostgresBinaries() === null) {
    throw new Error(
      'CI needs PostgreSQL: run `npm run setup:debian` or set MELANGE_TEST_POSTGRES_URL',
    )
  }
  // Each test file has a pool of its own, and there are as many at a time as processors.
  const server = await startPostgresServer({ settings: { max_connections: '300' } })
  project.provide('postgresUrl', server.url)
  return () => server.stop()
}
