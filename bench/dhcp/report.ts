import { median, round } from '../measure.ts'
import { compareRates, type RoundRates } from '../ratios.ts'
import type { describeMachine } from '../setup.ts'
import type { Failure } from './campaign.ts'
import { type DhcpSettings, findLoads } from './settings.ts'
import type { Size } from './sizes.ts'
import type { Pace, Trial } from './trial.ts'

export type SearchResult = {
  readonly server: string
  readonly load: string
  readonly by: Pace['by']
  /** The highest rate with a loss below 1 %; null if there was none. */
  readonly per_s: number | null
  /** Whether no higher rate was missed: it may manage more. */
  readonly is_open: boolean
}

type Given = {
  readonly machine: Awaited<ReturnType<typeof describeMachine>> & {
    readonly kernel: string
    readonly versions: readonly string[]
  }
  readonly settings: DhcpSettings
  readonly trials: readonly Trial[]
  readonly searches: readonly SearchResult[]
  readonly sizes: readonly Size[]
  readonly failures: readonly Failure[]
  /** Differences that `melange audit` found. */
  readonly audit: number
}

export type Goal = {
  readonly name: string
  readonly goal: string
  readonly value: number
  readonly met: boolean
}

export type DhcpReport = ReturnType<typeof makeDhcpReport>

/** Our servers, against which others, by which clients, and how many times as fast they are to be. */
const contests = [
  { ours: 'ours', theirs: 'kea-2', clients: 'known', least: 2 },
  { ours: 'ours-durable', theirs: 'kea-postgres', clients: 'new', least: 6 },
  { ours: 'ours-durable', theirs: 'kea-postgres', clients: 'known', least: null },
  { ours: 'ours-durable', theirs: 'kea-2', clients: 'known', least: null },
  { ours: 'ours', theirs: 'kea-2', clients: 'new', least: null },
  { ours: 'ours', theirs: 'dnsmasq', clients: 'known', least: null },
  { ours: 'ours', theirs: 'dnsmasq', clients: 'new', least: null },
] as const

const goalHosts = 65_533
const changeLimitMs = 100
const startLimitMs = 2000

/** The one object that `dhcp --json` prints. */
export function makeDhcpReport(given: Given) {
  const { machine, settings, trials, searches, sizes, failures, audit } = given
  const closed = findLoads(settings.loads).flatMap(load =>
    settings.servers.flatMap(server => figureOf(trials, { server, load: load.name }) ?? []),
  )
  const ratios = findLoads(settings.loads).flatMap(load =>
    contests
      .filter(({ clients }) => clients === load.clients)
      .flatMap(({ ours, theirs, least }) => {
        const rounds = pairRounds(trials, { load: load.name, ours, theirs })
        if (rounds.length === 0) return []
        return { load: load.name, ours, theirs, least, ...compareRates(rounds) }
      }),
  )
  const isOurs = ({ server }: { server: string }) => server.startsWith('ours')
  return {
    bench: 'dhcp',
    date: new Date().toISOString(),
    machine,
    settings,
    goals: [...ratioGoals(ratios), ...sizeGoals(sizes)],
    ratios,
    closed,
    rates: searches,
    sizes,
    wrong: trials.reduce((sum, { wrong }) => sum + wrong, 0),
    failures,
    audit,
    /** Whether ours failed, told a client a wrong address, or left something amiss. */
    has_failed:
      audit > 0 || failures.some(isOurs) || trials.some(one => isOurs(one) && one.wrong > 0),
    trials,
  }
}

type Figure = NonNullable<ReturnType<typeof figureOf>>
type NamedRatio = ReturnType<typeof compareRates> & {
  readonly load: string
  readonly ours: string
  readonly theirs: string
  readonly least: number | null
}

/** What a server did in the closed loop, over all rounds. */
export function figureOf(
  trials: readonly Trial[],
  { server, load }: { server: string; load: string },
) {
  const found = trials.filter(one => {
    return one.server === server && one.load === load && one.pace.by === 'window'
  })
  if (found.length === 0) return null
  const rates = found.map(({ per_s }) => per_s)
  const middle = (of: (trial: Trial) => number | null) => {
    const values = found.map(of).filter(value => value !== null)
    return values.length === 0 ? null : round(median(values))
  }
  return {
    server,
    load,
    per_s: Math.round(median(rates)),
    per_s_min: Math.min(...rates),
    per_s_max: Math.max(...rates),
    ack_p50_ms: middle(({ ack_p50_ms }) => ack_p50_ms),
    ack_p99_ms: middle(({ ack_p99_ms }) => ack_p99_ms),
    server_us: middle(({ server_us }) => server_us),
    database_us: middle(({ database_us }) => database_us),
    api_us: middle(({ api_us }) => api_us),
    peak_mb: Math.max(...found.map(({ peak_mb }) => peak_mb)),
    loss_percent: Math.max(...found.map(({ loss_percent }) => loss_percent)),
    wrong: found.reduce((sum, { wrong }) => sum + wrong, 0),
    others_cpu: middle(({ others_cpu }) => others_cpu),
    steal_cpu: middle(({ steal_cpu }) => steal_cpu),
  }
}

/** The median rate of a server in the closed loop; NaN if it has none. */
export const medianRate = (
  trials: readonly Trial[],
  what: { server: string; load: string },
): number => figureOf(trials, what)?.per_s ?? Number.NaN

