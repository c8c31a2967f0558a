import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { createPauses } from '../pauses.ts'

/** A program that is to run until it is stopped. */
export type Supervised = {
  /** Starts it; it is started again by itself from then on. */
  start(): void
  /** Ends it, to be started again at once. */
  restart(): void
  signal(signal: NodeJS.Signals): void
  stop(): Promise<void>
}

export type SuperviseOptions = {
  readonly command: readonly [string, ...string[]]
  /** Before each start. If it fails the start counts as failed. */
  readonly prepare: () => Promise<void>
  /** A line of what it writes. */
  readonly onLine: (line: string) => void
  /** It has ended, or could not be started. */
  readonly onEnd: (reason: string) => void
}

const pausesMilliseconds = { first: 250, longest: 30_000 }
/** What ran so long is started again without delay. */
const steadyMilliseconds = 30_000
/** How long it may take to end before it is killed. */
const patienceMilliseconds = 5000

/** Where programs are, also for a service with a short PATH. */
export const programPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Starts a program again whenever it ends, with growing pauses while it does not last. */
export function supervise({ command, prepare, onLine, onEnd }: SuperviseOptions): Supervised {
  let child: ChildProcess | null = null
  let isWanted = false
  let isExpected = false
  const pauses = createPauses(pausesMilliseconds)
  let timer: NodeJS.Timeout | undefined
  let ended = Promise.resolve()

  async function run() {
    try {
      await prepare()
    } catch (error) {
      return fail((error as Error).message)
    }
    if (!isWanted) return
    const [program, ...args] = command
    const env = { PATH: programPath, LC_ALL: 'C' }
    const started = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
    child = started
    const since = Date.now()
    let last = ''
    const lines = createInterface({ input: started.stderr })
    lines.on('line', line => {
      if (line.trim() !== '') last = line
      onLine(line)
    })
    ended = new Promise(resolve => {
      started.once('error', error => {
        last = error.message
        if (started.pid === undefined) finish(null)
      })
      started.once('close', (code, signal) => {
        if (signal !== null) last = `it was ended by ${signal}`
        finish(code)
      })
      function finish(code: number | null) {
        if (child === started) child = null
        resolve()
        if (Date.now() - since >= steadyMilliseconds) pauses.reset()
        if (isExpected) {
          isExpected = false
          pauses.reset()
          if (isWanted) void run()
        } else fail(last || `it ended with ${code}`)
      }
    })
  }

  function fail(reason: string) {
    if (!isWanted) return
    onEnd(reason.replace(/^dnsmasq(\[\d+\])?: /, ''))
    timer = setTimeout(() => void run(), pauses.next())
  }

  return {
    start() {
      isWanted = true
      void run()
    },
    restart() {
      if (!child) return
      isExpected = true
      child.kill('SIGTERM')
    },
    signal(signal) {
      child?.kill(signal)
    },
    async stop() {
      isWanted = false
      clearTimeout(timer)
      const last = child
      if (!last) return
      last.kill('SIGTERM')
      const killer = setTimeout(() => last.kill('SIGKILL'), patienceMilliseconds)
      await ended
      clearTimeout(killer)
    },
  }
}
