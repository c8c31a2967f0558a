import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addressOf, duidOf, macOf } from '../bench/dhcp/hosts.ts'
import { loads } from '../bench/dhcp/load.ts'
import { readPerfdhcp } from '../bench/dhcp/perfdhcp.ts'
import { cpuSeconds, processTree } from '../bench/dhcp/processes.ts'
import { RateSearch } from '../bench/dhcp/rate-search.ts'
import { asDhcpTable, figureOf, makeDhcpReport, pairRounds } from '../bench/dhcp/report.ts'
import { completeSettings, defaultLoads, serverNames } from '../bench/dhcp/settings.ts'
import { type Size, spreadOf } from '../bench/dhcp/sizes.ts'
import { assess, keepsRate, type Measured, type Trial } from '../bench/dhcp/trial.ts'

test('client n has the n-th MAC, DUID and addresses', () => {
  expect(macOf(0)).toBe('02:00:00:00:00:00')
  expect(macOf(65_537)).toBe('02:00:00:01:00:01')
  expect(duidOf(255)).toBe('00:03:00:01:02:00:00:00:00:ff')
  expect(addressOf(0, 4)).toBe('10.97.0.0')
  expect(addressOf(65_537, 4)).toBe('10.98.0.1')
  expect(addressOf(65_537, 6)).toBe('fd99::1:1:1')
})

test('the settings name servers and loads that there are', () => {
  const names = loads.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  for (const quick of [true, false]) {
    const settings = completeSettings({ quick })
    expect(names).toEqual(expect.arrayContaining([...settings.loads, ...settings.rate_loads]))
    expect(settings.servers).toEqual(serverNames)
  }
  expect(completeSettings({ quick: true, rounds: 7 })).toMatchObject({ rounds: 7, changes: 30 })
  expect(completeSettings({ quick: false }).loads).toEqual(defaultLoads)
})

const measured = (given: Partial<Measured>): Measured => ({
  seconds: 2,
  started: 1000,
  skipped: 0,
  completed: 1000,
  completed_in_time: 900,
  refused: 0,
  wrong: 0,
  cpu_seconds: 0,
  ack_ms: null,
  ...given,
})

test('in the closed loop counts what was completed in time, at a rate all of it', () => {
  expect(assess(measured({}), { by: 'window', window: 64 }).per_s).toBe(450)
  expect(assess(measured({}), { by: 'rate', rate: 500 }).per_s).toBe(500)
})

test.each([
  ['all', {}, 500, true],
  ['1 % lost', { completed: 990 }, 500, false],
  ['less than 1 % lost', { completed: 991 }, 500, true],
  ['what was not even begun', { started: 980, completed: 980, skipped: 20 }, 500, false],
  ['a wrong answer', { wrong: 1 }, 500, false],
  ['a generator that is too slow', {}, 520, false],
])('whether a rate is kept: %s', (_name, given, rate, kept) => {
  const pace = { by: 'rate', rate } as const
  expect(keepsRate(assess(measured(given), pace))).toBe(kept)
})

test('a search comes as near to the limit as its steps allow', () => {
  const limit = fc.integer({ min: 100, max: 100_000 })
  const start = fc.double({ min: 0.7, max: 1.3, noNaN: true })
  fc.assert(
    fc.property(limit, start, (most, factor) => {
      const search = new RateSearch(most * factor)
      for (let step = 0; step < 8; step++) {
        search.take({ rate: search.next, kept: search.next <= most })
      }
      const { per_s, is_open } = search.result
      expect(is_open).toBe(false)
      expect(per_s).toBeLessThanOrEqual(most)
      expect(per_s).toBeGreaterThan(most * 0.98 - 1)
    }),
  )
})

