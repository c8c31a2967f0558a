import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { findFreePort } from './free-port.ts'

/** A PostgreSQL server that belongs to this process and ends with it. */
export type PostgresServer = {
  /** The superuser's URL of the database `postgres`. */
  readonly url: string
  readonly port: number
  readonly version: string
  /** Returns the URL of a new, empty database. */
  createDatabase(name?: string): Promise<string>
  restart(): Promise<void>
  /** Crashes the server: SIGKILL to the postmaster and to all its backends. */
  kill9(): Promise<void>
  /** Starts the server again after `kill9`. */
  start(): Promise<void>
  /** Stops the server and removes its data. */
  stop(): Promise<void>
}

const deadlineMs = 60_000

/** The folder of initdb, postgres and pg_ctl, or null when PostgreSQL is not installed. */
export function findPostgresBinaries(): string | null {
  const programs = ['initdb', 'postgres', 'pg_ctl']
  const holdsAll = (folder: string) => programs.every(name => existsSync(join(folder, name)))
  const { stdout } = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' })
  const onPath = [stdout?.trim(), ...(process.env.PATH ?? '').split(delimiter)]
  return [...onPath, ...debianFolders()].find(folder => folder && holdsAll(folder)) ?? null
}

/** Debian keeps the server's programs off the PATH, one folder for each major version. */
function debianFolders(): string[] {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root) : []
  return versions.sort((a, b) => Number(b) - Number(a)).map(version => join(root, version, 'bin'))
}

/** Starts a new, empty server on a free port of 127.0.0.1; `settings` are PostgreSQL's own. */
export async function startPostgresServer({
  settings = {},
}: {
  settings?: Record<string, string>
} = {}): Promise<PostgresServer> {
  const binaries = findPostgresBinaries()
  if (!binaries) throw new Error('PostgreSQL is not installed: run `npm run setup:debian`')
  for (let attempt = 1; ; attempt += 1) {
    const server = new PrivateServer({ binaries, port: await findFreePort(), settings })
    try {
      await server.initialize()
      await server.start()
      return server
    } catch (error) {
      await server.stop()
      // Between our look at the port and PostgreSQL's, someone else may have taken it.
      if (attempt === 5 || !String(error).includes('Address already in use')) throw error
    }
  }
}

/** A shell program: ends the server of folder $2, whatever its state, and leaves nothing of it. */
const removeServer = '"$1/pg_ctl" stop -D "$2/data" -m immediate -t 10 -s; rm -rf "$2"'

class PrivateServer implements PostgresServer {
  readonly port: number
  readonly url: string
  version = ''
  readonly #binaries: string
  readonly #settings: Record<string, string>
  readonly #folder = mkdtempSync(join(tmpdir(), 'melange-postgres-'))
  readonly #data = join(this.#folder, 'data')
  readonly #log = join(this.#folder, 'log')
  readonly #user = findUnprivilegedUser()
  readonly #guard: ChildProcess
  #postmaster: ChildProcess | undefined

