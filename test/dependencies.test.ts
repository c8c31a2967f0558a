import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { readReport } from '../scripts/audit-report.ts'
import { type LockFile, lockProblems, type Manifest } from '../scripts/lock-file.ts'

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'))
const manifest: Manifest = read('package.json')
const lock: LockFile = read('package-lock.json')

test('every package is pinned by its hash, and comes from the registry', () => {
  expect(Object.keys(lock.packages).length).toBeGreaterThan(100)
  expect(lockProblems(manifest, lock)).toEqual([])
})

test.each([
  ['no hash', { integrity: '' }, 'has no SHA-512'],
  ['a weak hash', { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }, 'has no SHA-512'],
  ['a git repository', { resolved: 'git+ssh://git@example.org/a/b.git#1234' }, 'comes from git'],
  ['an address', { resolved: 'https://example.org/pg/-/pg-1.0.0.tgz' }, 'comes from https://ex'],
  ['a script', { hasInstallScript: true }, 'runs a script when installed'],
  ['a link', { link: true }, 'is a link'],
])('%s is found', (_what, change, problem) => {
  const pg = { ...lock.packages['node_modules/pg'], ...change }
  const packages = { ...lock.packages, 'node_modules/pg': pg }
  const [found, ...more] = lockProblems(manifest, { ...lock, packages })
  expect(found).toContain(`node_modules/pg ${problem}`)
  expect(more).toEqual([])
})

test.each([
  'git+https://example.org/a/b.git',
  'github:a/b',
  'file:../b',
  'https://a.example/b.tgz',
  '*',
  'latest',
])('a dependency on %s is found', range => {
  const dependencies = { ...manifest.dependencies, pg: range }
  expect(lockProblems({ ...manifest, dependencies }, lock)).toEqual([
    `package.json: pg is asked for as ${range}, not by a version`,
  ])
})

test('advisories count from high on, and what is no report is none', () => {
  const of = (severity: string) => ({ name: severity, severity, range: '<2.0.0' })
  const vulnerabilities = { a: of('critical'), b: of('high'), c: of('moderate'), d: of('low') }
  expect(readReport(JSON.stringify({ auditReportVersion: 2, vulnerabilities }))).toEqual({
    kind: 'report',
    findings: [of('critical'), of('high')],
  })
  expect(readReport('{"vulnerabilities": {}}')).toEqual({ kind: 'report', findings: [] })
  const away = { message: 'request failed', error: { summary: 'there is no such endpoint' } }
  expect(readReport(JSON.stringify(away))).toMatchObject({ reason: 'there is no such endpoint' })
  for (const output of ['', 'npm error', 'null', '[]']) {
    expect(readReport(output)).toEqual({ kind: 'unknown', reason: '' })
  }
})
