import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { findFreePort } from './free-port.ts'

/** A real Keystone on SQLite that belongs to this process and ends with it. */
export type KeystoneServer = {
  /** With /v3. */
  readonly url: string
  /** Where all of its files are. */
  readonly folder: string
  /** The password of `admin` in the project `admin` of the domain `default`. */
  readonly adminPassword: string
  /** Makes a new key for tokens; three are kept. */
  rotateKeys(): Promise<void>
  start(): Promise<void>
  /** Crashes it: SIGKILL to all its processes. */
  kill9(): Promise<void>
  /** Ends it, and starts it again with tokens that live for so long. */
  restart(settings: KeystoneSettings): Promise<void>
  /** Stops it and removes its data. */
  stop(): Promise<void>
}

export type KeystoneSettings = {
  readonly token_seconds: number
  /** For how long after its end a token is still known where a service asks. */
  readonly allow_expired_seconds: number
}

const deadlineMilliseconds = 60_000
/** Debian's Python is the one that has Keystone, and other ones may come before it. */
const path = '/usr/sbin:/usr/bin:/sbin:/bin'
const programs = ['keystone-manage', 'keystone-wsgi-public', 'uwsgi_python3']

const defaults = { token_seconds: 3600, allow_expired_seconds: 172_800 }

/** Makes an empty Keystone on a free port of 127.0.0.1 and starts it; that takes some 15 s. */
export async function startKeystoneServer(
  settings: Partial<KeystoneSettings> = {},
): Promise<KeystoneServer> {
  if (!hasKeystone()) {
    throw new Error('Keystone is not installed: run `npm run setup:debian -- keystone`')
  }
  const folder = mkdtempSync(join(tmpdir(), 'melange-keystone-'))
  const server = createServer(folder, await findFreePort())
  try {
    server.configure({ ...defaults, ...settings })
    await server.initialize()
    await server.start()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** Whether one can be started here. */
export const hasKeystone = () => programs.every(program => existsSync(join('/usr/bin', program)))

/** A shell program: kills the process group of the server of folder $1, and removes the folder. */
const removeServer =
  '[ -s "$1/uwsgi.pid" ] && kill -s KILL -- "-$(cat "$1/uwsgi.pid")"; rm -rf "$1"'

function createServer(folder: string, port: number) {
  const adminPassword = 'the-password-of-the-tests'
  const url = `http://127.0.0.1:${port}/v3`
  const file = (name: string) => join(folder, name)
  const env = { PATH: path, HOME: folder, OS_KEYSTONE_CONFIG_FILES: file('keystone.conf') }
  const shell = ['-c', `${removeServer}`, 'sh', folder]
  const removeNow = () => void spawnSync('sh', shell, { stdio: 'ignore' })
  process.once('exit', removeNow)
  // Removes the server if this process ends in a way that leaves no time for `removeNow`.
  const guard = spawn('sh', ['-c', `read -r end_of_input; ${removeServer}`, 'sh', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  let master: ChildProcess | undefined

  function configure({ token_seconds, allow_expired_seconds }: KeystoneSettings): void {
    writeFileSync(
      file('keystone.conf'),
      keystoneConf({ folder, token_seconds, allow_expired_seconds }),
    )
  }

  async function manage(command: string, ...flags: string[]): Promise<void> {
    const all = ['--config-file', file('keystone.conf'), command, ...flags]
    await promisify(execFile)('/usr/bin/keystone-manage', all, { env, cwd: folder })
  }

  const group = execFileSync('id', ['-gn'], { encoding: 'utf8' }).trim()
  const owner = ['--keystone-user', userInfo().username, '--keystone-group', group]

  async function initialize(): Promise<void> {
    for (const name of ['fernet-keys', 'credential-keys']) mkdirSync(file(name), { mode: 0o700 })
    writeFileSync(file('uwsgi.ini'), uwsgiIni({ folder, port }))
    await manage('db_sync')
    await manage('fernet_setup', ...owner)
    await manage('credential_setup', ...owner)
    const urls = ['public', 'internal', 'admin'].flatMap(name => [`--bootstrap-${name}-url`, url])
    await manage(
      'bootstrap',
      ...['--bootstrap-password', adminPassword, '--bootstrap-region-id', 'RegionOne', ...urls],
    )
  }

  async function start(): Promise<void> {
    const log = openSync(file('log'), 'a')
    const started = spawn('/usr/bin/uwsgi_python3', ['--ini', file('uwsgi.ini')], {
      env,
      cwd: folder,
      stdio: ['ignore', log, log],
      detached: true,
    })
    closeSync(log)
    started.unref()
    await once(started, 'spawn')
    master = started
    writeFileSync(file('uwsgi.pid'), `${started.pid}`)
    try {
      await waitUntil('Keystone answers', async () => {
        if (!isRunning(master)) throw new Error('uWSGI has ended')
        return (await fetch(url).catch(() => null))?.ok === true
      })
    } catch (error) {
      const end = readFileSync(file('log'), 'utf8').trimEnd().split('\n').slice(-20).join('\n')
      throw new Error(`Keystone did not start; its log ends:\n${end}`, { cause: error })
    }
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const leader = master
    if (!isRunning(leader) || leader?.pid === undefined) return
    process.kill(signal === 'SIGKILL' ? -leader.pid : leader.pid, signal)
    await waitUntil('Keystone has ended', () => !isRunning(leader))
    rmSync(file('uwsgi.pid')) // From now on the number may be another one's.
    await waitUntil('its port is free', async () => (await fetch(url).catch(() => null)) === null)
  }

  return {
    url,
    folder,
    adminPassword,
    configure,
    initialize,
    rotateKeys: () => manage('fernet_rotate', ...owner),
    start,
    kill9: () => end('SIGKILL'),
    async restart(settings: KeystoneSettings) {
      await end('SIGTERM')
      configure(settings)
      await start()
    },
    async stop() {
      await end('SIGTERM')
      process.off('exit', removeNow)
      guard.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

type Paths = { readonly folder: string; readonly port: number }

/** Without a cache each request takes Keystone about a second; bcrypt at full strength 0.2. */
function keystoneConf({
  folder,
  token_seconds,
  allow_expired_seconds,
}: KeystoneSettings & { readonly folder: string }): string {
  return `[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///${folder}/keystone.db
[identity]
password_hash_rounds = 4
[token]
provider = fernet
expiration = ${token_seconds}
allow_expired_window = ${allow_expired_seconds}
[fernet_tokens]
key_repository = ${folder}/fernet-keys
max_active_keys = 3
[fernet_receipts]
key_repository = ${folder}/fernet-keys
[credential]
key_repository = ${folder}/credential-keys
[cache]
enabled = true
backend = dogpile.cache.memory
`
}

/** One process: with two SQLite says "database is locked". */
const uwsgiIni = ({ folder, port }: Paths) => `[uwsgi]
plugins = python3
http-socket = 127.0.0.1:${port}
wsgi-file = /usr/bin/keystone-wsgi-public
master = true
processes = 1
threads = 1
lazy-apps = true
need-app = true
die-on-term = true
buffer-size = 65535
disable-logging = true
add-header = Connection: close
env = OS_KEYSTONE_CONFIG_FILES=${folder}/keystone.conf
`

const isRunning = (child: ChildProcess | undefined): boolean =>
  child?.pid !== undefined && child.exitCode === null && child.signalCode === null

async function waitUntil(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + deadlineMilliseconds
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${deadlineMilliseconds} ms: ${what}`)
    await delay(50)
  }
}
