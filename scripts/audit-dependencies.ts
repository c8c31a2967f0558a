import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readReport } from './audit-report.ts'
import { lockProblems } from './lock-file.ts'

// Looks at what Melange is installed with: that the lock file pins it, and whether there are advisories of
// high or critical severity against what it runs with. With --require it also fails where nobody can tell.

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'))

const problems = lockProblems(read('package.json'), read('package-lock.json'))
for (const problem of problems) console.error(problem)
if (problems.length === 0) console.log('The lock file pins every package by its SHA-512.')

const { stdout, stderr } = spawnSync(
  'npm',
  ['audit', '--omit=dev', '--audit-level=high', '--json'],
  { encoding: 'utf8', timeout: 120_000 },
)
const report = readReport(stdout ?? '')
if (report.kind === 'unknown') {
  const [line] = (stderr ?? '').split('\n').filter(text => text.includes('audit'))
  console.error(`ADVISORIES WERE NOT LOOKED AT: ${report.reason || line || 'npm gave no report'}`)
} else if (report.findings.length > 0) {
  for (const { name, severity, range } of report.findings) {
    console.error(`${name} ${range}: there is an advisory of ${severity} severity`)
  }
} else console.log('There is no advisory of high or critical severity.')

const isRequired = process.argv.includes('--require')
const isUnknown = report.kind === 'unknown' && isRequired
const hasFindings = report.kind === 'report' && report.findings.length > 0
if (problems.length > 0 || hasFindings || isUnknown) process.exitCode = 1
