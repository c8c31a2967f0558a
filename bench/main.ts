import { Command, InvalidArgumentError } from 'commander'
import { benchAllocate } from './allocate.ts'
import { benchAuth } from './auth.ts'
import { findCommit } from './checkout.ts'
import { benchCompare } from './compare.ts'
import { asCompareTable } from './compare-report.ts'
import { asContestTable, type ContestReport, type ContestSettings } from './contests.ts'
import { benchDhcp } from './dhcp/bench.ts'
import { loads } from './dhcp/load.ts'
import { asDhcpTable } from './dhcp/report.ts'
import { completeSettings, type DhcpSettings, serverNames, whyNot } from './dhcp/settings.ts'
import { benchInstance } from './instance.ts'
import { benchMacs } from './macs.ts'
import { say } from './measure.ts'
import { asTable, save } from './report.ts'

const program = new Command('npm run bench --').description(
  'Measures Melange; see bench/README.md.',
)

type Flags = {
  json?: boolean
  save?: boolean
  quick?: boolean
  clients: number
  seconds?: number
  rounds?: number
}

type CompareFlags = {
  json?: boolean
  save?: boolean
  floor: number
  clients: number
  seconds: number
  rounds: number
  roundsMax?: number
}

program
  .command('allocate')
  .description('allocations: ours, the no-op ceiling and the naive way; flatness; bulk')
  .option('--json', 'one JSON object on standard output, instead of a table')
  .option('--save', 'also write bench/results/YYYY-MM-DD-allocate.json, and the table')
  .option('--quick', 'all steps in under a minute; the figures are worth little')
  .option('--clients <n>', 'connections under load', positive, 64)
  .option('--seconds <n>', 'of one measurement (3)', positive)
  .option('--rounds <n>', 'of which the medians are taken (3)', positive)
  .action(async ({ json, save: isSaved, quick = false, clients, seconds, rounds }: Flags) => {
    const report = await benchAllocate({
      clients,
      quick,
      seconds: seconds ?? (quick ? 0.3 : 3),
      rounds: Math.ceil(rounds ?? (quick ? 1 : 3)),
    })
    const table = asTable(report)
    if (isSaved) say(`saved as ${save({ name: 'allocate', report, table })}`)
    console.log(json ? JSON.stringify(report) : table)
    if (report.audit > 0) process.exitCode = 1
  })

program
  .command('compare')
  .description('the working tree against another commit, in turn: ratios of the rates')
  .argument('<rev>', 'the other commit: a branch, a tag, a hash', existing)
  .option('--json', 'one JSON object on standard output, instead of a table')
  .option('--save', 'also write bench/results/YYYY-MM-DD-compare-COMMIT.json, and the table')
  .option('--floor <ratio>', 'status 1 if sequential allocation has less', positive, 0.9)
  .option('--clients <n>', 'connections under load', positive, 64)
  .option('--seconds <n>', 'of one measurement, about', positive, 0.25)
  .option('--rounds <n>', 'in each of which both are measured four times', positive, 12)
  .option('--rounds-max <n>', 'of the core case, while it is unsure (10 × rounds)', positive)
  .action(async (revision: string, { json, save: isSaved, ...flags }: CompareFlags) => {
    const rounds = Math.ceil(flags.rounds)
    const rounds_max = Math.max(rounds, flags.roundsMax ?? 10 * rounds)
    const { clients, seconds, floor } = flags
    const report = await benchCompare({ revision, clients, seconds, rounds, rounds_max, floor })
    const table = asCompareTable(report)
    const name = `compare-${report.theirs.commit.slice(0, 12)}`
    if (isSaved) say(`saved as ${save({ name, report, table })}`)
    console.log(json ? JSON.stringify(report) : table)
    if (report.verdict === 'fail') process.exitCode = 1
  })