test('a search that never failed, or always, says so', () => {
  const search = new RateSearch(1000)
  search.take({ rate: search.next, kept: true })
  expect(search.result).toEqual({ per_s: 1000, is_open: true })
  expect(search.next).toBeGreaterThan(1000)
  const hopeless = new RateSearch(1000)
  hopeless.take({ rate: hopeless.next, kept: false })
  expect(hopeless.result).toEqual({ per_s: null, is_open: false })
  expect(hopeless.next).toBeLessThan(1000)
})

test('what was missed below a rate that was kept was bad luck', () => {
  const search = new RateSearch(1000)
  search.take({ rate: 1000, kept: true })
  search.take({ rate: 900, kept: false })
  expect(search.result).toEqual({ per_s: 1000, is_open: true })
})

test('percentiles are of the nearest rank', () => {
  const hundred = Array.from({ length: 100 }, (_, n) => 100 - n)
  expect(spreadOf(hundred)).toEqual({ count: 100, p50: 50, p99: 99, max: 100 })
  expect(spreadOf([7])).toEqual({ count: 1, p50: 7, p99: 7, max: 7 })
})

test('perfdhcp is read by its second exchange', () => {
  const said = `
***Statistics for: DISCOVER-OFFER***
sent packets: 300
received packets: 290
drops: 10

***Statistics for: REQUEST-ACK***
sent packets: 290
received packets: 280
drops: 10
`
  expect(readPerfdhcp(said)).toMatchObject({ started: 300, completed: 280, ack_ms: null })
  expect(() => readPerfdhcp('unable to bind')).toThrow('unable to bind')
})

test('the processor time of a process is found', () => {
  expect(processTree(process.pid)).toContain(process.pid)
  const before = cpuSeconds(process.pid)
  const { user, system } = process.cpuUsage()
  expect(Math.abs(before - (user + system) / 1e6)).toBeLessThan(1)
})

const trial = (given: Partial<Trial>): Trial => ({
  server: 'ours',
  load: 'relay-known',
  round: 1,
  pace: { by: 'window', window: 64 },
  per_s: 1000,
  completed: 1000,
  loss_percent: 0,
  wrong: 0,
  refused: 0,
  kept_pace: true,
  ack_p50_ms: 1,
  ack_p99_ms: 2,
  server_us: 30,
  database_us: null,
  api_us: null,
  peak_mb: 50,
  load_cpu: 0.3,
  others_cpu: 0,
  steal_cpu: 0,
  ...given,
})

test('a figure is the median of the closed loop, with its spread', () => {
  const rates = [900, 1000, 1300]
  const trials = [
    ...rates.map((per_s, n) => trial({ per_s, round: n + 1, peak_mb: 50 + n })),
    trial({ per_s: 5000, pace: { by: 'rate', rate: 5000 } }),
    trial({ per_s: 7000, server: 'kea-2' }),
  ]
  expect(figureOf(trials, { server: 'ours', load: 'relay-known' })).toMatchObject({
    per_s: 1000,
    per_s_min: 900,
    per_s_max: 1300,
    peak_mb: 52,
    database_us: null,
  })
  expect(figureOf(trials, { server: 'ours', load: 'relay-new' })).toBeNull()
})

test('only rounds that both have are compared', () => {
  const trials = [
    trial({ round: 1, per_s: 10 }),
    trial({ round: 1, per_s: 5, server: 'kea-2' }),
    trial({ round: 2, per_s: 20 }),
    trial({ round: 3, per_s: 30, server: 'kea-2' }),
  ]
  const sides = { load: 'relay-known', ours: 'ours', theirs: 'kea-2' }
  expect(pairRounds(trials, sides)).toEqual([{ ours: [10], theirs: [5] }])
})

const size = (given: Partial<Size>): Size => ({
  server: 'ours',
  hosts: 65_533,
  first_start_ms: 9000,
  start_ms: 1999,
  starts_ms: [9000, 1999],
  peak_mb: 200,
  change_ms: { count: 300, p50: 10, p99: 99, max: 500 },
  told_ms: { count: 300, p50: 5, p99: 50, max: 400 },
  ...given,
})

