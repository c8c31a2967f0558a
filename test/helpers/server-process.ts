import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { type Answer, HttpClient } from './http-client.ts'

/** The built program; `npm run test:system` builds it first. */
const program = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

export const adminToken = 'an-admin-token-of-the-tests'
const deadlineMs = 120_000
const living = new Set<ChildProcess>()
const folders: string[] = []

export type Environment = Readonly<Record<string, string>>
export type Ended = {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder that `cleanUp` removes. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'melange-system-'))
  folders.push(folder)
  return folder
}

/** A configuration file; YAML is a superset of JSON. */
export function settingsFile(settings: object): string {
  const file = join(temporaryFolder(), 'melange.yaml')
  writeFileSync(file, JSON.stringify(settings))
  return file
}

/** Ends every process that this file started and removes its folders. */
export async function cleanUp(): Promise<void> {
  const ended = [...living].map(child => once(child, 'exit'))
  for (const child of living) child.kill('SIGKILL')
  await Promise.all(ended)
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
}

/** Starts `node dist/main.js`, which ends with this process however that ends. */
export function startProgram(args: readonly string[], env: Environment): ChildProcess {
  // What the shell of a developer sets for Melange or PostgreSQL is not meant for these.
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(MELANGE_|PG|DATABASE_URL$|NODE_OPTIONS$|VITEST)/.test(name),
  )
  const child = spawn(process.execPath, [program, ...args], {
    cwd: temporaryFolder(),
    env: { ...Object.fromEntries(kept), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // A shell that waits for the end of its input: it comes when this process ends, even by SIGKILL.
  const command = 'read -r end_of_input; kill -9 "$1"'
  const guard = spawn('sh', ['-c', command, 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  living.add(child)
  child.once('exit', () => {
    living.delete(child)
    guard.kill('SIGKILL')
  })
  return child
}

/** Runs a command of the program to its end. */
export async function runMelange(args: readonly string[], env: Environment): Promise<Ended> {
  const child = startProgram(args, env)
  if (!child.stdout || !child.stderr) throw new Error('the program has no output')
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
  const ended = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = (await ended) as [number | null]
  clearTimeout(timer)
  return { code, stdout, stderr }
}

/** What `melange audit` finds, and its status. */
export async function runAudit(env: Environment) {
  const { code, stdout, stderr } = await runMelange(['audit', '--json'], env)
  if (code !== 0 && code !== 1) throw new Error(`audit ended with ${code}: ${stderr}`)
  const report = JSON.parse(stdout) as {
    checked: { blocks: number; allocations: number; ended: number }
    differences: { check: string; subject: string; detail: string }[]
  }
  return { code, ...report }
}

/** A running `melange serve`. */
export class ServerProcess {
  readonly url: string
  readonly #child: ChildProcess
  readonly #output: Output
  readonly #http: HttpClient

  private constructor(child: ChildProcess, output: Output, url: string) {
    this.#child = child
    this.#output = output
    this.url = url
    this.#http = new HttpClient(url, { 'x-auth-token': adminToken })
  }

  /** Starts a server on a free port and waits until it listens. */
  static async start(env: Environment, args: readonly string[] = []): Promise<ServerProcess> {
    const child = startProgram([...args, 'serve'], {
      MELANGE_LISTEN: '127.0.0.1:0',
      MELANGE_ADMIN_TOKEN: adminToken,
      ...env,
    })
    const output = new Output(child)
    const url = await output.waitFor(/^Melange listens on (https?:\S+),/m)
    return new ServerProcess(child, output, url)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isRunning(): boolean {
    return living.has(this.#child)
  }

  /** What it has said to people. */
  get stderr(): string {
    return this.#output.stderr
  }

  /** Waits until the server has said something, and returns the first group of the pattern. */
  heard(pattern: RegExp): Promise<string> {
    return this.#output.waitFor(pattern)
  }

  /** What it has logged. */
  get stdout(): string {
    return this.#output.stdout
  }

  request<T>(
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer<T>> {
    return this.#http.request<T>({ method, path, body, headers })
  }

  get<T>(path: string): Promise<Answer<T>> {
    return this.request<T>('GET', path)
  }

  post<T>(path: string, body: object): Promise<Answer<T>> {
    return this.request<T>('POST', path, body)
  }

  patch<T>(path: string, body: object): Promise<Answer<T>> {
    return this.request<T>('PATCH', path, body)
  }

  del<T>(path: string): Promise<Answer<T>> {
    return this.request<T>('DELETE', path)
  }

  /** Asks the server to end, and returns its exit status. */
  stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  /** Ends the server without any notice. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) {
      throw new Error(`the server had ended: ${exitCode ?? signalCode}\n${this.stderr}`)
    }
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), deadlineMs)
    this.#child.kill(signal)
    const [code] = (await once(this.#child, 'close')) as [number | null]
    clearTimeout(timer)
    this.#http.close()
    return code
  }
}

/** Collects what a process writes. */
export class Output {
  readonly #child: ChildProcess
  readonly #parts = { stdout: [] as string[], stderr: [] as string[] }

  constructor(child: ChildProcess) {
    this.#child = child
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (part: string) => this.#parts[name].push(part))
    }
  }

  get stdout(): string {
    return this.#parts.stdout.join('')
  }

  get stderr(): string {
    return this.#parts.stderr.join('')
  }

  /** The first group of a pattern in what the process says to people. */
  waitFor(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const finish = (what: () => void) => {
        clearTimeout(timer)
        this.#child.off('close', onEnd)
        this.#child.stderr?.off('data', look)
        what()
      }
      const fail = (why: string) =>
        finish(() => reject(new Error(`${why} before ${pattern}:\n${this.stderr}`)))
      const onEnd = () => fail('the program ended')
      const look = () => {
        const found = pattern.exec(this.stderr)?.[1]
        if (found !== undefined) finish(() => resolve(found))
      }
      const timer = setTimeout(() => fail(`${deadlineMs / 1000} s passed`), deadlineMs)
      this.#child.on('close', onEnd)
      this.#child.stderr?.on('data', look)
      look()
    })
  }
}
