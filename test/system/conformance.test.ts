import { afterAll, describe, expect, inject, test } from 'vitest'
import { corpora, differing, replay } from '../helpers/conformance.ts'
import { createDatabase, dropDatabase } from '../helpers/direct-sql.ts'
import {
  adminToken,
  cleanUp,
  runAudit,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

const postgres = inject('postgresUrl')
const databases: string[] = []

/** A database of its own: corpora change what is global, as MAC ranges are. */
async function freshDatabase(folder: string): Promise<Record<string, string>> {
  if (postgres === '') return { MELANGE_DATA_DIR: `${folder}/data` }
  const database = await createDatabase(postgres)
  databases.push(database)
  return { DATABASE_URL: database }
}

describe('what the original Melange answered is what this one answers', () => {
  afterAll(async () => {
    await cleanUp()
    for (const database of databases) await dropDatabase(database)
  })

  test.concurrent.each(Object.entries(corpora))('%s', async (corpus, melange_v1) => {
    const folder = temporaryFolder()
    const settings = settingsFile({ melange_v1, log_level: 'warn' })
    const env = { MELANGE_CONFIG: settings, ...(await freshDatabase(folder)) }
    const server = await ServerProcess.start(env)
    const found = await replay(server.url, { corpus, token: adminToken, folder })
    expect(found.length).toBeGreaterThan(0)
    const failed = found.filter(({ passed }) => !passed)
    const unexpected = failed.filter(({ id }) => !(id in differing))
    expect(unexpected.map(({ id, diff }) => [id, ...diff])).toEqual([])
    const known = found.map(({ id }) => id).filter(id => id in differing)
    expect(failed.map(({ id }) => id)).toEqual(known)
    expect(await server.stop()).toBe(0)
    // No request ended in a bug, which would have been logged.
    expect(server.stdout).toBe('')
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
  })
})
