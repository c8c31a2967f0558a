import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type CoalescerObserver, type CoalescerOptions, coalesce } from './coalescer.ts'
import { IpamError } from './errors.ts'

/** What becomes of a request: an answer, a failure of the batch it is in, or silence. */
const fate = fc.constantFrom('answer', 'answer', 'answer', 'failure', 'silence')
const request = fc.record({
  lane: fc.constantFrom('a', 'b', 'c', 'd'),
  weight: fc.integer({ min: 1, max: 6 }),
  fate,
  /** How many turns of the event loop a batch that begins with it takes. */
  turns: fc.nat(3),
})
/** Requests that arrive in one turn of the event loop, and how many turns pass before the next. */
const wave = fc.record({ requests: fc.array(request, { maxLength: 8 }), pause: fc.nat(2) })

type Request = { id: number; lane: string; weight: number; fate: string; turns: number }
type Attempt = { ids: number[]; weight: number; end: 'answers' | 'failure' | 'silence' }

/** A database that keeps a record of its batches, and stops at one that it should not see. */
function recorder() {
  const attempts: Attempt[] = []
  const underWay = new Set<readonly Request[]>()
  const run = async (batch: readonly Request[]) => {
    const lanes = new Set(batch.map(({ lane }) => lane))
    const others = [...underWay].flat().filter(({ lane }) => lanes.has(lane))
    expect(others, 'two batches of one lane at a time').toEqual([])
    underWay.add(batch)
    for (let n = batch[0]?.turns ?? 0; n > 0; n -= 1) await turn()
    underWay.delete(batch)

    const fates = batch.map(one => one.fate)
    const end = fates.includes('silence')
      ? 'silence'
      : fates.includes('failure')
        ? 'failure'
        : 'answers'
    const weight = batch.reduce((sum, one) => sum + one.weight, 0)
    attempts.push({ ids: batch.map(({ id }) => id), weight, end })
    if (end === 'silence') throw new IpamError('database_unavailable')
    if (end === 'failure') throw new Error(`rolled back ${fates}`)
    return batch.map(({ id }) => `answer to ${id}`)
  }
  return { attempts, run, underWay }
}

const limits = { weigh: (one: Request) => one.weight, lane: (one: Request) => one.lane }

test('every request gets its own outcome, once, in the order of its lane', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(wave, { maxLength: 8 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 10 }),
      async (waves, lanes, batch_weight_max) => {
        const { attempts, run, underWay } = recorder()
        const widest = () => expect(underWay.size).toBeLessThanOrEqual(lanes)
        const options: CoalescerOptions<Request, string> = {
          ...limits,
          run: batch => Promise.all([run(batch), widest()]).then(([answers]) => answers),
          lanes,
          batch_weight_max,
          waiting_max: Number.POSITIVE_INFINITY,
        }
        const call = coalesce(options)
        const sent: Request[] = []
        const outcomes: Promise<string>[] = []
        for (const { requests, pause } of waves) {
          for (const one of requests) {
            sent.push({ ...one, id: sent.length })
            outcomes.push(call({ ...one, id: sent.length - 1 }))
            outcomes.at(-1)?.catch(() => undefined) // Looked at below, when all have arrived.
          }
          for (let n = 0; n < pause; n += 1) await turn()
        }
        const settled = await Promise.allSettled(outcomes)

        for (const { ids, weight } of attempts) {
          if (ids.length > 1) expect(weight).toBeLessThanOrEqual(batch_weight_max)
        }
        for (const { id, fate: own } of sent) {
          const its = attempts.filter(({ ids }) => ids.includes(id))
          const [first, again] = its
          const outcome = settled[id]
          if (first?.end === 'failure' && first.ids.length > 1) {
            expect(its).toHaveLength(2)
            expect(again?.ids, 'is run again by itself').toEqual([id])
          } else expect(its, 'is run once').toHaveLength(1)

          const last = its.at(-1)
          if (last?.end === 'answers') {
            expect(outcome).toEqual({ status: 'fulfilled', value: `answer to ${id}` })
          } else if (last?.end === 'silence') {
            expect(outcome).toMatchObject({ reason: { code: 'database_unavailable' } })
          } else {
            expect(own, 'fails only by its own fault').toBe('failure')
            expect(outcome).toMatchObject({ reason: new Error('rolled back failure') })
          }
        }
        for (const lane of ['a', 'b', 'c', 'd']) {
          const ofLane = sent.filter(one => one.lane === lane).map(({ id }) => id)
          const firstRuns = [...new Set(attempts.flatMap(({ ids }) => ids))]
          expect(firstRuns.filter(id => ofLane.includes(id))).toEqual(ofLane)
        }
      },
    ),
    { numRuns: 300 },
  ))

test('shares one batch among the calls of one turn, and the next among those that wait', async () => {
  const batches: number[][] = []
  const late: Promise<number>[] = []
  const call: (request: number) => Promise<number> = coalesce<number, number>({
    run: async batch => {
      batches.push([...batch])
      if (batches.length === 1) late.push(...[4, 5, 6].map(call))
      return batch
    },
    weigh: () => 1,
    lane: () => '',
    lanes: 1,
    batch_weight_max: 10,
    waiting_max: 10,
  })
  expect(await Promise.all([1, 2, 3].map(call))).toEqual([1, 2, 3])
  expect(await Promise.all(late)).toEqual([4, 5, 6])
  expect(batches).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ])
})

test('refuses what would wait behind too many, and only that', () =>
  fc.assert(
    fc.asyncProperty(fc.nat(20), fc.integer({ min: 1, max: 10 }), async (count, waiting_max) => {
      const { run } = recorder()
      const call = coalesce({ ...limits, run, lanes: 2, batch_weight_max: 3, waiting_max })
      const send = async () => {
        const one = { lane: 'a', weight: 1, fate: 'answer', turns: 1 }
        const calls = Array.from({ length: count }, (_, id) => call({ ...one, id }))
        return (await Promise.allSettled(calls)).map(outcome =>
          outcome.status === 'fulfilled' ? 'answered' : outcome.reason.code,
        )
      }
      const expected = Array.from({ length: count }, (_, index) =>
        index < waiting_max ? 'answered' : 'overloaded',
      )
      expect(await send()).toEqual(expected)
      expect(await send(), 'nobody waits any more').toEqual(expected)
    }),
  ))

test('an observer is told of every batch, of every refusal, and of how many wait', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(request, { maxLength: 20 }),
      fc.integer({ min: 1, max: 10 }),
      async (requests, waiting_max) => {
        const { attempts, run } = recorder()
        const batches: number[] = []
        let refused = 0
        let countWaiting = () => Number.NaN
        const observer: CoalescerObserver = {
          watchWaiting: count => {
            countWaiting = count
          },
          onBatch: size => batches.push(size),
          onRefused: () => {
            refused++
          },
        }
        const some = { ...limits, run, lanes: 1, batch_weight_max: 8, waiting_max, observer }
        const call = coalesce(some)
        const outcomes = requests.map((one, id) => call({ ...one, id }))
        const accepted = Math.min(requests.length, waiting_max)
        expect([countWaiting(), refused]).toEqual([accepted, requests.length - accepted])
        await Promise.allSettled(outcomes)
        expect(countWaiting()).toBe(0)
        // A batch that failed is run again one by one, which makes no more batches of it.
        const ids = attempts.map(attempt => attempt.ids)
        const first = ids.filter((own, at) => !ids.slice(0, at).flat().includes(Number(own[0])))
        expect(batches).toEqual(first.map(({ length }) => length))
      },
    ),
  ))
