import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import { removeOldEvents } from '../../src/resources/events/store.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'
import { Random } from '../helpers/random.ts'

const api = useApi()
const clock = useClock(api)

const owner = { project_id: 'red', owner_id: 'node-1' }
const path = '/v2/allocations/changes?project_id=red&owner_id=node-1'
const read = async (query: string) => {
  const { allocations, cursor, more } = expectStatus(200, await api.get(`${path}&${query}`))
  return { allocations, cursor, more }
}
/** All that there is behind a cursor, page by page. */
async function follow(after: string, limit = 1000, query = '') {
  const seen: Allocation[] = []
  for (;;) {
    const { allocations, cursor, more } = await read(`after=${after}&limit=${limit}${query}`)
    seen.push(...allocations)
    after = cursor
    if (!more) return { seen, after }
  }
}
const act = async ({ id }: Pick<Allocation, 'id'>, verb: string, body: object = {}) => {
  const answer = await api.post(`/v2/allocations/${id}/${verb}`, body)
  return expectStatus(verb === 'restore' ? 201 : 200, answer) as Allocation
}

test('from the start, an owner is told all that it holds; then what changed, as it is now', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const [kept, lost, freed] = (await api.allocate(block, {
    ...owner,
    count: 3,
    lifetime_seconds: 60,
  })) as [Allocation, Allocation, Allocation]
  await api.release(await api.allocateOne(block, owner))
  const start = await read('')
  expect(start).toMatchObject({ allocations: [kept, lost, freed], more: false })
  expect(await read(`after=${start.cursor}`)).toEqual({ ...start, allocations: [] })

  await clock.advance(50)
  await act(kept, 'renew', { lifetime_seconds: 60 })
  const firm = await act(kept, 'confirm')
  await api.release(freed)
  await clock.advance(11)
  await clock.sweep()
  const restored = await act(lost, 'restore')
  const added = await api.allocateOne(block, owner)
  const show = async ({ id }: Allocation) => (await api.get(`/v2/allocations/${id}`)).body
  const changes = await read(`after=${start.cursor}`)
  // Each once, at the place of its last change; what ended shows its end.
  const expected = [firm, await show(freed), await show(lost), restored, added]
  expect(changes).toMatchObject({ allocations: expected, more: false })
  expect(changes.allocations.map(({ ended_at }) => ended_at === null)).toEqual([
    true,
    false,
    false,
    true,
    true,
  ])
  expect(await read(`after=${changes.cursor}`)).toEqual({ ...changes, allocations: [] })
  expect((await read('after=0')).allocations).toEqual([firm, restored, added])
})

test('is told of nothing that is not its own', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const { cursor } = await read('')
  const mine = await api.allocateOne(block, { ...owner, owner_type: 'node' })
  const router = await api.allocateOne(block, { ...owner, owner_type: 'router' })
  await api.allocateOne(block, { ...owner, project_id: 'blue' })
  await api.allocateOne(block, { ...owner, owner_id: 'node-2' })
  await api.patch(`/v2/blocks/${block.id}`, { name: 'changed' })
  for (const after of ['0', cursor]) {
    const { allocations } = await read(`after=${after}`)
    expect(allocations).toEqual([mine, router])
    const ofType = await read(`after=${after}&owner_type=node`)
    expect(ofType.allocations).toEqual([mine])
  }
})

test('reads page by page, and what changes meanwhile comes later', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const { cursor } = await read('')
  const held = await api.allocate(block, { ...owner, count: 7 })
  const first = await read('limit=3')
  expect(first).toMatchObject({ allocations: held.slice(0, 3), more: true })
  const ended = await api.release(held[4] as Allocation)
  const renamed = (await api.patch(`/v2/allocations/${held[0]?.id}`, { name: 'eth0' })).body
  const second = await read(`limit=3&after=${first.cursor}`)
  expect(second).toMatchObject({ allocations: [held[3], held[5], held[6]], more: false })
  const last = await read(`limit=3&after=${second.cursor}`)
  expect(last).toMatchObject({ allocations: [ended, renamed], more: false })

  // The same by events, from a cursor before all of it: each once, and as it is now.
  const { seen, after } = await follow(cursor, 2)
  const [, one, two, three, , five, six] = held
  expect(seen).toEqual([one, two, three, five, six, ended, renamed])
  expect(after).toBe(last.cursor)
})

test('one that changed often is told of once', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const { cursor } = await read('')
  const [a, b] = await api.allocate(block, { ...owner, count: 2, lifetime_seconds: 60 })
  let renewed: Allocation[] = []
  for (let n = 0; n < 10; n++) {
    renewed = [
      await act(a as Allocation, 'renew', { lifetime_seconds: 60 }),
      await act(b as Allocation, 'renew', { lifetime_seconds: 60 }),
    ]
  }
  const { allocations, more } = await read(`after=${cursor}&limit=2`)
  expect({ allocations, more }).toEqual({ allocations: renewed, more: false })
})

test('who comes back too late is told to start again', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const [one, , three] = await api.allocate(block, { ...owner, count: 3 })
  const { cursor } = await read('')
  const half = await read('limit=1')
  await api.release(three as Allocation)
  await api.db.query(sql`update events set at = at - interval '40 days'`)
  expect(await removeOldEvents(api.db, { days: 30, limit: 1000 })).toBeGreaterThan(4)
  for (const after of [cursor, half.cursor]) {
    expectProblem(await api.get(`${path}&after=${after}`), 'events_expired', { status: 410 })
  }
  const again = await read('')
  expect(again.allocations).toHaveLength(2)
  await api.release(one as Allocation)
  expect(await follow(again.cursor)).toMatchObject({ seen: [{ id: one?.id }] })
})

test.each([
  ['project_id', '/v2/allocations/changes?owner_id=x'],
  ['owner_id', '/v2/allocations/changes?project_id=x'],
  ['after', `${path}&after=x`],
  ['after', `${path}&after=1.2`],
  ['after', `${path}&after=-1`],
  ['limit', `${path}&limit=0`],
])('%s of %s is refused', async (field, url) => {
  expectProblem(await api.get(url), 'invalid_request', { status: 400, field })
})

test('nobody who follows misses a change, or goes back, while many change at once (I9)', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  let isOver = false
  const write = async (seed: number) => {
    const random = new Random(seed)
    const held: Allocation[] = []
    for (let n = 0; n < 15; n++) {
      const one = random.below(3) === 0 ? undefined : random.take(held)
      const choice = random.below(4)
      if (!one) held.push(await api.allocateOne(block, { ...owner, lifetime_seconds: 60 }))
      else if (choice === 0) await api.release(one)
      else if (choice === 1) await act(one, 'confirm')
      else held.push(await act(one, 'renew', { lifetime_seconds: 60 }))
    }
  }
  const watch = async (limit: number) => {
    const known = new Map<string, Allocation>()
    let after = '0'
    for (let isLast = false; ; isLast = isOver) {
      // The embedded database never leaves this process: the writers get no turn by themselves.
      await turn()
      const next = await follow(after, limit)
      after = next.after
      for (const one of next.seen) {
        expect(one.generation).toBeGreaterThanOrEqual(known.get(one.id)?.generation ?? 1)
        known.set(one.id, one)
      }
      if (isLast) return [...known.values()].filter(({ ended_at }) => ended_at === null)
    }
  }
  const watching = [watch(2), watch(1000)]
  await Promise.all(Array.from({ length: 5 }, (_, seed) => write(seed)))
  isOver = true
  const { seen } = await follow('0')
  expect(seen.length).toBeGreaterThan(10)
  for (const known of await Promise.all(watching)) {
    expect(known.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(seen)
  }
})
