import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createBuckets } from './buckets.ts'

function make(rate: { per_second: number; burst: number }, remembered_max = 100) {
  let time = 5000
  const buckets = createBuckets({ ...rate, remembered_max, now: () => time })
  if (!buckets) throw new Error('there is a limit')
  return { ...buckets, pass: (milliseconds: number) => (time += milliseconds) }
}

test('a burst is let through, then as many as come back', () => {
  const { take, pass, secondsFor } = make({ per_second: 2, burst: 3 })
  expect([take('a'), take('a'), take('a')]).toEqual([2, 1, 0])
  expect(take('a')).toBe(-1)
  expect(take('b')).toBe(2)
  pass(499)
  expect(take('a')).toBeCloseTo(-0.002)
  pass(1)
  expect([take('a'), take('a')]).toEqual([0, -1])
  expect([secondsFor(1), secondsFor(3), secondsFor(0.002)]).toEqual([1, 2, 1])
  pass(60_000)
  expect(take('a')).toBe(2)
})

test('in no time more is taken than the burst and what came back', () =>
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.nat(300), { maxLength: 300 }),
      (per_second, burst, waits) => {
        const { take, pass, secondsFor } = make({ per_second, burst })
        let taken = 0
        let passed = 0
        for (const wait of waits) {
          pass(wait)
          passed += wait
          const left = take('a')
          if (left >= 0) taken += 1
          else {
            pass(secondsFor(-left) * 1000)
            passed += secondsFor(-left) * 1000
            expect(take('a')).toBeGreaterThan(-1e-6)
            taken += 1
          }
          expect(taken).toBeLessThanOrEqual(burst + (passed / 1000) * per_second + 1e-6)
        }
      },
    ),
  ))

test('to look takes nothing, to charge takes always, and what is owed has an end', () => {
  const { take, look, charge, pass } = make({ per_second: 1, burst: 2 })
  expect([look('a'), look('a')]).toEqual([2, 2])
  for (let n = 0; n < 10; n++) charge('a')
  expect(look('a')).toBe(-3)
  pass(2000)
  expect(look('a')).toBe(-1)
  pass(1000)
  expect([look('a'), take('a')]).toEqual([1, 0])
})

test('of so many keys only: who was away for longest is forgotten', () => {
  const { take, size } = make({ per_second: 1, burst: 1 }, 2)
  expect([take('a'), take('b'), take('a')]).toEqual([0, 0, -1])
  expect(take('c')).toBe(0)
  expect(size()).toBe(2)
  expect([take('a'), take('b')]).toEqual([-1, 0])
})

test('null is no limit', () => {
  const rest = { burst: 1, remembered_max: 1, now: () => 0 }
  expect(createBuckets({ per_second: null, ...rest })).toBeNull()
})