/** The rates of two servers in the rounds that both have. */
export function pairRounds(
  trials: readonly Trial[],
  { load, ours, theirs }: { load: string; ours: string; theirs: string },
): RoundRates[] {
  const rateOf = (server: string, number: number) =>
    trials.find(({ pace, ...one }) => {
      const isRound = pace.by === 'window' && one.round === number
      return isRound && one.server === server && one.load === load
    })?.per_s
  const numbers = [...new Set(trials.map(({ round: number }) => number))]
  return numbers.flatMap(number => {
    const [mine, other] = [rateOf(ours, number), rateOf(theirs, number)]
    return mine === undefined || !other ? [] : { ours: [mine], theirs: [other] }
  })
}

/** A goal that is missed is a fact to report, not a failure of the run. */
function ratioGoals(ratios: readonly NamedRatio[]): Goal[] {
  return ratios.flatMap(({ load, ours, theirs, least, ratio }) => {
    if (least === null) return []
    const name = `${load}: ${ours} by ${theirs}`
    return { name, goal: `at least ${least}`, value: ratio, met: ratio >= least }
  })
}

function sizeGoals(sizes: readonly Size[]): Goal[] {
  const ours = sizes.filter(({ server, hosts }) => server === 'ours' && hosts === goalHosts)
  const below = (name: string, value: number, limit: number): Goal => {
    return { name, goal: `below ${limit}`, value, met: value < limit }
  }
  return ours.flatMap(({ hosts, change_ms, start_ms }) => [
    ...(change_ms
      ? [below(`${hosts} hosts: change to answer, p99 ms`, change_ms.p99, changeLimitMs)]
      : []),
    below(`${hosts} hosts: start from what is kept, ms`, start_ms, startLimitMs),
  ])
}

/** The report for people, as Markdown. */
export function asDhcpTable(report: DhcpReport): string {
  const { machine, settings, goals, ratios, closed, rates, sizes, failures } = report
  const shown = (value: number | null) => value ?? ''
  const range = (low: number | null, high: number | null) =>
    low === null ? '?' : `${low} – ${high}`
  const cpu = ({ server_us, database_us, api_us }: Figure) =>
    `${shown(server_us)} | ${shown(database_us)} | ${shown(api_us)}`
  return [
    `${report.date.slice(0, 10)}, ${machine.cpus} × ${machine.model}, ${machine.memory_mb} MB,`,
    `Node ${machine.node}, PostgreSQL ${machine.postgres} (fsync ${machine.fsync}),`,
    `Linux ${machine.kernel}, ${machine.versions.join(', ')}; load ${machine.load_average} at the start;`,
    `${settings.rounds} rounds of ${settings.seconds} s` +
      `${settings.quick ? '; a quick run, good for nothing but a look' : ''}:`,
    '',
    '| goal | wanted | measured | met |',
    '|---|---|---|---|',
    ...goals.map(({ name, goal, value, met }) => {
      return `| ${name} | ${goal} | ${value} | ${met ? 'yes' : 'no'} |`
    }),
    '',
    '| load | ratio of | median | 95 % sure | least – most |',
    '|---|---|---|---|---|',
    ...ratios.map(({ load, ours, theirs, ratio, ...spread }) => {
      const sure = range(spread.ratio_low, spread.ratio_high)
      const all = range(spread.ratio_min, spread.ratio_max)
      return `| ${load} | ${ours} / ${theirs} | ${ratio} | ${sure} | ${all} |`
    }),
    '',
    'Closed loop, 64 exchanges at a time; µs are processor time for an exchange:',
    '',
    '| load | server | per second | least – most | ACK p50 ms | p99 ms | µs | database | API | MB | lost % | wrong | others | steal |',
    '|---|---|---|---|---|---|---|---|---|---|---|---|---|---|',
    ...closed.map(one => {
      const spread = range(one.per_s_min, one.per_s_max)
      const times = `${shown(one.ack_p50_ms)} | ${shown(one.ack_p99_ms)}`
      const noise = `${shown(one.others_cpu)} | ${shown(one.steal_cpu)}`
      return (
        `| ${one.load} | ${one.server} | ${one.per_s} | ${spread} | ${times} | ${cpu(one)} ` +
        `| ${one.peak_mb} | ${one.loss_percent} | ${one.wrong} | ${noise} |`
      )
    }),
    '',
    'The highest rate with less than 1 % lost:',
    '',
    '| load | server | generator | per second |',
    '|---|---|---|---|',
    ...rates.map(({ load, server, by, per_s, is_open }) => {
      const rate = per_s === null ? 'none' : `${is_open ? 'at least ' : ''}${per_s}`
      return `| ${load} | ${server} | ${by === 'perfdhcp' ? 'perfdhcp' : 'ours'} | ${rate} |`
    }),
    '',
    '| hosts | server | first start ms | start ms | MB | change p50 ms | p99 ms | most ms | of them |',
    '|---|---|---|---|---|---|---|---|---|',
    ...sizes.map(({ hosts, server, first_start_ms, start_ms, peak_mb, change_ms }) => {
      const change = change_ms
        ? [change_ms.p50, change_ms.p99, change_ms.max, change_ms.count].join(' | ')
        : ' |  |  | '
      return `| ${hosts} | ${server} | ${first_start_ms} | ${start_ms} | ${peak_mb} | ${change} |`
    }),
    '',
    ...failures.map(({ server, what, why }) => `Failed: ${server}, ${what}: ${why.split('\n')[0]}`),
    `Wrong answers: ${report.wrong}. Audit: ${report.audit} differences.`,
    '',
  ].join('\n')
}
