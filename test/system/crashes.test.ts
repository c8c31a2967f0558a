import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type Query, withPglite, withPostgres } from '../helpers/direct-sql.ts'
import { HttpClient } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import type { Ledger } from '../helpers/ledger.ts'
import { compareWithLedger } from '../helpers/ledger-checks.ts'
import {
  findPostgresBinaries,
  type PostgresServer,
  startPostgresServer,
} from '../helpers/postgres-server.ts'
import { startLoad, waitUntil } from '../helpers/race-load.ts'
import { createWorld } from '../helpers/race-world.ts'
import {
  cleanUp,
  type Environment,
  runAudit,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

const crashes = Number(process.env.MELANGE_CRASHES ?? 4)
const clients = 32

/** What every crash must leave behind. */
async function expectTruth(query: Query, ledger: Ledger): Promise<void> {
  console.info(Object.fromEntries([...ledger.outcomes].sort()))
  expect(ledger.surprises).toEqual([])
  expect(await findContradictions(query)).toEqual([])
  expect(await compareWithLedger(query, ledger)).toEqual([])
}

afterAll(cleanUp)

// In CI a missing PostgreSQL ends the run before it comes here (test/helpers/global-setup.ts).
describe.skipIf(findPostgresBinaries() === null)('on PostgreSQL', () => {
  let postgres: PostgresServer

  beforeAll(async () => {
    postgres = await startPostgresServer()
  })
  afterAll(() => postgres?.stop())

  const newEnvironment = async (): Promise<Environment & { DATABASE_URL: string }> => ({
    DATABASE_URL: await createDatabase(postgres.url),
    MELANGE_CONFIG: settingsFile({ log_level: 'error' }),
  })

  test('a server that is killed in the middle of load loses nothing it acknowledged (I3, I12)', async () => {
    const env = await newEnvironment()
    const servers = [await ServerProcess.start(env), await ServerProcess.start(env)]
    const world = await createWorld(servers[0] as ServerProcess)
    let requests = 0
    const server = () => servers[requests++ % servers.length] as ServerProcess
    const weather = { mayLoseAnswers: true, mayLackDatabase: false }
    const load = startLoad({ world, weather, clients, seed: 1, server })

    for (let crash = 0; crash < crashes; crash++) {
      await load.progress(300)
      await servers[crash % 2]?.kill9()
      await load.progress(100) // The other server goes on.
      servers[crash % 2] = await ServerProcess.start(env)
    }
    await load.progress(300)
    const ledger = await load.stop()
    expect(ledger.doubtfulOwners.size + ledger.doubtfulReleases.size).toBeGreaterThan(0)
    await withPostgres(env.DATABASE_URL, query => expectTruth(query, ledger))
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
    for (const one of servers) expect(await one.stop()).toBe(0)
  })

  test('when PostgreSQL crashes, servers answer 503 and recover by themselves', async () => {
    const env = await newEnvironment()
    const servers = [await ServerProcess.start(env), await ServerProcess.start(env)]
    const world = await createWorld(servers[0] as ServerProcess)
    let requests = 0
    const server = () => servers[requests++ % servers.length] as ServerProcess
    const weather = { mayLoseAnswers: false, mayLackDatabase: true }
    const load = startLoad({ world, weather, clients, seed: 2, server })

    for (let crash = 0; crash < crashes; crash++) {
      await load.progress(300)
      await postgres.kill9()
      await load.attempts(4 * clients)
      for (const one of servers) {
        const ready = await one.get<{ code: string }>('/readyz')
        expect([ready.status, ready.body.code]).toEqual([503, 'database_unavailable'])
        expect(ready.headers['retry-after']).toBe('1')
        expect((await one.get('/healthz')).status).toBe(200)
      }
      await postgres.start()
      for (const one of servers) {
        await waitUntil(
          'the server is ready',
          async () => (await one.get('/readyz')).status === 200,
        )
      }
    }
    await load.progress(300)
    const ledger = await load.stop()
    expect([...ledger.outcomes.keys()].join()).toContain('503 database_unavailable')
    await withPostgres(env.DATABASE_URL, query => expectTruth(query, ledger))
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
    for (const one of servers) {
      expect(one.stdout).not.toContain('"bug"')
      expect(await one.stop()).toBe(0)
    }
  })

  test('a server whose PostgreSQL stays away still ends on SIGTERM', async () => {
    const server = await ServerProcess.start(await newEnvironment())
    await postgres.kill9()
    await waitUntil('it has noticed', async () => (await server.get('/readyz')).status === 503)
    // Whether a token is valid is not known now: it is not called invalid.
    const stranger = new HttpClient(server.url, { 'x-auth-token': `melange_${'x'.repeat(43)}` })
    const answer = await stranger.request({ method: 'GET', path: '/v2/blocks' })
    expect(answer.status).toBe(503)
    stranger.close()
    expect(await server.stop()).toBe(0)
    await postgres.start()
  })
})

test('the embedded database loses nothing acknowledged when its server is killed', async () => {
  const MELANGE_DATA_DIR = temporaryFolder()
  const env = { MELANGE_DATA_DIR, MELANGE_CONFIG: settingsFile({ log_level: 'error' }) }
  let server = await ServerProcess.start(env)
  const world = await createWorld(server)
  const weather = { mayLoseAnswers: true, mayLackDatabase: false }
  const load = startLoad({ world, weather, clients, seed: 3, server: () => server })

  for (let crash = 0; crash < crashes; crash++) {
    await load.progress(250)
    await server.kill9()
    server = await ServerProcess.start(env)
  }
  await load.progress(250)
  const ledger = await load.stop()
  expect(ledger.doubtfulOwners.size + ledger.doubtfulReleases.size).toBeGreaterThan(0)

  // Once more, but nobody cleans up: the audit and the checks find the folder as it was left.
  await server.kill9()
  expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
  const folder = join(MELANGE_DATA_DIR, 'postgres')
  await withPglite(folder, query => expectTruth(query, ledger))
})
