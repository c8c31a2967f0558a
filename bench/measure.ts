import type { FilledBlock } from './fill.ts'
import type { Job, JobResult, LoadClient } from './load.ts'
import type { BenchServer } from './setup.ts'

export type BenchOptions = {
  readonly clients: number
  /** Of one measurement. */
  readonly seconds: number
  readonly rounds: number
  readonly quick: boolean
}

export type Sample = Omit<JobResult, 'collected'>

/** What is reported of a thing that was measured once in each round: medians, and the rates. */
export type Figure = {
  readonly per_s: number
  readonly p50_ms: number
  readonly p99_ms: number
  readonly client_cpu: number
  readonly samples_per_s: readonly number[]
  /** Samples that ended early, because every request had been sent. */
  readonly cut_short: number
}

/** Runs measurements and keeps their samples under names. */
export class Measurements {
  /** Answers 201 for addresses, all of which must be in the database at the end. */
  acknowledged = 0
  readonly #load: LoadClient
  readonly #options: BenchOptions
  readonly #samples = new Map<string, Sample[]>()

  constructor(load: LoadClient, options: BenchOptions) {
    this.#load = load
    this.#options = options
  }

  get warmup_seconds(): number {
    return Math.min(0.5, this.#options.seconds / 3)
  }

  /** Addresses that a measurement takes at a rate; one that is faster ends a little early. */
  addressesAt(per_s: number): number {
    return Math.ceil(per_s * 1.1 * (this.#options.seconds + this.warmup_seconds))
  }

  /** Next free addresses of blocks, `times` of each before the next one. */
  async allocate(
    name: string,
    options: {
      server: BenchServer
      blocks: readonly FilledBlock[]
      times: number
      /** Answers of the no-op are not in the database, and not distinct. */
      is_noop?: boolean
      /** Whether ids and addresses are wanted. */
      returns_collected?: boolean
    },
  ): Promise<JobResult> {
    const { server, blocks, times, is_noop = false, returns_collected = false } = options
    const result = await this.run(name, {
      ...address(server),
      method: 'POST',
      path: '/v2/allocations',
      body: allocationBody('"block_id":"$value"'),
      values: blocks.map(({ id }) => id),
      times,
      status: 201,
      collect: is_noop ? [] : returns_collected ? ['address', 'id'] : ['address'],
      returns_collected,
    })
    if (!is_noop) this.acknowledged += result.answers
    return result
  }

  async run(
    name: string,
    job: Omit<Job, 'connections' | 'seconds' | 'warmup_seconds'> & { connections?: number },
  ): Promise<JobResult> {
    const connections = job.connections ?? this.#options.clients
    // What is too short for the compiler says nothing of the rates that follow.
    const seconds = Math.max(name === warmUp ? 1 : 0, this.#options.seconds)
    const { warmup_seconds } = this
    const result = await this.#load.run({ ...job, connections, seconds, warmup_seconds })
    const { collected: _, ...sample } = result
    if (sample.per_s === 0) throw new Error(`${name}: nothing was measured`)
    this.#samples.set(name, [...(this.#samples.get(name) ?? []), sample])
    say(`${name}: ${Math.round(sample.per_s)}/s, p99 ${sample.p99_ms.toFixed(1)} ms`)
    return result
  }

  figure(name: string): Figure {
    const samples = this.#samples.get(name) ?? []
    const rates = samples.map(({ per_s }) => Math.round(per_s))
    return {
      per_s: Math.round(median(rates)),
      p50_ms: round(median(samples.map(({ p50_ms }) => p50_ms))),
      p99_ms: round(median(samples.map(({ p99_ms }) => p99_ms))),
      client_cpu: round(median(samples.map(({ client_cpu }) => client_cpu))),
      samples_per_s: rates,
      cut_short: samples.filter(({ exhausted }) => exhausted).length,
    }
  }
}

/** The body of a request for an address. The owner differs each time, as it does in a cloud. */
export function allocationBody(what: string): string {
  return `{${what},"project_id":"measured","owner_type":"instance","owner_id":"vm-########"}`
}

export const address = ({ url, token }: BenchServer) => ({ url, token })

export const round = (value: number) => Math.round(value * 100) / 100

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2
}

/** The name of measurements that only warm a server up. */
export const warmUp = 'warm-up'

/** Of a block that holds more than any measurement takes. */
export const withoutEnd = 1_000_000_000

/** Progress goes beside the result. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
