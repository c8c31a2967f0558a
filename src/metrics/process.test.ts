import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Registry } from 'prom-client'
import { afterEach, expect, test } from 'vitest'
import { readSamples, sumOf } from '../../test/helpers/prometheus.ts'
import { collectProcessMetrics } from './process.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const endings: (() => void)[] = []
afterEach(() => {
  for (const end of endings.splice(0)) end()
})

function observed(prefix = '') {
  const registry = new Registry()
  const end = collectProcessMetrics(registry, prefix)
  endings.push(end)
  const read = async () => readSamples(await registry.metrics())
  const collections = async () =>
    sumOf(await read(), 'nodejs_gc_duration_seconds_count', { kind: 'major' }) ?? 0
  return { read, end, collections }
}

/** Keeps the event loop from turning. */
function block(milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}

test('tells how the process fares, all behind the prefix', async () => {
  const samples = await observed('ours_').read()
  expect(samples.filter(({ name }) => !name.startsWith('ours_'))).toEqual([])
  const value = (name: string) => sumOf(samples, `ours_${name}`) ?? Number.NaN
  const { heapTotal } = process.memoryUsage()
  expect(value('nodejs_heap_size_used_bytes')).toBeGreaterThan(1e6)
  expect(value('nodejs_heap_size_total_bytes') / heapTotal).toBeCloseTo(1, 0)
  expect(value('nodejs_external_memory_bytes')).toBeGreaterThan(0)
  expect(value('process_resident_memory_bytes')).toBeGreaterThan(heapTotal)
  expect(value('process_cpu_seconds_total')).toBeGreaterThan(0)
  expect(Date.now() / 1000 - value('process_start_time_seconds')).toBeLessThan(process.uptime() + 1)
  expect(sumOf(samples, 'ours_nodejs_version_info', { version: process.version })).toBe(1)
  if (process.platform === 'linux') {
    expect(value('process_open_fds')).toBeGreaterThan(2)
    expect(value('process_max_fds')).toBeGreaterThan(value('process_open_fds'))
  }
})

test('counts processor time once, however often it is read', async () => {
  const { read } = observed()
  const seconds = async () => sumOf(await read(), 'process_cpu_seconds_total') ?? Number.NaN
  await seconds()
  const told = await seconds()
  const { user, system } = process.cpuUsage()
  const since = (user + system) / 1e6
  expect(told).toBeLessThanOrEqual(since)
  expect(told).toBeGreaterThan(since * 0.8)
})

test('tells of a delay of the event loop, until it has been read', async () => {
  const { read } = observed()
  const longestAfter = async (milliseconds: number) => {
    block(milliseconds)
    await turn()
    return sumOf(await read(), 'nodejs_eventloop_lag_max_seconds') ?? Number.NaN
  }
  let longest = 0
  // The timer that measures has to run before the delay too.
  while (longest < 0.1) longest = await longestAfter(200)
  expect(longest).toBeGreaterThan(0.15)
  while (longest > 0.1) longest = await longestAfter(15)
  expect(longest).toBeGreaterThanOrEqual(0)
})

test('counts every garbage collection, until it is ended', async () => {
  const [first, second] = [observed(), observed()]
  collectGarbage()
  collectGarbage()
  while ((await second.collections()) < 2) await turn()
  const before = await first.collections()
  expect(before).toBeGreaterThanOrEqual(2)
  first.end()
  const other = await second.collections()
  collectGarbage()
  while ((await second.collections()) === other) await turn()
  expect(await first.collections()).toBe(before)
})
