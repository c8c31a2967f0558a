import { round } from '../measure.ts'
import type { Lab } from './lab.ts'
import type { Load, LoadProgram, LoadResult } from './load.ts'
import { runPerfdhcp } from './perfdhcp.ts'
import { cpuSeconds, machineSeconds, peakMb } from './processes.ts'
import type { DhcpServer, Population, RunningServer } from './servers.ts'

/** How the clients come: so many at a time, or so many each second, of ours or of perfdhcp. */
export type Pace =
  | { readonly by: 'window'; readonly window: number }
  | { readonly by: 'rate' | 'perfdhcp'; readonly rate: number }

/** What one server did under one load, from its start without leases. */
export type Trial = {
  readonly server: string
  readonly load: string
  readonly round: number
  readonly pace: Pace
  /** Exchanges of four messages per second. */
  readonly per_s: number
  readonly completed: number
  /** Of the exchanges that were to be begun: lost, refused or wrong. */
  readonly loss_percent: number
  readonly wrong: number
  readonly refused: number
  /** Whether as many exchanges were begun as were to be. */
  readonly kept_pace: boolean
  readonly ack_p50_ms: number | null
  readonly ack_p99_ms: number | null
  /** Processor time for an exchange, in microseconds: of the server, and of what works for it. */
  readonly server_us: number
  readonly database_us: number | null
  readonly api_us: number | null
  readonly peak_mb: number
  /** Processors in use: by the generator, by nobody of the bench, and taken by other machines. */
  readonly load_cpu: number
  readonly others_cpu: number
  readonly steal_cpu: number
}

const answerMs = 60_000
const closedTimeout = 3
/** What is too short for the compiler says nothing of the rates that follow. */
const warmUpSeconds = (seconds: number) => Math.min(1, seconds)

type Given = {
  readonly lab: Lab
  readonly program: LoadProgram
  readonly server: DhcpServer
  readonly load: Load
  readonly population: Population
  readonly pace: Pace
  readonly seconds: number
  readonly round: number
}

type Run = { readonly running: RunningServer }

export async function runTrial(given: Given): Promise<Trial> {
  const { server, load } = given
  const running = await server.start(load)
  try {
    await waitForAnswers({ ...given, running })
    await warmUp({ ...given, running })
    const before = readUsage(running)
    const result = await measure({ ...given, running })
    const after = readUsage(running)
    const failure = running.failure()
    if (failure) throw new Error(failure)
    const spent = (name: keyof RunningServer['pids']) =>
      running.pids[name] === undefined ? null : (after[name] ?? 0) - (before[name] ?? 0)
    const each = (name: keyof RunningServer['pids']) => {
      const seconds = spent(name)
      return seconds === null ? null : Math.round((seconds * 1e6) / Math.max(1, result.completed))
    }
    const [elapsed, busy, steal, own] = (['time', 'busy', 'steal', 'own'] as const).map(
      name => after[name] - before[name],
    ) as [number, number, number, number]
    const ours = (['server', 'database', 'api'] as const).map(spent)
    const known = ours.reduce<number>((sum, part) => sum + (part ?? 0), own + result.cpu_seconds)
    return {
      server: server.name,
      load: load.name,
      round: given.round,
      pace: given.pace,
      ...assess(result, given.pace),
      server_us: each('server') ?? 0,
      database_us: each('database'),
      api_us: each('api'),
      peak_mb: peakMb(running.pids.server),
      load_cpu: round(result.cpu_seconds / elapsed),
      others_cpu: round(Math.max(0, busy - known) / elapsed),
      steal_cpu: round(steal / elapsed),
    }
  } finally {
    await running.stop()
  }
}

/** Until the code is hot; by clients that are not measured, where there are others. */
async function warmUp({ program, load, population, seconds, running }: Given & Run) {
  const isKnown = load.clients === 'known'
  await program.run({
    load,
    first: isKnown ? 0 : running.first + population.new,
    clients: isKnown ? population.known : population.spare,
    expects: running.expects,
    seconds: warmUpSeconds(seconds),
    pace: { window: 64 },
    timeout_seconds: closedTimeout,
  })
}

async function measure(given: Given & Run): Promise<Measured> {
  const { lab, program, load, population, pace, seconds, running } = given
  const { first, expects } = running
  const clients = load.clients === 'known' ? population.known : population.new
  if (pace.by === 'perfdhcp') return runPerfdhcp({ lab, load, clients, seconds, rate: pace.rate })
  return program.run({
    load,
    first,
    clients,
    expects,
    seconds,
    pace: pace.by === 'window' ? { window: pace.window } : { rate: pace.rate },
    timeout_seconds: pace.by === 'window' ? closedTimeout : 1,
  })
}

export type Measured = Pick<
  LoadResult,
  | 'seconds'
  | 'started'
  | 'skipped'
  | 'completed'
  | 'completed_in_time'
  | 'refused'
  | 'wrong'
  | 'cpu_seconds'
  | 'ack_ms'
>

/** At which loss a rate counts no more, and how much of a rate the generator has to reach. */
const lossLimit = 1
const paceLimit = 0.97

/** What a result says, without what it cost. */
export function assess(result: Measured, pace: Pace) {
  const { seconds, started, skipped, completed, completed_in_time, refused, wrong, ack_ms } = result
  const wanted = started + skipped
  return {
    per_s: Math.round((pace.by === 'window' ? completed_in_time : completed) / seconds),
    completed,
    loss_percent: round(wanted === 0 ? 100 : (1 - completed / wanted) * 100),
    wrong,
    refused,
    kept_pace: pace.by === 'window' || wanted >= pace.rate * seconds * paceLimit,
    ack_p50_ms: ack_ms?.p50 ?? null,
    ack_p99_ms: ack_ms?.p99 ?? null,
  }
}

/** Whether a server answered nearly all, as fast as they came. */
export const keepsRate = (
  trial: Pick<ReturnType<typeof assess>, 'loss_percent' | 'kept_pace' | 'wrong'>,
): boolean => trial.kept_pace && trial.wrong === 0 && trial.loss_percent < lossLimit

/** Waits until a client is answered, of those that are not measured. */
async function waitForAnswers({ program, load, population, running }: Given & Run) {
  const probe = program.probe(load, running)
  const deadline = performance.now() + answerMs
  const client = load.clients === 'known' ? 0 : running.first + population.new
  try {
    for (;;) {
      const { answered_ns } = await probe.ask({ client, interval_us: 20_000, timeout_ms: 500 })
      if (answered_ns > 0) return
      const failure = running.failure()
      if (failure) throw new Error(failure)
      if (performance.now() > deadline) throw new Error('the server answers nobody')
    }
  } finally {
    await probe.close()
  }
}

function readUsage({ pids }: RunningServer) {
  const { user, system } = process.cpuUsage()
  const of = (pid: number | undefined) => (pid === undefined ? 0 : cpuSeconds(pid))
  return {
    time: performance.now() / 1000,
    own: (user + system) / 1e6,
    server: of(pids.server),
    database: of(pids.database),
    api: of(pids.api),
    ...machineSeconds(),
  }
}
