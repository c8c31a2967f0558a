import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { forecastFull, type UseSince, windowDays } from './forecast.ts'

const day = 86_400_000
const start = Date.parse('2030-01-01T00:00:00Z')

/** Samples of a block of 1000 usable addresses, at so many days from the start. */
const series = (...steps: readonly (readonly [days: number, used: number])[]): UseSince[] =>
  steps.map(([days, used]) => ({ at: start + days * day, used: BigInt(used), usable: 1000n }))
const forecast = (samples: readonly UseSince[], days: number) =>
  forecastFull(samples, start + days * day)

describe('a known series', () => {
  test('of ten addresses an hour is full after what is free, by that slope', () => {
    const hourly = Array.from({ length: 73 }, (_, hour) => [hour / 24, hour * 10] as const)
    const { days_to_full, growth_per_day, ...rest } = forecast(series(...hourly), 3 + 1 / 24)
    expect(growth_per_day).toBeCloseTo(240, 0)
    expect(days_to_full).toBeCloseTo(280 / 240, 2)
    expect(rest).toEqual({ reason: null, samples: 73, since: start })
  })

  test('of one step in the middle has the slope of the line through it', () => {
    // ∫ (t − 1) v dt = 1/2 · v over two days, so the slope is 12/8 · v/2 = 3/4 · v.
    expect(forecast(series([0, 0], [1, 400]), 2)).toEqual({
      days_to_full: 2,
      reason: null,
      growth_per_day: 300,
      samples: 2,
      since: start,
    })
  })

  test('counts only the last 30 days, from what was true at their beginning', () => {
    const early = series([0, 900], [10, 0], [20, 100])
    const late = series([20, 100], [35, 400])
    const both = forecast([...early, ...late.slice(1)], 55)
    expect(both).toEqual({ ...forecast(late, 55), since: start + (55 - windowDays) * day })
    expect(both).toMatchObject({ samples: 2, reason: null })
  })

  test('may have grown in the meantime: what is free now is what counts', () => {
    const grown = series([0, 0], [1, 400]).map((one, index) => ({
      ...one,
      usable: index === 0 ? 500n : 3400n,
    }))
    expect(forecast(grown, 2)).toMatchObject({ days_to_full: 10, growth_per_day: 300 })
  })

  test('of IPv6 is forecast although its counts pass 2^53', () => {
    const usable = 1n << 64n
    const samples = [0n, usable / 4n].map((used, index) => ({
      at: start + index * day,
      used,
      usable,
    }))
    const { days_to_full, growth_per_day } = forecast(samples, 2)
    expect(growth_per_day).toBe((Number(usable) * 3) / 16)
    expect(days_to_full).toBeCloseTo(4, 9)
  })
})

describe('there is no forecast', () => {
  const none = { days_to_full: null, growth_per_day: null }

  test('without two samples', () => {
    expect(forecast([], 9)).toEqual({
      ...none,
      reason: 'too_few_samples',
      samples: 0,
      since: null,
    })
    expect(forecast(series([0, 5]), 9)).toMatchObject({ ...none, reason: 'too_few_samples' })
    // The older one ended before the 30 days began.
    expect(forecast(series([0, 5], [3, 6]), 33)).toMatchObject({ reason: 'too_few_samples' })
  })

  test('if they span less than a day', () => {
    const samples = series([0, 5], [0.999, 6])
    expect(forecast(samples, 9)).toMatchObject({ ...none, reason: 'too_short', samples: 2 })
    expect(forecast(series([0, 5], [1, 6]), 9)).toMatchObject({ reason: null })
  })

  test('if use stays, falls, or comes back to where it was', () => {
    for (const samples of [
      series([0, 100], [2, 100]),
      series([0, 100], [2, 50]),
      series([0, 100], [2, 170], [4, 100]),
    ]) {
      const { growth_per_day, ...rest } = forecast(samples, 6)
      expect(rest).toMatchObject({ days_to_full: null, reason: 'not_growing' })
      expect(growth_per_day).toBeLessThanOrEqual(0)
    }
  })

  test('if nothing can be given out', () => {
    const samples = series([0, 0], [2, 0]).map(one => ({ ...one, usable: 0n }))
    expect(forecast(samples, 3)).toMatchObject({ ...none, reason: 'nothing_usable' })
  })
})

test('what is full has no days left, whatever it did before', () => {
  const full = { days_to_full: 0, reason: null }
  expect(forecast(series([0, 1000]), 3)).toMatchObject({ ...full, growth_per_day: null })
  expect(forecast(series([0, 1000], [2, 1000]), 3)).toMatchObject({ ...full, growth_per_day: 0 })
  expect(forecast(series([0, 10], [2, 1000]), 3)).toMatchObject(full)
})

const steps = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 48 }), fc.integer({ min: 0, max: 999 })), {
    minLength: 2,
    maxLength: 12,
  })
  .map(hours => {
    let hour = 0
    return hours.map(([later, used]) => {
      hour += later
      return [hour / 24, used] as const
    })
  })

test('the slope is the one that ordinary least squares find on a fine grid', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 48 }), (wanted, later) => {
      const samples = series(...wanted)
      const [first = 0, last = 0] = [samples[0]?.at, samples.at(-1)?.at]
      fc.pre(last - first >= day)
      const end = last + (later / 24) * day
      // Points in the middle of each minute, so that none lies on a step.
      const points: [number, number][] = []
      for (let at = first + 30_000; at < end; at += 60_000) {
        const used = samples.findLast(sample => sample.at <= at)?.used ?? 0n
        points.push([(at - first) / day, Number(used)])
      }
      const mean = (pick: (point: [number, number]) => number) =>
        points.reduce((sum, point) => sum + pick(point), 0) / points.length
      const [x, y] = [mean(([time]) => time), mean(([, used]) => used)]
      const slope =
        mean(([time, used]) => (time - x) * (used - y)) / mean(([time]) => (time - x) ** 2)
      expect(forecastFull(samples, end).growth_per_day).toBeCloseTo(slope, 3)
    }),
    { numRuns: 30 },
  )
})

test('a sample that only says what was known changes nothing but their number', () => {
  fc.assert(
    fc.property(steps, fc.nat(), (wanted, pick) => {
      const at = pick % wanted.length
      const [time = 0, used = 0] = wanted[at] ?? []
      const next = wanted[at + 1]?.[0] ?? time + 1
      const more = series(...wanted).toSpliced(at + 1, 0, ...series([(time + next) / 2, used]))
      const end = (wanted.at(-1)?.[0] ?? 0) + 1
      const [before, after] = [forecast(series(...wanted), end), forecast(more, end)]
      fc.pre(before.reason !== 'too_short')
      expect(after.samples).toBe(before.samples + 1)
      expect(after.growth_per_day).toBeCloseTo(before.growth_per_day ?? Number.NaN, 6)
    }),
  )
})

test('use that never falls, and grew within the time, is going to be full some day', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 48 }), (wanted, later) => {
      const used = wanted.map(([, one]) => one).toSorted((a, b) => a - b)
      const rising = series(...wanted.map(([time], index) => [time, used[index] ?? 0] as const))
      const [first, last] = [rising[0], rising.at(-1)]
      fc.pre(first !== undefined && last !== undefined && last.at - first.at >= day)
      const found = forecastFull(rising, (last?.at ?? 0) + (later / 24) * day)
      if (first?.used === last?.used) expect(found.reason).toBe('not_growing')
      else expect(found.days_to_full).toBeGreaterThan(0)
    }),
  )
})