const contests: readonly [string, string, (settings: ContestSettings) => Promise<ContestReport>][] =
  [
    ['macs', 'MAC addresses against IP addresses, and full ranges against empty ones', benchMacs],
    ['auth', 'a cached token of Keystone, one of our own, and no authentication', benchAuth],
    ['instance', 'an instance with two NICs by one call, against single calls', benchInstance],
  ]
for (const [name, description, run] of contests) {
  program
    .command(name)
    .description(`${description}: ratios of the rates`)
    .option('--json', 'one JSON object on standard output, instead of a table')
    .option('--save', `also write bench/results/YYYY-MM-DD-${name}.json, and the table`)
    .option('--quick', 'in under a minute; the figures are worth little')
    .option('--clients <n>', 'connections under load', positive, 64)
    .option('--seconds <n>', 'of one measurement (1)', positive)
    .option('--rounds <n>', 'in each of which both sides are measured twice (8)', positive)
    .action(async ({ json, save: isSaved, quick = false, clients, seconds, rounds }: Flags) => {
      const report = await run({
        clients,
        quick,
        seconds: seconds ?? (quick ? 0.3 : 1),
        rounds: Math.ceil(rounds ?? (quick ? 1 : 8)),
      })
      const table = asContestTable(report)
      if (isSaved) say(`saved as ${save({ name, report, table })}`)
      console.log(json ? JSON.stringify(report) : table)
      if (report.audit > 0) process.exitCode = 1
    })
}

type DhcpFlags = Partial<DhcpSettings> & {
  json?: boolean
  save?: boolean
  quick?: boolean
  rateSteps?: number
}

program
  .command('dhcp')
  .description('the server for machines beside Kea and dnsmasq, in turn; needs root')
  .option('--json', 'one JSON object on standard output, instead of a table')
  .option('--save', 'also write bench/results/YYYY-MM-DD-dhcp.json, and the table')
  .option('--quick', 'in under 90 s; the figures are worth little')
  .option('--servers <names>', serverNames.join(','), oneOf(serverNames))
  .option('--loads <names>', 'see bench/README.md', oneOf(loads.map(({ name }) => name)))
  .option('--sizes <hosts>', 'for start and change (1000,16384,65533; 0: none)', counts)
  .option('--rounds <n>', 'of which the medians are taken (3)', positive)
  .option('--seconds <n>', 'of one trial (2)', positive)
  .option('--rate-steps <n>', 'in search of the highest rate with little loss (3)', Number)
  .option('--changes <n>', 'of hosts, for each size (300)', positive)
  .action(async ({ json, save: isSaved, quick = false, rateSteps, ...flags }: DhcpFlags) => {
    const steps = rateSteps === undefined ? {} : { rate_steps: rateSteps }
    const settings = completeSettings({ ...flags, ...steps, quick })
    const reason = whyNot(settings)
    if (reason !== null) program.error(`error: ${reason}`)
    const report = await benchDhcp(settings)
    const table = asDhcpTable(report)
    if (isSaved) say(`saved as ${save({ name: 'dhcp', report, table })}`)
    console.log(json ? JSON.stringify(report) : table)
    if (report.has_failed) process.exitCode = 1
  })

// So that what ends with the process (servers, PostgreSQL) does so after Ctrl-C, too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130))
}

await program.parseAsync()

function existing(revision: string): string {
  if (findCommit(revision) === null) throw new InvalidArgumentError('There is no such commit.')
  return revision
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.')
  return value
}

function oneOf(names: readonly string[]) {
  return (text: string): string[] => {
    const chosen = text.split(',')
    const unknown = chosen.filter(name => !names.includes(name))
    if (unknown.length > 0) throw new InvalidArgumentError(`There is no ${unknown.join(', ')}.`)
    return chosen
  }
}

function counts(text: string): number[] {
  const values = text.split(',').map(Number)
  if (values.every(value => value === 0)) return []
  for (const value of values) positive(String(value))
  return values
}
