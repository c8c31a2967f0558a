import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

const deadlineMs = 60_000

/** A program that a test has started, and what it has written so far. */
export class Program {
  readonly child: ChildProcess
  readonly #name: string
  readonly #parts = { stdout: [] as string[], stderr: [] as string[] }
  /** Its exit status, or the signal that ended it, once all of its output is here. */
  readonly ended: Promise<number | string>
  readonly #exited: Promise<number | string>

  constructor(command: readonly string[]) {
    const [file = '', ...args] = command
    this.#name = command.join(' ')
    // What the shell of a developer sets is not meant for these.
    const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
    this.child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const name of ['stdout', 'stderr'] as const) {
      const stream = this.child[name]
      stream?.setEncoding('utf8').on('data', (part: string) => this.#parts[name].push(part))
    }
    this.ended = once(this.child, 'close').then(([code, signal]) => code ?? signal)
    this.#exited = once(this.child, 'exit').then(([code, signal]) => code ?? signal)
    this.#exited.catch(() => undefined)
    this.ended.catch(() => undefined) // A program that is not there is reported by who waits for it.
  }

  get stdout(): string {
    return this.#parts.stdout.join('')
  }

  get stderr(): string {
    return this.#parts.stderr.join('')
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Waits until the program has written something that fits. */
  heard(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const finish = (what: () => void) => {
        clearTimeout(timer)
        for (const name of ['stdout', 'stderr'] as const) this.child[name]?.off('data', look)
        what()
      }
      const fail = (why: string) =>
        finish(() =>
          reject(
            new Error(`${this.#name}: ${why} before ${pattern}:\n${this.stdout}${this.stderr}`),
          ),
        )
      const look = () => {
        const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
        if (found) finish(() => resolve(found))
      }
      const timer = setTimeout(() => fail(`${deadlineMs / 1000} s passed`), deadlineMs)
      for (const name of ['stdout', 'stderr'] as const) this.child[name]?.on('data', look)
      this.ended.then(
        () => fail('ended'),
        error => fail(String(error)),
      )
      look()
    })
  }

  /** Waits for its end. @throws if its status is another than 0 */
  async succeeds(): Promise<this> {
    const status = await this.ended
    if (status !== 0) {
      throw new Error(`${this.#name} ended with ${status}:\n${this.stdout}${this.stderr}`)
    }
    return this
  }

  /** Asks it to end, and waits until it has. Others of its family may go on. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    if (this.isRunning) this.child.kill(signal)
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000)
    const status = await this.#exited
    clearTimeout(timer)
    return status
  }
}
