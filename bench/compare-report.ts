import { median } from './measure.ts'
import { compareRates, meanRate, type RoundRates, type SideName } from './ratios.ts'
import type { describeMachine } from './setup.ts'

export type CompareSettings = {
  readonly revision: string
  readonly clients: number
  /** About how long one measurement lasts. */
  readonly seconds: number
  readonly rounds: number
  /** So many at most for the core case, while its ratio is unsure. */
  readonly rounds_max: number
  /** The least median ratio of the core case that passes. */
  readonly floor: number
}

/** The case that decides. */
export const coreCase = 'allocate sequential'

type Given = {
  readonly machine: Awaited<ReturnType<typeof describeMachine>>
  readonly settings: CompareSettings
  readonly ours: { readonly commit: string; readonly is_changed: boolean }
  readonly theirs: { readonly commit: string }
  readonly cases: ReadonlyMap<string, readonly RoundRates[]>
  /** Cases that the other commit does not understand. */
  readonly left_out: readonly { readonly name: string; readonly reason: string }[]
}

export type CompareReport = ReturnType<typeof makeCompareReport>

/** The one object that `compare --json` prints. */
export function makeCompareReport({ machine, settings, ours, theirs, cases, left_out }: Given) {
  const compared = [...cases].map(([name, rounds]) => describeCase(name, rounds))
  const core = compared.find(({ name }) => name === coreCase)
  if (!core) throw new Error(`${coreCase} was not measured`)
  const verdict: 'pass' | 'fail' = core.ratio >= settings.floor ? 'pass' : 'fail'
  return {
    bench: 'compare',
    date: new Date().toISOString(),
    machine,
    settings,
    ours,
    theirs,
    cases: compared,
    left_out,
    verdict,
  }
}

function describeCase(name: string, rounds: readonly RoundRates[]) {
  const rate = (side: SideName) => Math.round(median(rounds.map(one => meanRate(one[side]))))
  return {
    name,
    ours_per_s: rate('ours'),
    theirs_per_s: rate('theirs'),
    ...compareRates(rounds),
  }
}

/** The report for people, as Markdown. The verdict comes last. */
export function asCompareTable(report: CompareReport): string {
  const { date, machine, settings, ours, theirs, cases, left_out, verdict } = report
  const { clients, rounds, seconds, floor } = settings
  const core = cases.find(({ name }) => name === coreCase)
  return [
    `${date.slice(0, 10)}, ${machine.cpus} × ${machine.model}, ${machine.memory_mb} MB,`,
    `Node ${machine.node}, PostgreSQL ${machine.postgres} (fsync ${machine.fsync}),`,
    `${clients} clients, ${rounds} rounds (${core?.ratios.length} of the core case) ` +
      `of four times ${seconds} s for each side.`,
    `Ours: ${ours.commit.slice(0, 12)}${ours.is_changed ? ' with changes' : ''}; ` +
      `theirs: ${theirs.commit.slice(0, 12)}.`,
    '',
    '| case | ours per second | theirs | ours / theirs | 95 % sure | least and most |',
    '|---|---|---|---|---|---|',
    ...cases.map(one => {
      const sure = span(one.ratio_low, one.ratio_high)
      const all = span(one.ratio_min, one.ratio_max)
      const rates = `${one.ours_per_s} | ${one.theirs_per_s}`
      return `| ${one.name} | ${rates} | ${one.ratio.toFixed(3)} | ${sure} | ${all} |`
    }),
    '',
    ...left_out.flatMap(({ name, reason }) => [`Left out: ${name}: ${reason}`, '']),
    `${coreCase}: ${core?.ratio.toFixed(3)}, floor ${floor}: ${verdict}`,
    '',
  ].join('\n')
}

const span = (low: number | null, high: number | null) =>
  low === null || high === null ? '?' : `${low.toFixed(3)} – ${high.toFixed(3)}`
