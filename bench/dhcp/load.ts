import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { clientInterface, type Lab, segment } from './lab.ts'

/** What clients do: where they are, and whether the server knew of them before. */
export type Load = {
  readonly name: string
  readonly version: 4 | 6
  readonly relayed: boolean
  /**
   * `known`: hosts that the server knows. `new`: clients without a lease, which get one of a pool, or
   * are known, if a server has no pools. `automatic`: they get one through the API of Melange.
   */
  readonly clients: 'known' | 'new' | 'automatic'
}

const paths = [
  { name: 'relay', version: 4, relayed: true },
  { name: 'broadcast', version: 4, relayed: false },
  { name: 'v6', version: 6, relayed: false },
  { name: 'v6-relay', version: 6, relayed: true },
] as const

export const loads: readonly Load[] = (['new', 'known', 'automatic'] as const).flatMap(clients =>
  paths.map(({ name, ...path }) => ({ name: `${name}-${clients}`, ...path, clients })),
)

export type Latencies = {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

/** What load.c prints of a load. */
export type LoadResult = {
  readonly seconds: number
  readonly started: number
  /** Not begun, because too many were under way. */
  readonly skipped: number
  readonly completed: number
  readonly completed_in_time: number
  readonly lost: number
  readonly refused: number
  /** Answers with an address that is another client's, or not the one that was expected. */
  readonly wrong: number
  readonly stray: number
  /** Answers for which its own buffer had no room. */
  readonly dropped: number
  readonly cpu_seconds: number
  readonly offer_ms: Latencies | null
  readonly ack_ms: Latencies | null
}

export type LoadOptions = {
  readonly load: Load
  readonly first: number
  readonly clients: number
  /** Whether client n must be told its own address. */
  readonly expects: boolean
  readonly seconds: number
  /** Either so many exchanges at a time, or so many each second. */
  readonly pace: { readonly window: number } | { readonly rate: number }
  readonly timeout_seconds: number
}

export type ProbeResult = {
  readonly client: number
  readonly began_ns: number
  /** Of the monotonic clock, as `process.hrtime` has it; 0 if there was no answer. */
  readonly answered_ns: number
  readonly sent: number
  /** Offers of other addresses before. */
  readonly others: number
}

const sources = ['load.c', 'line.c', 'messages.c', 'settings.c', 'tally.c']

/** The load program, which is compiled here. */
export class LoadProgram {
  readonly #lab: Lab
  readonly #program: string

  constructor(lab: Lab) {
    this.#lab = lab
    this.#program = join(lab.folder, 'load')
    const folder = fileURLToPath(new URL('.', import.meta.url))
    const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Wconversion']
    execFileSync('gcc', [...flags, '-o', this.#program, ...sources], {
      cwd: folder,
      stdio: 'inherit',
    })
  }

  async run({ load, pace, ...options }: LoadOptions): Promise<LoadResult> {
    const { first, clients, expects, seconds, timeout_seconds } = options
    const [name, value] = Object.entries(pace)[0] ?? []
    const started = this.#start(load, [
      ...['--first', String(first), '--clients', String(clients)],
      ...(expects ? ['--expect', segment[load.version].hosts] : []),
      ...['--seconds', String(seconds), '--timeout', String(timeout_seconds)],
      ...[`--${name}`, String(value)],
    ])
    let output = ''
    started.child.stdout.on('data', chunk => (output += chunk))
    const timer = setTimeout(() => void started.stop(), (seconds + 3 * timeout_seconds + 30) * 1000)
    await once(started.child, 'close')
    clearTimeout(timer)
    if (started.child.exitCode !== 0) throw new Error(`the load program failed: ${started.said()}`)
    return JSON.parse(output) as LoadResult
  }

  /** Asks as one client at a time, until it is answered. */
  probe(load: Load, { expects }: { expects: boolean }): Probe {
    const expected = expects ? ['--expect', segment[load.version].hosts] : []
    const started = this.#start(load, ['--probe', ...expected])
    const lines = createInterface({ input: started.child.stdout })[Symbol.asyncIterator]()
    return {
      async ask({ client, interval_us, timeout_ms }) {
        started.child.stdin.write(`${client} ${interval_us} ${timeout_ms}\n`)
        const { value, done } = await lines.next()
        if (done) throw new Error(`the load program failed: ${started.said()}`)
        return JSON.parse(value) as ProbeResult
      },
      close: () => started.stop(),
    }
  }

  #start({ version, relayed }: Load, options: readonly string[]) {
    const { clients, server } = segment[version]
    const path = relayed
      ? ['--relay', clients, '--server', server]
      : ['--interface', clientInterface]
    return this.#lab.start({
      namespace: this.#lab.clients,
      command: [
        this.#program,
        ...(version === 6 ? ['--v6'] : []),
        ...['--first-mac', segment.firstMac],
        ...path,
        ...options,
      ],
    })
  }
}

export type Probe = {
  ask(wish: { client: number; interval_us: number; timeout_ms: number }): Promise<ProbeResult>
  close(): Promise<void>
}