  constructor(options: { binaries: string; port: number; settings: Record<string, string> }) {
    this.port = options.port
    this.url = `postgres://postgres@127.0.0.1:${options.port}/postgres`
    this.#binaries = options.binaries
    this.#settings = options.settings
    if (this.#user) chownSync(this.#folder, this.#user.uid, this.#user.gid)
    this.#guard = this.#startGuard()
    process.once('exit', this.#removeNow)
  }

  async initialize(): Promise<void> {
    const flags = ['--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C']
    const command = [...flags, '--no-sync', '--pgdata', this.#data]
    await promisify(execFile)(join(this.#binaries, 'initdb'), command, this.#spawnOptions())
    writeFileSync(join(this.#data, 'pg_hba.conf'), 'host all all 127.0.0.1/32 trust\n')
  }

  async start(): Promise<void> {
    if (this.#isRunning()) throw new Error('The PostgreSQL server is already running')
    const settings = {
      listen_addresses: '127.0.0.1',
      port: String(this.port),
      unix_socket_directories: '',
      ...this.#settings,
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const log = openSync(this.#log, 'a')
    this.#postmaster = spawn(join(this.#binaries, 'postgres'), ['-D', this.#data, ...flags], {
      ...this.#spawnOptions(),
      stdio: ['ignore', log, log],
      detached: true, // Ctrl-C is for the tests: they stop the server when they no longer need it.
    })
    closeSync(log)
    this.#postmaster.unref()
    try {
      await once(this.#postmaster, 'spawn')
      await waitUntil('PostgreSQL accepts connections', () => this.#isReady())
    } catch (error) {
      if (this.#isRunning()) await this.kill9()
      const lastLines = readFileSync(this.#log, 'utf8').trimEnd().split('\n').slice(-20).join('\n')
      throw new Error(`PostgreSQL did not start; its log ends:\n${lastLines}`, { cause: error })
    }
  }

  async createDatabase(name = `test_${randomUUID().replaceAll('-', '')}`): Promise<string> {
    await query(this.url, `create database ${pg.escapeIdentifier(name)}`)
    return Object.assign(new URL(this.url), { pathname: `/${encodeURIComponent(name)}` }).href
  }

  async restart(): Promise<void> {
    await this.#stopFast()
    await this.start()
  }

  async kill9(): Promise<void> {
    const postmaster = this.#postmaster?.pid
    if (!postmaster || !this.#isRunning()) throw new Error('The PostgreSQL server is not running')
    // A stopped postmaster neither starts backends nor collects dead ones: none can escape, and
    // no pid can pass to a stranger before we kill it.
    process.kill(postmaster, 'SIGSTOP')
    await waitUntil('the postmaster has stopped', () =>
      listProcesses().some(({ pid, state }) => pid === postmaster && /^[TZ]/.test(state)),
    )
    const backends = listProcesses().filter(({ parent }) => parent === postmaster)
    for (const { pid } of backends) process.kill(pid, 'SIGKILL')
    process.kill(postmaster, 'SIGKILL')

    const pids = new Set([postmaster, ...backends.map(({ pid }) => pid)])
    await waitUntil('the killed PostgreSQL processes are gone', () => {
      const living = listProcesses().filter(({ pid, state }) => pids.has(pid) && state[0] !== 'Z')
      return !this.#isRunning() && living.length === 0
    })
  }

  async stop(): Promise<void> {
    await this.#stopFast()
    process.off('exit', this.#removeNow)
    this.#guard.kill('SIGKILL')
    await rm(this.#folder, { recursive: true, force: true })
    await waitUntil('the guard has ended', () => !isRunning(this.#guard))
  }

  async #stopFast(): Promise<void> {
    if (!this.#isRunning()) return
    this.#postmaster?.kill('SIGINT')
    await waitUntil('PostgreSQL has stopped', () => !this.#isRunning())
  }

  #isRunning(): boolean {
    return this.#postmaster !== undefined && isRunning(this.#postmaster)
  }

  async #isReady(): Promise<boolean> {
    if (!this.#isRunning()) throw new Error('The postmaster has ended')
    const text = `select current_setting('data_directory') as folder,
                         split_part(current_setting('server_version'), ' ', 1) as version`
    const result = await query(this.url, text).catch(() => undefined)
    this.version = result?.rows[0].version ?? ''
    // Another server, which took the port before ours could, has another folder.
    return result?.rows[0].folder === this.#data
  }

  /** Removes the server if this process ends in a way that leaves no time for `#removeNow`. */
  #startGuard(): ChildProcess {
    const guard = spawn('sh', this.#shellCommand(`read -r end_of_input; ${removeServer}`), {
      ...this.#user,
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    guard.unref()
    return guard
  }

  readonly #removeNow = () => {
    spawnSync('sh', this.#shellCommand(removeServer), { ...this.#user, stdio: 'ignore' })
  }

  #shellCommand(program: string): string[] {
    return ['-c', program, 'sh', this.#binaries, this.#folder]
  }

  #spawnOptions() {
    // What PGOPTIONS, PGPORT and their like say is meant for other servers.
    const env = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'))
    return { cwd: this.#folder, env: Object.fromEntries(env), ...this.#user }
  }
}

/** PostgreSQL refuses to run as root; root's tests run it as a user who may do little. */
function findUnprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map(flag =>
      Number.parseInt(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout, 10),
    )
    if (uid && gid) return { uid, gid }
  }
  throw new Error('PostgreSQL cannot run as root, and there is no user postgres or nobody')
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

function listProcesses(): { pid: number; state: string; parent: number }[] {
  const lines = process.platform === 'linux' ? readProc() : runPs()
  return lines.map(line => {
    const [pid, state = '', parent] = line.trim().split(/\s+/)
    return { pid: Number(pid), state, parent: Number(parent) }
  })
}

/** The first fields of each /proc/<pid>/stat (proc(5)), without the program's name. */
function readProc(): string[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  return pids.flatMap(pid => {
    try {
      return [readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/\(.*\)/s, '')]
    } catch {
      return [] // It has ended since we read the folder.
    }
  })
}

function runPs(): string[] {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,stat=,ppid='], { encoding: 'utf8' })
  return table.trimEnd().split('\n')
}

async function waitUntil(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + deadlineMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${deadlineMs / 1000} s: ${what}`)
    await delay(20)
  }
}

async function query(url: string, text: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => undefined) // A broken connection also fails the query, which tells.
  try {
    await client.connect()
    return await client.query(text)
  } finally {
    await client.end()
  }
}
