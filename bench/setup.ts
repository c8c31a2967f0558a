import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import pg from 'pg'

/** A server under load. */
export type BenchServer = {
  readonly url: string
  readonly token: string
  readonly pid: number
  /** The most memory that was resident at a time, in MB of 1024 KB. */
  peakMb(): number
  close(): Promise<void>
}

export type ServerKind = 'melange' | 'naive' | 'noop' | 'auth'

export type ServerOptions = {
  readonly kind: ServerKind
  readonly environment: Readonly<Record<string, string>>
  /** The built program, if it is not that of the working tree. */
  readonly program?: string
  /** Connections to the database of a baseline; Melange itself keeps its default. */
  readonly connections?: number
}

const startMs = 60_000
const stopMs = 30_000
const auditMs = 3_600_000
const ourProgram = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const baseline = fileURLToPath(new URL('baseline-server.ts', import.meta.url))
const authServer = fileURLToPath(new URL('auth-server.ts', import.meta.url))
const settingsFile = fileURLToPath(new URL('settings.yaml', import.meta.url))
const tsx = import.meta.resolve('tsx')

/** Starts the built program, or a baseline on the built modules; the log goes to /dev/null. */
export async function startServer(options: ServerOptions): Promise<BenchServer> {
  const { kind, program = ourProgram, connections = 10 } = options
  const token = process.env.MELANGE_ADMIN_TOKEN || `bench-${randomUUID()}`
  const command =
    kind === 'melange'
      ? [program, 'serve']
      : kind === 'auth'
        ? ['--import', tsx, authServer]
        : ['--import', tsx, baseline, kind, String(connections)]
  const environment = {
    MELANGE_ADMIN_TOKEN: token,
    MELANGE_LISTEN: '127.0.0.1:0',
    // Another commit may not know these settings.
    ...(program === ourProgram && { MELANGE_CONFIG: settingsFile }),
    ...options.environment,
  }
  const child = spawnNode(command, environment)
  const forget = endWithUs(child)
  return {
    url: await readUrl(child),
    token,
    pid: child.pid ?? 0,
    peakMb: () => {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      return Math.ceil(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024)
    },
    close: async () => {
      await end(child)
      forget()
    },
  }
}

/** What `melange audit` finds wrong with a database: nothing, one hopes. */
export async function countDifferences(environment: Record<string, string>): Promise<number> {
  const child = spawnNode([ourProgram, 'audit', '--json'], environment, 'pipe')
  const forget = endWithUs(child)
  let output = ''
  let complaint = ''
  child.stdout?.on('data', chunk => (output += chunk))
  child.stderr?.on('data', chunk => (complaint += chunk))
  const timer = setTimeout(() => child.kill('SIGKILL'), auditMs)
  const started = performance.now()
  await once(child, 'close')
  clearTimeout(timer)
  forget()
  const took = `${Math.round((performance.now() - started) / 1000)} s`
  if (child.signalCode !== null) throw new Error(`audit was ended after ${took}`)
  process.stderr.write(`audit: ${took}\n`)
  if (child.exitCode !== 0 && child.exitCode !== 1) throw new Error(`audit failed: ${complaint}`)
  const { differences } = JSON.parse(output) as { differences: object[] }
  for (const difference of differences.slice(0, 20)) {
    process.stderr.write(`audit: ${JSON.stringify(difference)}\n`)
  }
  return differences.length
}

/** Runs `work`, then closes what it opened, the last thing first. */
export async function closeAll<Result>(
  work: (closing: (close: () => Promise<void>) => void) => Promise<Result>,
): Promise<Result> {
  const closers: (() => Promise<void>)[] = []
  try {
    return await work(close => void closers.unshift(close))
  } finally {
    for (const close of closers) {
      await close().catch(error => process.stderr.write(`${String(error)}\n`))
    }
  }
}

/** Ends a child with this process, however that ends; returns what takes the promise back. */
export function endWithUs(child: ChildProcess): () => void {
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  return () => void process.off('exit', kill)
}

/** The machine, as far as it decides what the figures are worth. */
export async function describeMachine(databaseUrl: string) {
  const [row] = await query<{ version: string; fsync: string; synchronous_commit: string }>(
    databaseUrl,
    `select split_part(current_setting('server_version'), ' ', 1) as version,
            current_setting('fsync') as fsync,
            current_setting('synchronous_commit') as synchronous_commit`,
  )
  if (row?.fsync !== 'on') throw new Error('PostgreSQL must run with fsync on')
  const { version: postgres, ...settings } = row
  return {
    cpus: cpus().length,
    model: cpus()[0]?.model ?? 'unknown',
    memory_mb: Math.round(totalmem() / 1024 ** 2),
    load_average: Number(loadavg()[0]?.toFixed(2)),
    node: process.version,
    postgres,
    ...settings,
  }
}

/** One statement as the superuser, beside the API. */
export async function query<Row>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text, values)).rows as Row[]
  } finally {
    await client.end()
  }
}

function spawnNode(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  stdout: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  // What of our own environment is meant for another server stays out.
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(MELANGE_|PG|DATABASE_URL$|NODE_OPTIONS$)/.test(name),
  )
  return spawn(process.execPath, command, {
    cwd: tmpdir(),
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ['ignore', stdout, 'pipe'],
  })
}

/** The URL that a server greets with. */
async function readUrl(child: ChildProcess): Promise<string> {
  let said = ''
  const signal = AbortSignal.timeout(startMs)
  const found = new Promise<string>((resolve, reject) => {
    child.stderr?.on('data', chunk => {
      said = `${said}${chunk}`.slice(-4000)
      const [, url] = /listens on (http:\/\/[^\s,]+)/.exec(said) ?? []
      if (url) resolve(url)
    })
    child.once('exit', () => reject(new Error(`the server did not start: ${said}`)))
    signal.addEventListener('abort', () => reject(new Error(`the server is too slow: ${said}`)))
  })
  return found
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs)
  await exit
  clearTimeout(timer)
}
