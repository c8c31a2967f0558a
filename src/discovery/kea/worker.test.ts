import { expect, test } from 'vitest'
import { createWorker } from './worker.ts'

test('work is done again until it is done, and once for all who asked before it began', async () => {
  let runs = 0
  let failures = 2
  const told: unknown[] = []
  const worker = createWorker(
    async () => {
      runs += 1
      await Promise.resolve()
      if (failures-- > 0) throw new Error(`not yet ${failures}`)
    },
    error => told.push(error),
  )
  const first = worker.request()
  await Promise.all([first, worker.request(), worker.request()])
  expect(worker.fault()).toBeNull()
  expect(told).toHaveLength(2)
  // The first found two more in its way, which it may have missed.
  expect(runs).toBeLessThanOrEqual(4)
  const before = runs
  await worker.request()
  expect(runs).toBe(before + 1)
})

test('who waits when it stops waits no longer', async () => {
  const worker = createWorker(
    () => Promise.reject(new Error('never')),
    () => {},
  )
  const waiting = worker.request()
  await worker.stop()
  await waiting
  await worker.request()
  expect(worker.fault()).toBe('never')
})
