import { startPostgresServer } from '../test/helpers/postgres-server.ts'
import { type Job, type JobResult, type LoadClient, startLoadClient } from './load.ts'
import { address, median, round, say } from './measure.ts'
import { compareRates, meanRate, type RoundRates } from './ratios.ts'
import {
  type BenchServer,
  closeAll,
  countDifferences,
  describeMachine,
  query,
  type ServerOptions,
  startServer,
} from './setup.ts'

export type ContestSettings = {
  readonly clients: number
  /** Of one measurement, of which each round has two a side. */
  readonly seconds: number
  readonly rounds: number
  readonly quick: boolean
}

/** What is measured: requests without where and how long. */
export type Entrant = Pick<Job, 'method' | 'path' | 'status'> &
  Partial<Pick<Job, 'token' | 'body' | 'values' | 'times' | 'then' | 'collect'>> & {
    readonly name: string
    /** Is given what the requests were answered. */
    readonly keep?: (collected: JobResult['collected']) => void
  }

/** Two ways, of which the first is divided by the second. */
export type Contest = {
  readonly name: string
  /** Makes what the requests need, anew for each measurement. */
  readonly ours: () => Promise<Entrant> | Entrant
  readonly theirs: () => Promise<Entrant> | Entrant
}

type Stage = {
  readonly server: BenchServer
  readonly load: LoadClient
  readonly databaseUrl: string
}

export type ContestReport = Awaited<ReturnType<typeof runContests>>

/** Measures contests on one server, in the order ABBA, in every second round BAAB. */
export function runContests(
  bench: string,
  settings: ContestSettings,
  prepare: (stage: Stage) => Promise<readonly Contest[]>,
  started: Pick<ServerOptions, 'kind' | 'environment'> = { kind: 'melange', environment: {} },
) {
  return closeAll(async closing => {
    const postgres = await startPostgresServer()
    closing(() => postgres.stop())
    const machine = await describeMachine(postgres.url)
    const load = startLoadClient()
    closing(() => load.close())
    const databaseUrl = await postgres.createDatabase('bench')
    const environment = { DATABASE_URL: databaseUrl }
    const server = await startServer({
      kind: started.kind,
      environment: { ...started.environment, ...environment },
    })
    closing(() => server.close())
    const stage = { server, load, databaseUrl }
    const contests = await prepare(stage)
    await query(databaseUrl, 'vacuum analyze')
    // What is too short for the compiler says nothing of the rates that follow.
    const warmUp = { ...settings, seconds: Math.max(2, settings.seconds) }
    for (const { ours, theirs } of contests) {
      for (const side of [ours, theirs]) await measure(stage, warmUp, await side())
    }
    const sides = { ours: [] as Sample[], theirs: [] as Sample[] }
    const results = contests.map(contest => ({ contest, rounds: [] as RoundRates[], ...sides }))
    for (const [n, result] of results.entries()) results[n] = { ...result, ours: [], theirs: [] }
    for (let number = 1; number <= settings.rounds; number++) {
      for (const { contest, rounds, ...samples } of results) {
        const rates = { ours: [] as number[], theirs: [] as number[] }
        const order = ['ours', 'theirs', 'theirs', 'ours'] as const
        await query(databaseUrl, 'checkpoint')
        for (const side of number % 2 === 0 ? order.toReversed() : order) {
          const sample = await measure(stage, settings, await contest[side]())
          rates[side].push(sample.per_s)
          samples[side].push(sample)
        }
        rounds.push(rates)
        say(`round ${number}, ${contest.name}: ${compareRates([rates]).ratio} (${shown(rates)})`)
      }
    }
    const audit = await countDifferences(environment)
    return {
      bench,
      date: new Date().toISOString(),
      machine,
      settings,
      contests: results.map(({ contest, rounds, ours, theirs }) => ({
        name: contest.name,
        ours: figure(
          ours,
          rounds.map(one => meanRate(one.ours)),
        ),
        theirs: figure(
          theirs,
          rounds.map(one => meanRate(one.theirs)),
        ),
        ...compareRates(rounds),
      })),
      audit,
    }
  })
}

type Sample = { readonly name: string } & Pick<JobResult, 'per_s' | 'p50_ms' | 'p99_ms'>

async function measure(
  { server, load }: Stage,
  { clients, seconds }: ContestSettings,
  { name, keep, ...requests }: Entrant,
): Promise<Sample> {
  const { per_s, p50_ms, p99_ms, collected } = await load.run({
    values: [''],
    times: 'cycle',
    collect: [],
    ...address(server),
    ...requests,
    returns_collected: keep !== undefined,
    connections: clients,
    seconds,
    // What is used up would be gone before it counts.
    warmup_seconds: requests.times === 1 ? 0 : seconds / 5,
  })
  if (per_s === 0) throw new Error(`${name}: nothing was measured`)
  keep?.(collected)
  return { name, per_s, p50_ms, p99_ms }
}

const figure = (samples: readonly Sample[], rates: readonly number[]) => ({
  name: samples[0]?.name ?? '',
  per_s: Math.round(median(rates)),
  p50_ms: round(median(samples.map(({ p50_ms }) => p50_ms))),
  p99_ms: round(median(samples.map(({ p99_ms }) => p99_ms))),
})

const shown = (rates: RoundRates) =>
  Object.entries(rates)
    .map(([name, all]) => `${name} ${all.map(Math.round).join(' ')}`)
    .join(', ')

/** The report for people, as Markdown. */
export function asContestTable({
  date,
  machine,
  settings,
  contests,
  audit,
}: ContestReport): string {
  const { clients, rounds, seconds, quick } = settings
  return [
    `${date.slice(0, 10)}, ${machine.cpus} × ${machine.model}, ${machine.memory_mb} MB,`,
    `Node ${machine.node}, PostgreSQL ${machine.postgres} (fsync ${machine.fsync}),`,
    `${clients} clients, ${rounds} rounds of twice ${seconds} s for each side` +
      `${quick ? '; a quick run, good for nothing but a look' : ''}:`,
    '',
    '| this | per second | p50 ms | p99 ms | against | per second | p50 ms | p99 ms | ratio | 95 % sure |',
    '|---|---|---|---|---|---|---|---|---|---|',
    ...contests.map(({ ours, theirs, ratio, ratio_low, ratio_high }) => {
      const cells = [ours, theirs].flatMap(({ name, per_s, p50_ms, p99_ms }) => {
        return [name, per_s, p50_ms, p99_ms]
      })
      const sure = ratio_low === null ? '?' : `${ratio_low} – ${ratio_high}`
      return `| ${cells.join(' | ')} | ${ratio} | ${sure} |`
    }),
    '',
    `Audit: ${audit} differences.`,
    '',
  ].join('\n')
}
