import { setTimeout as delay } from 'node:timers/promises'
import { median, round, say } from '../measure.ts'
import { type Load, type LoadProgram, loads, type Probe } from './load.ts'
import type { RunningServer } from './servers.ts'

/** A server with many hosts, which can be told of more. */
export type SizedServer = {
  readonly name: string
  /** Whether it keeps what it has read, so that later starts are others than the first. */
  readonly keeps: boolean
  /** Makes the hosts known to what the server reads. */
  prepare(hosts: number): Promise<void>
  start(): Promise<RunningServer>
  /** Tells of one more, as an operator would; null if that takes a new start. */
  readonly add: ((client: number) => Promise<void>) | null
}

export type Size = {
  readonly server: string
  readonly hosts: number
  /** From the start of the process until a host is answered: the first time, and the median. */
  readonly first_start_ms: number
  readonly start_ms: number
  readonly starts_ms: readonly number[]
  readonly peak_mb: number
  /** From before somebody tells of a host until it is answered; null if that was not measured. */
  readonly change_ms: Spread | null
  /** Of that, until the telling was over. */
  readonly told_ms: Spread | null
}

export type Spread = {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

const answerMs = 180_000
const slowStartMs = 5_000
/** Changes come at any time, not only when the one before has just been served. */
const gapMs = 20

export async function measureSize(given: {
  program: LoadProgram
  server: SizedServer
  hosts: number
  starts: number
  changes: number
  /** After which no more changes are made. */
  seconds: number
  peakMb: (pid: number) => number
}): Promise<Size> {
  const { program, server, hosts } = given
  const [load] = loads
  if (!load) throw new Error('there are no loads')
  await server.prepare(hosts)
  const startsMs: number[] = []
  for (;;) {
    const { running, probe, ms } = await startAndAsk(program, load, server, hosts - 1)
    try {
      startsMs.push(ms)
      const wanted = (server.keeps ? 1 : 0) + (ms > slowStartMs ? 1 : given.starts)
      if (startsMs.length < wanted) continue
      const changes = server.add ? await measureChanges({ ...given, probe, add: server.add }) : null
      const [first = 0, ...later] = startsMs
      const alike = server.keeps ? later : startsMs
      const size = {
        server: server.name,
        hosts,
        first_start_ms: first,
        start_ms: round(median(alike)),
        starts_ms: startsMs,
        peak_mb: given.peakMb(running.pids.server),
        change_ms: changes?.change_ms ?? null,
        told_ms: changes?.told_ms ?? null,
      }
      say(
        `${server.name}, ${hosts} hosts: start ${size.first_start_ms}, then ${size.start_ms} ms` +
          (size.change_ms ? `; change p99 ${size.change_ms.p99} ms` : ''),
      )
      return size
    } finally {
      await probe.close()
      await running.stop()
    }
  }
}

/** Starts a server while a client asks it. */
async function startAndAsk(
  program: LoadProgram,
  load: Load,
  server: SizedServer,
  client: number,
): Promise<{ running: RunningServer; probe: Probe; ms: number }> {
  const probe = program.probe(load, { expects: true })
  try {
    const asked = probe.ask({ client, interval_us: 5_000, timeout_ms: answerMs })
    // It is waited for below, unless the server does not start.
    asked.catch(() => undefined)
    const start = nanoseconds()
    const running = await server.start()
    const { answered_ns } = await asked
    if (answered_ns > 0) return { running, probe, ms: round((answered_ns - start) / 1e6) }
    await running.stop()
    throw new Error(`${server.name} answers nobody: ${running.failure() ?? ''}`)
  } catch (error) {
    await probe.close()
    throw error
  }
}

async function measureChanges(given: {
  probe: Probe
  add: (client: number) => Promise<void>
  hosts: number
  changes: number
  seconds: number
}): Promise<{ change_ms: Spread; told_ms: Spread }> {
  const { probe, add, hosts } = given
  const interval_us = await findInterval(probe, hosts)
  const changes: number[] = []
  const tellings: number[] = []
  const end = performance.now() + given.seconds * 1000
  for (let n = 0; n < given.changes && performance.now() < end; n++) {
    await delay(Math.random() * gapMs)
    const client = hosts + n
    const asked = probe.ask({ client, interval_us, timeout_ms: answerMs })
    asked.catch(() => undefined)
    const start = nanoseconds()
    await add(client)
    tellings.push((nanoseconds() - start) / 1e6)
    const { answered_ns } = await asked
    if (answered_ns === 0) throw new Error(`client ${client} is not answered`)
    changes.push((answered_ns - start) / 1e6)
  }
  return { change_ms: spreadOf(changes), told_ms: spreadOf(tellings) }
}

/** How often to ask, so that a slow server has no queue of questions. */
async function findInterval(probe: Probe, hosts: number): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < 5; n++) {
    const client = Math.floor((hosts * n) / 5)
    const asked = await probe.ask({ client, interval_us: 1_000_000, timeout_ms: answerMs })
    times.push((asked.answered_ns - asked.began_ns) / 1000)
  }
  return Math.max(1_000, Math.round(2 * median(times)))
}

/** Percentiles by nearest rank. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number) => round(sorted[Math.ceil(sorted.length * part) - 1] ?? Number.NaN)
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

const nanoseconds = () => Number(process.hrtime.bigint())