const report = (given: Partial<Parameters<typeof makeDhcpReport>[0]>) =>
  makeDhcpReport({
    machine: {
      cpus: 2,
      model: 'any',
      memory_mb: 1,
      load_average: 0,
      node: 'v20',
      postgres: '15',
      fsync: 'on',
      synchronous_commit: 'on',
      kernel: '6',
      versions: ['Kea 2'],
    },
    settings: completeSettings({ quick: false }),
    trials: [],
    searches: [],
    sizes: [],
    failures: [],
    audit: 0,
    ...given,
  })

test.each([
  [1999, false],
  [2000, true],
])('known hosts at %d/s against 1000/s of Kea with two threads: met is %s', (per_s, met) => {
  const { goals } = report({
    trials: [trial({ per_s }), trial({ per_s: 1000, server: 'kea-2' })],
  })
  expect(goals).toMatchObject([{ goal: 'at least 2', value: per_s / 1000, met }])
})

test.each([
  [5990, false],
  [6000, true],
])('durable leases at %d/s against 1000/s of Kea with PostgreSQL: met is %s', (per_s, met) => {
  const load = 'broadcast-new'
  const { goals } = report({
    trials: [
      trial({ load, per_s, server: 'ours-durable' }),
      trial({ load, per_s: 1000, server: 'kea-postgres' }),
    ],
  })
  expect(goals).toMatchObject([{ goal: 'at least 6', value: per_s / 1000, met }])
})

test('start and change count with the most hosts, of ours', () => {
  const sizes = [
    size({}),
    size({ hosts: 1000, start_ms: 5000 }),
    size({ server: 'dnsmasq', start_ms: 27_000 }),
  ]
  expect(report({ sizes }).goals.map(({ value, met }) => [value, met])).toEqual([
    [99, true],
    [1999, true],
  ])
  const slow = size({ start_ms: 2000, change_ms: { count: 300, p50: 10, p99: 100, max: 500 } })
  expect(report({ sizes: [slow] }).goals.map(({ met }) => met)).toEqual([false, false])
})

test('a run has failed when ours fails or tells something wrong, and not when others do', () => {
  const failure = { what: 'v6-known', why: 'it ended' }
  expect(report({ failures: [{ server: 'kea-postgres', ...failure }] }).has_failed).toBe(false)
  expect(report({ failures: [{ server: 'ours-durable', ...failure }] }).has_failed).toBe(true)
  expect(report({ trials: [trial({ wrong: 1 })] }).has_failed).toBe(true)
  expect(report({ trials: [trial({ wrong: 1, server: 'dnsmasq' })] }).has_failed).toBe(false)
  expect(report({ audit: 1 }).has_failed).toBe(true)
})

test('the table has every goal, trial and size', () => {
  const table = asDhcpTable(
    report({
      trials: [trial({ per_s: 2500 }), trial({ per_s: 1000, server: 'kea-2' })],
      searches: [
        { server: 'ours', load: 'relay-known', by: 'rate', per_s: 2400, is_open: true },
        { server: 'kea-2', load: 'relay-known', by: 'perfdhcp', per_s: null, is_open: false },
      ],
      sizes: [size({}), size({ server: 'kea', change_ms: null, told_ms: null })],
      failures: [{ server: 'kea-postgres', what: 'v6-known', why: 'it ended\nsuddenly' }],
    }),
  )
  expect(table).toContain('| relay-known: ours by kea-2 | at least 2 | 2.5 | yes |')
  expect(table).toContain('| relay-known | ours | ours | at least 2400 |')
  expect(table).toContain('| relay-known | kea-2 | perfdhcp | none |')
  expect(table).toContain('Failed: kea-postgres, v6-known: it ended\n')
  const rows = table.split('\n').filter(line => /^\| 65533 \|/.test(line))
  expect(new Set(rows.map(row => row.split('|').length))).toEqual(new Set([11]))
})
