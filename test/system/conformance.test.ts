import { afterAll, describe, expect, test } from 'vitest'
import { corpora, differing, replay } from '../helpers/conformance.ts'
import {
  adminToken,
  cleanUp,
  runAudit,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

describe('what the original Melange answered is what this one answers', () => {
  afterAll(cleanUp)

  test.each(Object.entries(corpora))('%s', async (corpus, melange_v1) => {
    const folder = temporaryFolder()
    const env = {
      MELANGE_CONFIG: settingsFile({ melange_v1, log_level: 'warn' }),
      MELANGE_DATA_DIR: `${folder}/data`,
    }
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
