import { Command, InvalidArgumentError } from 'commander'
import { benchAllocate } from './allocate.ts'
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
    if (isSaved) say(`saved as ${save(report)}`)
    console.log(json ? JSON.stringify(report) : asTable(report))
    if (report.audit > 0) process.exitCode = 1
  })

// So that what ends with the process (servers, PostgreSQL) does so after Ctrl-C, too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130))
}

await program.parseAsync()

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.')
  return value
}
