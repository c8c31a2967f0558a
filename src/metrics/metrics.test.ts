import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { readSamples, sumOf } from '../../test/helpers/prometheus.ts'
import { createMetrics, type Metrics } from './metrics.ts'

const connectionUse = () => ({ idle: 1, busy: 0, waiting: 0 })
let metrics: Metrics | undefined
const make = (newestEvent: () => Promise<number>) => {
  metrics = createMetrics({ connectionUse, newestEvent, countWithheld: async () => 0 })
  return metrics
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  metrics?.close()
  vi.useRealTimers()
})

test('a database that hangs is asked once, and costs each reader a second and one number', async () => {
  const answers: ((newest: number) => void)[] = []
  const { render } = make(() => new Promise(resolve => answers.push(resolve)))
  const texts = Promise.all([render(), render()])
  await vi.advanceTimersByTimeAsync(1000)
  for (const text of await texts) {
    expect(sumOf(readSamples(text), 'melange_events_newest')).toBeUndefined()
    expect(sumOf(readSamples(text), 'melange_database_waiting')).toBe(0)
  }
  const third = render()
  expect(answers).toHaveLength(1)
  answers[0]?.(7)
  expect(sumOf(readSamples(await third), 'melange_events_newest')).toBe(7)
  const fourth = render()
  expect(answers).toHaveLength(2)
  answers[1]?.(8)
  expect(sumOf(readSamples(await fourth), 'melange_events_newest')).toBe(8)
  expect(vi.getTimerCount()).toBe(0)
})

test('the newest event is left out while the database fails, not told as it was', async () => {
  const answers = [Promise.resolve(5), Promise.reject(new Error('away')), Promise.resolve(6)]
  const { render } = make(() => answers.shift() ?? Promise.reject())
  const told = async () => sumOf(readSamples(await render()), 'melange_events_newest')
  expect([await told(), await told(), await told()]).toEqual([5, undefined, 6])
})

test('requests are counted by method, route and status, a time at a bound below it', async () => {
  const { observeRequest, render } = make(async () => 0)
  const route = '/v2/blocks/:block_id/children/:child_id'
  const times = [0.2, 1, 1.1, 250, 60_000, 90_000]
  for (const milliseconds of times) {
    observeRequest({ method: 'GET', route, status: 200, milliseconds })
  }
  observeRequest({ method: 'GET', route, status: 404, milliseconds: 1 })
  observeRequest({ method: 'HEAD', route: undefined, status: 404, milliseconds: 1 })
  const samples = readSamples(await render())
  const count = (labels: object, of = 'count') =>
    sumOf(samples, `melange_http_request_duration_seconds_${of}`, { ...labels })
  const known = { method: 'GET', route: '/v2/blocks/{block_id}/children/{child_id}' }
  expect(count({ ...known, status: '200' })).toBe(times.length)
  expect(count({ ...known, status: '404' })).toBe(1)
  expect(count({ method: 'HEAD', route: 'unknown', status: '404' })).toBe(1)
  expect(count({ status: '200' }, 'sum')).toBeCloseTo(150.2523, 9)
  const upTo = (le: string) => count({ status: '200', le }, 'bucket')
  expect(['0.001', '0.0025', '0.1', '0.25', '30', '60', '+Inf'].map(upTo)).toEqual([
    2, 3, 3, 4, 4, 5, 6,
  ])
})
