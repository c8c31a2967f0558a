import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, describe, expect, inject, test } from 'vitest'
import {
  createDatabase,
  dropDatabase,
  type Query,
  withPglite,
  withPostgres,
} from '../helpers/direct-sql.ts'
import { failToServe } from '../helpers/failed-start.ts'
import { HttpClient, type Problem } from '../helpers/http-client.ts'
import { findPostgresBinaries, startPostgresServer } from '../helpers/postgres-server.ts'
import {
  adminToken,
  cleanUp,
  type Environment,
  runMelange,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

const hasPostgres = inject('postgresUrl') !== ''
const databases: string[] = []

afterEach(async () => {
  await cleanUp()
  for (const database of databases.splice(0)) await dropDatabase(database)
})

async function newDatabase(): Promise<string> {
  const database = await createDatabase(inject('postgresUrl'))
  databases.push(database)
  return database
}

/** Without MELANGE_ADMIN_TOKEN a server makes a token of its own. */
const ownToken = { MELANGE_ADMIN_TOKEN: '' }
/** The last of the printed lines follows the token, so all of them are there then. */
const tokenOf = (server: ServerProcess): Promise<string> =>
  server.heard(/^ {2}export MELANGE_TOKEN=(\S+)\n(?:.*\n)*.*address=10\.0\.0\.2"\n/m)

/** What the server prints for the shell: the lines that are set in by two spaces. */
const shellLines = (server: ServerProcess) =>
  server.stderr
    .split('\n')
    .filter(line => line.startsWith('  '))
    .map(line => line.slice(2))

async function listBlocks(url: string, token: string) {
  const client = new HttpClient(url, { 'x-auth-token': token })
  const answer = await client.request<Problem>({ method: 'GET', path: '/v2/blocks' })
  client.close()
  return answer
}

/** A data folder that `melange migrate` made; to make one takes seconds, to copy it does not. */
let prepared: Promise<string> | undefined
async function preparedFolder(): Promise<string> {
  prepared ??= (async () => {
    const folder = join(mkdtempSync(join(tmpdir(), 'melange-prepared-')), 'data')
    const { code, stderr } = await runMelange(['migrate'], { MELANGE_DATA_DIR: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return folder
  })()
  const folder = temporaryFolder()
  cpSync(await prepared, folder, { recursive: true })
  return folder
}

afterAll(async () => {
  if (prepared) rmSync(dirname(await prepared), { recursive: true, force: true })
})

const kinds = ['PGlite', ...(hasPostgres ? ['PostgreSQL'] : [])]

describe.each(kinds)('the first start, on %s', kind => {
  const newEnvironment = async () => {
    if (kind === 'PostgreSQL') return { DATABASE_URL: await newDatabase() }
    return { MELANGE_DATA_DIR: temporaryFolder() }
  }
  const migratedEnvironment = async () => {
    if (kind === 'PGlite') return { MELANGE_DATA_DIR: await preparedFolder() }
    const env = await newEnvironment()
    expect(await runMelange(['migrate'], env)).toMatchObject({ code: 0, stderr: '' })
    return env
  }
  const look = <T>(env: Environment, work: (query: Query) => Promise<T>): Promise<T> => {
    const { DATABASE_URL, MELANGE_DATA_DIR } = env
    if (DATABASE_URL) return withPostgres(DATABASE_URL, work)
    return withPglite(join(MELANGE_DATA_DIR ?? '', 'postgres'), work)
  }

  test('prints a token once, and shell lines that work as printed', async () => {
    const env = await newEnvironment()
    const first = await ServerProcess.start({ ...env, ...ownToken })
    const token = await tokenOf(first)
    expect(token.length).toBeGreaterThan(40)
    const { stdout } = await promisify(execFile)('bash', ['-euc', shellLines(first).join('\n')])
    const [made, found] = stdout.split('}{').map(text => text.includes('"10.0.0.2"'))
    expect([made, found]).toEqual([true, true])
    expect(stdout.match(/"owner_id":"vm-1"/g)).toHaveLength(2)
    expect(await first.stop()).toBe(0)

    const second = await ServerProcess.start({ ...env, ...ownToken })
    expect((await listBlocks(second.url, token)).status).toBe(200)
    expect(await second.stop()).toBe(0)
    expect(second.stderr).not.toMatch(/token/i)

    // Only the hash is kept, in tables, files and logs.
    const hash = createHash('sha256').update(token).digest('hex')
    const tokens = await look(env, query => query(`select encode(hash, 'hex') as hash from tokens`))
    expect(tokens).toEqual([{ hash }])
    expect(first.stdout + second.stdout).not.toContain(token)
    if (!('MELANGE_DATA_DIR' in env)) return
    const files = readdirSync(env.MELANGE_DATA_DIR, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => readFileSync(join(entry.parentPath, entry.name)))
    expect(files.length).toBeGreaterThan(100)
    expect(files.some(bytes => bytes.includes(token))).toBe(false)
    expect(files.some(bytes => bytes.includes(Buffer.from(hash, 'hex')))).toBe(true)
  })

  test('uses MELANGE_ADMIN_TOKEN instead of a token of its own', async () => {
    const env = await migratedEnvironment()
    const server = await ServerProcess.start(env)
    expect((await listBlocks(server.url, adminToken)).status).toBe(200)
    const refused = await listBlocks(server.url, `${adminToken}x`)
    expect([refused.status, refused.body.code]).toEqual([401, 'authentication_required'])
    expect(await server.stop()).toBe(0)
    expect(server.stderr).not.toContain(adminToken)
    expect(server.stderr).not.toContain('export')
    expect(server.stderr).toContain(`${server.url}/v2/allocations`)
    expect(await look(env, query => query('select * from tokens'))).toEqual([])
  })

  test('that fails has not used up the token', async () => {
    const env = await migratedEnvironment()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const MELANGE_LISTEN = `127.0.0.1:${(other.address() as AddressInfo).port}`
    const line = await failToServe({ ...env, MELANGE_LISTEN })
    expect(line).toBe(`${MELANGE_LISTEN} is in use: set MELANGE_LISTEN to a free port`)
    other.close()
    const server = await ServerProcess.start({ ...env, ...ownToken })
    expect((await listBlocks(server.url, await tokenOf(server))).status).toBe(200)
  })

  test('of a program that is older than the schema ends with one line', async () => {
    const env = await migratedEnvironment()
    await look(env, query =>
      query(`insert into schema_migrations (number, name) values (9999, '9999_newer.sql')`),
    )
    expect(await failToServe(env)).toMatch(/schema version 9999, but this program knows .* up to/)
  })
})

describe('the configuration', () => {
  test('is read from a YAML file, and the environment goes before it', async () => {
    const port = await freePort()
    const [inFile, inEnvironment] = [await preparedFolder(), await preparedFolder()]
    const file = join(temporaryFolder(), 'melange.yaml')
    writeFileSync(file, `# A comment.\nlisten: 127.0.0.1:${port}\ndata_dir: ${inFile}\n`)

    const one = await ServerProcess.start({ MELANGE_LISTEN: '' }, ['--config', file])
    expect(one.url).toBe(`http://127.0.0.1:${port}`)
    expect(await one.stop()).toBe(0)
    const other = await ServerProcess.start({ MELANGE_DATA_DIR: inEnvironment }, ['-c', file])
    expect(other.url).not.toBe(one.url)
    expect(await other.stop()).toBe(0)
    expect(one.stderr).toContain(`embedded database in ${inFile}.`)
    expect(other.stderr).toContain(`embedded database in ${inEnvironment}.`)
  })

  test.each([
    { what: 'is no YAML', text: 'listen: [127.0.0.1:0\nnot: yaml', says: /melange\.yaml: / },
    { what: 'has an unknown member', text: 'listem: 127.0.0.1:0', says: /listem/ },
    { what: 'has a value of the wrong type', text: 'log_level: 7', says: /^log_level / },
    { what: 'is a list', text: '- listen', says: /must be a YAML mapping/ },
    { what: 'has an unknown member inside', text: 'database:\n  uri: x', says: /uri/ },
  ])('that $what is refused in one line', async ({ text, says }) => {
    const file = join(temporaryFolder(), 'melange.yaml')
    writeFileSync(file, text)
    expect(await failToServe({}, ['--config', file])).toMatch(says)
  })

  test('that is not there, or of which the environment is wrong, is refused in one line', async () => {
    const missing = join(temporaryFolder(), 'missing.yaml')
    expect(await failToServe({}, ['--config', missing])).toContain(missing)
    expect(await failToServe({ MELANGE_LISTEN: 'nonsense' })).toMatch(/^listen /)
    expect(await failToServe({ DATABASE_URL: 'mysql://x/y' })).toMatch(/^database\.url /)
    // 192.0.2.0/24 is nobody's (RFC 5737).
    const MELANGE_DATA_DIR = await preparedFolder()
    const line = await failToServe({ MELANGE_DATA_DIR, MELANGE_LISTEN: '192.0.2.1:9898' })
    expect(line).toMatch(/^cannot listen on 192\.0\.2\.1:9898: /)
  })
})

describe('a data folder', () => {
  test('serves one process at a time', async () => {
    const env = { MELANGE_DATA_DIR: await preparedFolder() }
    const attempts = await Promise.allSettled([ServerProcess.start(env), ServerProcess.start(env)])
    const [server] = attempts.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    expect(attempts.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    const line = await failToServe(env)
    expect(line).toBe(`The data folder ${env.MELANGE_DATA_DIR} is in use by process ${server?.pid}`)
    expect(await runMelange(['audit'], env)).toMatchObject({
      code: 2,
      stderr: `melange: ${line}\n`,
    })
    expect(await server?.stop()).toBe(0)
    expect((await ServerProcess.start(env)).isRunning).toBe(true)
  })

  test('that cannot be one is refused in one line', async () => {
    const file = settingsFile({})
    expect(await failToServe({ MELANGE_DATA_DIR: file })).toContain(file)
    expect(await failToServe({ MELANGE_DATA_DIR: join(file, 'inside') })).toContain(file)
  })
})

describe('a database that cannot be had ends the start with one line', () => {
  test('when nothing listens', async () => {
    const port = await freePort()
    const line = await failToServe({ DATABASE_URL: `postgres://melange@127.0.0.1:${port}/melange` })
    expect(line).toMatch(new RegExp(`^PostgreSQL at 127.0.0.1:${port}/melange does not answer: `))
  })

  test('when what listens never answers', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const settings = settingsFile({ database: { connect_timeout_seconds: 1 } })
    const line = await failToServe({
      DATABASE_URL: `postgres://melange@127.0.0.1:${port}/melange`,
      MELANGE_CONFIG: settings,
    })
    expect(line).toMatch(/does not answer: /)
    silent.close()
  })

  test.skipIf(findPostgresBinaries() === null)('when it refuses', async () => {
    const postgres = await startPostgresServer()
    try {
      await withPostgres(postgres.url, async query => {
        await query(`create role melange login password 'right'`)
        const [row] = await query('show hba_file')
        writeFileSync(String(row?.hba_file), 'host all all 127.0.0.1/32 scram-sha-256\n')
        await query('select pg_reload_conf()')
      })
      const at = `127.0.0.1:${postgres.port}`
      const wrong = await failToServe({ DATABASE_URL: `postgres://melange:wrong@${at}/postgres` })
      expect(wrong).toBe(
        `PostgreSQL at ${at}/postgres: password authentication failed for user "melange"`,
      )
      const none = await failToServe({ DATABASE_URL: `postgres://melange@${at}/postgres` })
      expect(none).toMatch(/password/)
      const nowhere = await failToServe({ DATABASE_URL: `postgres://melange:right@${at}/nowhere` })
      expect(nowhere).toBe(`PostgreSQL at ${at}/nowhere: database "nowhere" does not exist`)
      // It may connect, but create nothing.
      const idle = await failToServe({ DATABASE_URL: `postgres://melange:right@${at}/template1` })
      expect(idle).toMatch(/^PostgreSQL at .*permission denied/)
    } finally {
      await postgres.stop()
    }
  })
})

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
