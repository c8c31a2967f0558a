import { mkdirSync, writeFileSync } from 'node:fs'
import type { Filling } from './allocate.ts'
import type { BulkReport, EmbeddedReport } from './alone.ts'
import { allocationCases } from './cases.ts'
import { blockKinds, type fills } from './fill.ts'
import { type BenchOptions, type Figure, type Measurements, round } from './measure.ts'
import { fillName } from './round.ts'
import type { describeMachine } from './setup.ts'

type Given = {
  readonly machine: Awaited<ReturnType<typeof describeMachine>>
  readonly options: BenchOptions
  readonly measurements: Measurements
  readonly fillings: readonly Filling[]
  readonly acknowledged: { readonly answers: number; readonly in_database: number }
  readonly naiveConnections: readonly number[]
  readonly server_peak_mb: number
  readonly audit: number
  readonly bulk: BulkReport
  readonly embedded: EmbeddedReport
}

type Goal = {
  readonly name: string
  readonly goal: string
  readonly value: number
  readonly met: boolean
}

export type AllocateReport = ReturnType<typeof makeReport>

/** What is measured on `ours` alone, in the order of the report. */
const caseNames = ['release', 'lookup', ...allocationCases.map(({ name }) => name)]

/** The one object that `allocate --json` prints. */
export function makeReport(given: Given) {
  const { machine, options, measurements, fillings, bulk, embedded } = given
  const figure = (name: string) => measurements.figure(name)
  const allocate = fillings.map(filling => {
    const kind = blockKinds.find(({ name }) => name === filling.block)
    const name = fillName({ name: filling.block }, filling.fill_percent as (typeof fills)[number])
    return { ...filling, addresses_per_block: kind?.per_block, ...figure(name) }
  })
  const flatness = Object.fromEntries(
    blockKinds.map(kind => {
      const rate = (fill: (typeof fills)[number]) => figure(fillName(kind, fill)).per_s
      return [kind.name, round(rate(99.9) / rate(0))] as const
    }),
  )
  const naive = given.naiveConnections.map(connections => ({
    connections,
    ...figure(`naive ${connections}`),
  }))
  const ours = figure('/8 0 %')
  const ceiling = figure('ceiling')
  const naive_per_s = Math.max(...naive.map(({ per_s }) => per_s))
  const figures = {
    ceiling_per_s: ceiling.per_s,
    naive_per_s,
    ours_per_s: ours.per_s,
    ratio_to_ceiling: round(ours.per_s / ceiling.per_s),
    ratio_to_naive: round(ours.per_s / naive_per_s),
    p50_ms: ours.p50_ms,
    p99_ms: ours.p99_ms,
    flatness: Math.min(...Object.values(flatness)),
    release_per_s: figure('release').per_s,
    lookup_per_s: figure('lookup').per_s,
    ...Object.fromEntries(
      allocationCases.map(({ name, member }) => [`${member ?? name}_per_s`, figure(name).per_s]),
    ),
    pglite_per_s: embedded.per_s,
    bulk,
    audit: given.audit + bulk.audit + embedded.audit,
  }
  return {
    bench: 'allocate',
    date: new Date().toISOString(),
    machine,
    settings: options,
    ...figures,
    goals: goalsOf(figures, options),
    details: {
      acknowledged: given.acknowledged,
      server_peak_mb: given.server_peak_mb,
      flatness,
      allocate,
      ceiling,
      naive,
      ...Object.fromEntries(caseNames.map(name => [name, figure(name)] as const)),
      pglite: embedded,
    },
  }
}

/** A goal that is missed is a fact to report, not a failure of the run. */
function goalsOf(
  figures: {
    ratio_to_naive: number
    ratio_to_ceiling: number
    flatness: number
    bulk: BulkReport
    audit: number
  },
  { quick }: BenchOptions,
): Goal[] {
  const { ratio_to_naive, ratio_to_ceiling, flatness, bulk, audit } = figures
  const least = (name: string, value: number, limit: number): Goal => ({
    name,
    goal: `at least ${limit}`,
    value,
    met: value >= limit,
  })
  const below = (name: string, value: number, limit: number): Goal => ({
    name,
    goal: `below ${limit}`,
    value,
    met: value < limit,
  })
  return [
    least('ratio_to_naive', ratio_to_naive, 10),
    least('ratio_to_ceiling', ratio_to_ceiling, 0.5),
    least('flatness', flatness, 0.9),
    // A quick run loads fewer addresses, which says nothing about a million.
    ...(quick
      ? []
      : [
          below('bulk.seconds', bulk.seconds, 60),
          below('bulk.server_peak_mb', bulk.server_peak_mb, 300),
        ]),
    below('audit', audit, 1),
  ]
}

/** The report for people, as Markdown. */
export function asTable(report: AllocateReport): string {
  const { machine, goals, details, settings } = report
  const row = (name: string, { per_s, p50_ms, p99_ms }: Omit<Figure, 'samples_per_s'>) =>
    `| ${name} | ${per_s} | ${p50_ms} | ${p99_ms} |`
  return [
    `${report.date.slice(0, 10)}, ${machine.cpus} × ${machine.model}, ${machine.memory_mb} MB,`,
    `Node ${machine.node}, PostgreSQL ${machine.postgres} (fsync ${machine.fsync}),`,
    `${settings.clients} clients, ${settings.rounds} rounds of ${settings.seconds} s` +
      `${settings.quick ? '; a quick run, good for nothing but a look' : ''}:`,
    '',
    '| goal | wanted | measured | met |',
    '|---|---|---|---|',
    ...goals.map(({ name, goal, value, met }) => {
      return `| ${name} | ${goal} | ${value} | ${met ? 'yes' : 'no'} |`
    }),
    '',
    '| what | per second | p50 ms | p99 ms |',
    '|---|---|---|---|',
    row('no-op ceiling', details.ceiling),
    ...details.naive.map(one => row(`naive, ${one.connections} connections`, one)),
    ...details.allocate.map(one => row(`next free, ${one.block}, ${one.fill_percent} % full`, one)),
    ...caseNames.map(name =>
      row(name, (details as unknown as Record<string, Figure>)[name] as Figure),
    ),
    row('next free, embedded database', details.pglite),
    '',
    `${report.bulk.addresses} addresses by bulk calls: ${report.bulk.seconds} s, ` +
      `the server at most ${report.bulk.server_peak_mb} MB. Audit: ${report.audit} differences.`,
    '',
  ].join('\n')
}

/** Writes bench/results/YYYY-MM-DD-NAME.json, and the table beside it. */
export function save({
  name,
  report,
  table,
}: {
  name: string
  report: { readonly date: string }
  table: string
}): string {
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const file = new URL(`${report.date.slice(0, 10)}-${name}.json`, folder)
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  writeFileSync(new URL(file.href.replace(/json$/, 'md')), table)
  return file.pathname
}
