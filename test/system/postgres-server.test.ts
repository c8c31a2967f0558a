import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  findPostgresBinaries,
  type PostgresServer,
  startPostgresServer,
} from '../helpers/postgres-server.ts'

const isMissing = findPostgresBinaries() === null

describe.skipIf(isMissing)('a private PostgreSQL server', () => {
  let server: PostgresServer

  beforeEach(async () => {
    server = await startPostgresServer({ settings: { max_connections: '20' } })
  })
  afterEach(() => server.stop())

  test('keeps what was committed when it crashes, and loses what was not', async () => {
    const database = await server.createDatabase()
    const client = await connect(database)
    await client.query('create table kept (id int)')
    await client.query('insert into kept values (1)')
    await client.query('begin')
    await client.query('insert into kept values (2)')

    const { pids } = await describeServer(server)
    await server.kill9()
    expect(pids.filter(isAlive)).toEqual([])

    await server.start()
    const again = await connect(database)
    expect((await again.query('select id from kept')).rows).toEqual([{ id: 1 }])
    await again.end()
  })

  test('restarts on its port with its data and settings', async () => {
    const database = await server.createDatabase('named "so"')
    await server.restart()
    const client = await connect(database)
    const { rows } = await client.query(
      `select current_database() as name, current_setting('max_connections') as max_connections,
              current_setting('fsync') as fsync, current_setting('server_encoding') as encoding`,
    )
    await client.end()
    expect(rows).toEqual([
      { name: 'named "so"', max_connections: '20', fsync: 'on', encoding: 'UTF8' },
    ])
    expect(Number.parseInt(server.version, 10)).toBeGreaterThanOrEqual(15)
  })

  test('leaves no process and no folder when it is stopped, running or crashed', async () => {
    const { pids, folder } = await describeServer(server)
    expect(pids.filter(isAlive)).toEqual(pids)
    await server.stop()
    expect(pids.filter(isAlive)).toEqual([])
    expect(existsSync(folder)).toBe(false)

    server = await startPostgresServer()
    const other = await describeServer(server)
    await server.kill9()
    await server.stop()
    expect(existsSync(other.folder)).toBe(false)
  })
})

describe.skipIf(isMissing)('startPostgresServer', () => {
  test('says why a server did not start', async () => {
    await expect(startPostgresServer({ settings: { max_conections: '5' } })).rejects.toThrow(
      'unrecognized configuration parameter "max_conections"',
    )
  })

  test.each([
    'process.disconnect()', // Which leaves it nothing to wait for.
    'process.exit()',
    `process.kill(process.pid, 'SIGTERM')`,
    `process.kill(process.pid, 'SIGKILL')`,
  ])('leaves no server behind when its process ends by %s', async end => {
    const helper = new URL('../helpers/postgres-server.ts', import.meta.url)
    const program = `
        import { startPostgresServer } from '${helper}'
        const { url } = await startPostgresServer()
        process.send(url)
        process.once('message', () => ${end})`
    const flags = ['--import', 'tsx', '--input-type=module', '--eval', program]
    const stdio = ['ignore', 'inherit', 'ignore', 'ipc'] as const
    const child = spawn(process.execPath, flags, { stdio: [...stdio] })
    const [url] = await once(child, 'message')
    const { pids, folder } = await describeServer({ url })

    const ended = once(child, 'exit')
    child.send('end')
    await ended
    await vi.waitUntil(() => !pids.some(isAlive) && !existsSync(folder), { timeout: 30_000 })
  })
})

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => undefined) // A crash of the server is what these tests are about.
  await client.connect()
  return client
}

/** The lasting processes of a server, and the folder that holds all it writes. */
async function describeServer({ url }: Pick<PostgresServer, 'url'>) {
  const client = await connect(url)
  const { rows } = await client.query(
    `select current_setting('data_directory') as data, array_agg(pid) as pids
     from pg_stat_activity
     where pid <> pg_backend_pid() and backend_type <> 'autovacuum worker'`,
  )
  await client.end()
  const { data, pids } = rows[0]
  const postmaster = Number.parseInt(readFileSync(join(data, 'postmaster.pid'), 'utf8'), 10)
  return { pids: [postmaster, ...pids] as number[], folder: dirname(data) }
}

/** A process that is dead but not yet waited for has ended, too. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/\) Z /.test(existsSync('/proc') ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '')
  } catch {
    return false
  }
}
