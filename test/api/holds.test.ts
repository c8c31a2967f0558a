import { describe, expect, test } from 'vitest'
import { reclaimDue } from '../../src/resources/allocations/hold-store.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import { startSweeper } from '../../src/resources/allocations/sweeper.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)

const nobody = '01900000-0000-7000-8000-000000000000'
const post = (allocation: Pick<Allocation, 'id'>, verb: string, body: object = {}) =>
  api.post(`/v2/allocations/${allocation.id}/${verb}`, body)
const renew = async (hold: Allocation, lifetime_seconds = 60) =>
  expectStatus(200, await post(hold, 'renew', { lifetime_seconds }))
const confirm = async (hold: Allocation) => expectStatus(200, await post(hold, 'confirm'))
const show = async ({ id }: Allocation): Promise<Allocation> =>
  expectStatus(200, await api.get(`/v2/allocations/${id}`))
const eventsOf = async ({ id }: Allocation) => {
  const { events } = expectStatus(200, await api.get('/v2/events?limit=1000'))
  return events.filter(({ object_id }) => object_id === id).map(({ type }) => type.split('.')[1])
}
/** How long after its last change a hold expires, in seconds. */
const secondsBetween = (from: string, to: string | null) =>
  Math.round((Date.parse(to ?? '') - Date.parse(from)) / 1000)

async function holdOne(lifetime_seconds = 60) {
  const block = await api.createBlock('10.0.0.0/29')
  const hold = await api.allocateOne(block, { lifetime_seconds, owner_id: 'vm-1' })
  return { block, hold }
}

describe('a hold', () => {
  test('is an allocation that expires, and is counted apart', async () => {
    const { block, hold } = await holdOne(90)
    expect(secondsBetween(hold.started_at, hold.expires_at)).toBe(90)
    expect(await show(hold)).toEqual(hold)
    const firm = await api.allocateOne(block)
    const prefix = await api.allocateOne(block, { prefix_length: 31, lifetime_seconds: 5 })
    expect(await api.utilisation(block)).toMatchObject({ held: '3', allocated: '1', free: '2' })
    const listed = async (state: string) =>
      (await api.get(`/v2/allocations?state=${state}`)).body.allocations
    expect(await listed('held')).toEqual([hold, prefix])
    expect(await listed('current')).toEqual([hold, firm, prefix])
    expect(await listed('ended')).toEqual([])
  })

  test('is renewed for so long from now on, again and again', async () => {
    const { block, hold } = await holdOne()
    for (let generation = 2; generation < 6; generation++) {
      const now = await clock.advance(50)
      const renewed = await renew(hold, 60)
      expect(renewed).toEqual({ ...hold, generation, expires_at: expect.any(String) })
      expect(secondsBetween(now, renewed.expires_at)).toBe(60)
      await clock.sweep()
      expect(await show(hold)).toEqual(renewed)
    }
    expect(await eventsOf(hold)).toEqual(['created', ...Array(4).fill('renewed')])
    expect(await api.utilisation(block)).toMatchObject({ held: '1', quarantined: '0' })
  })

  test('is renewed for less time, too: the last word counts', async () => {
    const { hold } = await holdOne(3600)
    const now = await clock.advance(1)
    expect(secondsBetween(now, (await renew(hold, 10)).expires_at)).toBe(10)
  })

  test('is confirmed once, and then is there for good', async () => {
    const { block, hold } = await holdOne()
    const firm = await confirm(hold)
    expect(firm).toEqual({ ...hold, generation: 2, expires_at: null })
    // Again, also by one who missed the answer and still knows the generation before.
    for (const body of [{}, { generation: 2 }, { generation: 1 }]) {
      expect(await post(hold, 'confirm', body)).toMatchObject({ status: 200, body: firm })
    }
    expectProblem(await post(hold, 'confirm', { generation: 3 }), 'generation_mismatch')
    expect(await eventsOf(hold)).toEqual(['created', 'confirmed'])
    expect(await api.utilisation(block)).toMatchObject({ held: '0', allocated: '1' })
    await clock.advance(1e6)
    await clock.sweep()
    expect(await show(hold)).toEqual(firm)
    expectProblem(await post(hold, 'renew', { lifetime_seconds: 9 }), 'allocation_not_held', {
      status: 409,
    })
  })

  test('is confirmed without a body', async () => {
    const { hold } = await holdOne()
    const url = `/v2/allocations/${hold.id}/confirm`
    expect((await api.request('POST', url)).body).toMatchObject({ expires_at: null })
  })

  test('lapses at its end, whether or not it has been swept', async () => {
    const { hold } = await holdOne(60)
    await clock.advance(60)
    const refuse = async () => {
      const renewal = await post(hold, 'renew', { lifetime_seconds: 60 })
      expectProblem(renewal, 'hold_expired', { status: 409 })
      expectProblem(await post(hold, 'confirm'), 'hold_expired')
    }
    await refuse()
    expect(await eventsOf(hold)).toEqual(['created'])
    await clock.sweep()
    await refuse()
    const ended = await show(hold)
    expect(ended).toMatchObject({ generation: 2, expires_at: hold.expires_at })
    expect(String(ended.ended_at) >= String(hold.expires_at)).toBe(true)
    expect(await eventsOf(hold)).toEqual(['created', 'expired'])
  })

  test('that lapsed never goes straight to free: it waits, a minute at least (I6)', async () => {
    const { block, hold } = await holdOne(10)
    await clock.advance(10)
    await clock.sweep()
    const { ended_at, quarantined_until } = await show(hold)
    expect(secondsBetween(String(ended_at), quarantined_until)).toBe(60)
    const counts = { held: '0', quarantined: '1', free: '5' }
    expect(await api.utilisation(block)).toMatchObject(counts)
    await clock.advance(59)
    await clock.sweep()
    expect(await api.utilisation(block)).toMatchObject(counts)
    const wish = { address: hold.address, owner_id: 'vm-2' }
    expectProblem(await api.ask(block, wish), 'address_quarantined', { status: 409 })
    await clock.advance(2)
    await clock.sweep()
    expect(await api.utilisation(block)).toMatchObject({ held: '0', quarantined: '0', free: '6' })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.6'])
    expect(await api.allocateOne(block, wish)).toMatchObject(wish)
  })

  test('that lapsed is cleaned up by whoever allocates there, without any sweep', async () => {
    const block = await api.createBlock('10.0.0.0/30')
    const holds = await api.allocate(block, { count: 2, lifetime_seconds: 5 })
    expectProblem(await api.ask(block), 'block_full')
    await clock.advance(5)
    expectProblem(await api.ask(block), 'block_full')
    expect(await api.utilisation(block)).toMatchObject({ held: '0', quarantined: '2' })
    expect(await eventsOf(holds[0] as Allocation)).toEqual(['created', 'expired'])
    await clock.advance(61)
    expect(await api.allocate(block, { count: 2 })).toHaveLength(2)
  })

  test('is released before its end like any allocation', async () => {
    const { block, hold } = await holdOne()
    const ended = await api.release(hold)
    expect(ended).toEqual({ ...hold, generation: 2, ended_at: expect.any(String) })
    expect(await eventsOf(hold)).toEqual(['created', 'released'])
    expect(await api.utilisation(block)).toMatchObject({ held: '0', quarantined: '0', free: '6' })
    for (const [verb, body] of [
      ['renew', { lifetime_seconds: 1 }],
      ['confirm', {}],
    ] as const) {
      expectProblem(await post(hold, verb, body), 'allocation_ended', { status: 409 })
    }
    await clock.advance(1000)
    await clock.sweep()
    expect(await show(hold)).toEqual(ended)
  })

  test('that lapsed and then is released, expired', async () => {
    const { block, hold } = await holdOne(5)
    await clock.advance(6)
    const ended = await api.release(hold)
    expect(secondsBetween(String(ended.ended_at), ended.quarantined_until)).toBe(60)
    expect(await eventsOf(hold)).toEqual(['created', 'expired'])
    expect(await api.utilisation(block)).toMatchObject({ held: '0', quarantined: '1' })
  })

  test('of a certain generation is changed only if it has it', async () => {
    const { hold } = await holdOne()
    const stale = { lifetime_seconds: 60, generation: 2 }
    expectProblem(await post(hold, 'renew', stale), 'generation_mismatch', {
      status: 409,
      field: 'generation',
    })
    expectProblem(await post(hold, 'confirm', { generation: 7 }), 'generation_mismatch')
    const right = { ...stale, generation: 1 }
    expect((await post(hold, 'renew', right)).body).toMatchObject({ generation: 2 })
    // The answer is lost, and the request comes again: it is told that it was heard.
    expectProblem(await post(hold, 'renew', right), 'generation_mismatch')
    expect(await eventsOf(hold)).toEqual(['created', 'renewed'])
  })

  test('is refused what makes no sense', async () => {
    const { block, hold } = await holdOne()
    for (const lifetime_seconds of [0, -1, 1.5, 31_536_001, '60', null]) {
      const field = { status: 400, field: 'lifetime_seconds' }
      expectProblem(await post(hold, 'renew', { lifetime_seconds }), 'invalid_request', field)
      const wish = { block_id: block.id, project_id: 'red', lifetime_seconds }
      expectProblem(await api.post('/v2/allocations', wish), 'invalid_request', field)
    }
    expectProblem(await post(hold, 'renew'), 'invalid_request', { field: 'lifetime_seconds' })
    expectProblem(await post(hold, 'confirm', { lifetime_seconds: 5 }), 'invalid_request')
    for (const [verb, body] of [
      ['renew', { lifetime_seconds: 1 }],
      ['confirm', {}],
    ] as const) {
      expectProblem(await post({ id: nobody }, verb, body), 'allocation_not_found', { status: 404 })
    }
    expect(await show(hold)).toEqual(hold)
  })

  test('that many change at once changes one after the other, and no change is lost', async () => {
    const { hold } = await holdOne()
    const answers = await Promise.all([
      ...Array.from({ length: 12 }, (_, n) => post(hold, 'renew', { lifetime_seconds: 100 + n })),
      post(hold, 'confirm'),
      post(hold, 'confirm'),
    ])
    const renewals = answers.slice(0, 12)
    const renewed = renewals.filter(({ status }) => status === 200)
    expect(new Set(renewed.map(({ body }) => body.generation)).size).toBe(renewed.length)
    for (const { status, body } of renewals) {
      if (status !== 200) expect(body.code).toBe('allocation_not_held')
    }
    const [one, other] = answers.slice(12)
    expect(one?.body).toEqual(other?.body)
    expect(await show(hold)).toEqual(one?.body)
    const changes = await eventsOf(hold)
    expect(changes).toEqual(['created', ...Array(renewed.length).fill('renewed'), 'confirmed'])
  })

  test('counts against no other project, and its history is like any', async () => {
    const { block, hold } = await holdOne(10)
    await clock.advance(11)
    await clock.sweep()
    await clock.advance(61)
    const next = await api.allocateOne(block, { address: hold.address, project_id: 'blue' })
    const at = async (time: string) => {
      const query = `scope_id=public&address=${hold.address}&at=${encodeURIComponent(time)}`
      const { allocations } = expectStatus(200, await api.get(`/v2/allocations?${query}`))
      return allocations.map(({ id }) => id)
    }
    expect(await at(hold.started_at)).toEqual([hold.id])
    expect(await at(next.started_at)).toEqual([next.id])
  })
})

describe('the holds of an owner', () => {
  const renewAll = async (body: object) =>
    expectStatus(200, await api.post('/v2/allocations/renew', { lifetime_seconds: 60, ...body }))
  const idsOf = (allocations: readonly { id: string }[]) => allocations.map(({ id }) => id)
  const owner = { project_id: 'red', owner_id: 'node-1' }

  test('are renewed in one call: what is confirmed, or another owner has, is left alone', async () => {
    const [a, b] = [await api.createBlock('10.0.0.0/24'), await api.createBlock('2001:db8::/64')]
    const mine = { ...owner, owner_type: 'node', lifetime_seconds: 30 }
    const holds = [
      ...(await api.allocate(a, { ...mine, count: 2 })),
      await api.allocateOne(b, { ...mine, prefix_length: 80 }),
    ]
    const untouched = [
      await api.allocateOne(a, { ...mine, owner_type: 'router' }),
      await api.allocateOne(a, { ...mine, project_id: 'blue' }),
      await api.allocateOne(a, { ...mine, owner_id: 'node-2' }),
      await confirm(await api.allocateOne(a, mine)),
    ]
    const now = await clock.advance(20)
    const { allocations, lapsed } = await renewAll({ ...owner, owner_type: 'node' })
    expect(allocations.map(({ id, generation }) => [id, generation])).toEqual(
      holds.map(({ id }) => [id, 2]),
    )
    expect(new Set(allocations.map(one => secondsBetween(now, one.expires_at)))).toEqual(
      new Set([60]),
    )
    expect(lapsed).toEqual([])
    expect(await Promise.all(untouched.map(show))).toEqual(untouched)
    for (const one of allocations) expect(await show(one)).toEqual(one)

    const ofBlock = await renewAll({ ...owner, block_id: b.id })
    expect(idsOf(ofBlock.allocations)).toEqual([holds[2]?.id])
    const anyType = await renewAll(owner)
    expect(anyType.allocations).toHaveLength(4)
  })

  test('that lapsed are named, as long as they can be restored', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const short = await api.allocate(block, { ...owner, lifetime_seconds: 10, count: 2 })
    const long = await api.allocateOne(block, { ...owner, lifetime_seconds: 1000 })
    const released = await api.allocateOne(block, { ...owner, lifetime_seconds: 10 })
    await api.release(released)
    await clock.advance(11)
    const before = await renewAll(owner)
    expect(idsOf(before.allocations)).toEqual([long.id])
    expect(before.lapsed).toEqual(short)
    await clock.sweep()
    const swept = await renewAll(owner)
    expect(idsOf(swept.allocations)).toEqual([long.id])
    expect(swept.lapsed).toEqual(await Promise.all(short.map(show)))
    const [first, second] = swept.lapsed
    const restored = expectStatus(
      201,
      await post(first as Allocation, 'restore', { lifetime_seconds: 60 }),
    )
    const after = await renewAll(owner)
    expect(idsOf(after.allocations)).toEqual([long.id, restored.id])
    expect(idsOf(after.lapsed)).toEqual([second?.id])
    await clock.advance(61)
    await clock.sweep()
    expect(idsOf((await renewAll(owner)).lapsed)).toEqual([long.id, restored.id])
  })

  test('may be none', async () => {
    expect(await renewAll(owner)).toEqual({ allocations: [], lapsed: [] })
  })

  test('are at most 4096 in one call', async () => {
    const block = await api.createBlock('10.0.0.0/18')
    const mine = { ...owner, lifetime_seconds: 60 }
    await api.allocate(block, { ...mine, count: 4096 })
    expect((await renewAll(owner)).allocations).toHaveLength(4096)
    await api.allocateOne(block, mine)
    const answer = await api.post('/v2/allocations/renew', mine)
    expectProblem(answer, 'too_many_allocations', { status: 409 })
  })

  test.each([
    ['project_id', { owner_id: 'node-1' }],
    ['owner_id', { project_id: 'red' }],
  ])('need a %s', async (field, body) => {
    const wish = { ...body, lifetime_seconds: 5 }
    const answer = await api.post('/v2/allocations/renew', wish)
    expectProblem(answer, 'invalid_request', { status: 400, field })
  })
})

describe('the sweeper', () => {
  /** Holds in several blocks, all of which have lapsed. */
  async function lapseMany() {
    const blocks = await Promise.all(
      ['10.0.0.0/24', '10.0.1.0/24', '2001:db8::/64'].map(cidr => api.createBlock(cidr)),
    )
    for (const block of blocks) await api.allocate(block, { count: 10, lifetime_seconds: 5 })
    await clock.advance(5)
    return blocks
  }
  const held = async () => (await api.get('/v2/allocations?state=held')).body.allocations.length
  const waiting = async () => (await api.get('/v2/quarantine?limit=1000')).body.quarantine.length

  test('ends what is due in bounded steps', async () => {
    await lapseMany()
    const left: number[] = []
    while ((await reclaimDue(api.db, { blocks_max: 1, at_most: 4 })) > 0) left.push(await held())
    // Which block comes first is a matter of ids; that a step is small, and the last one, is not.
    const steps = left.map((now, n) => (left[n - 1] ?? 30) - now)
    expect(steps.every(step => step > 0 && step <= 4)).toBe(true)
    expect(left.at(-1)).toBe(0)
    expect(await waiting()).toBe(30)
    await clock.advance(61)
    while ((await reclaimDue(api.db, { blocks_max: 2, at_most: 7 })) > 0);
    expect(await waiting()).toBe(0)
  })

  test('leaves what is not due, and what is confirmed', async () => {
    const { block, hold } = await holdOne(100)
    const firm = await confirm(await api.allocateOne(block, { lifetime_seconds: 5 }))
    await clock.advance(99)
    expect(await reclaimDue(api.db, { blocks_max: 10, at_most: 10 })).toBe(0)
    expect([await show(hold), await show(firm)]).toEqual([hold, firm])
  })

  test('works by itself, tells of errors, goes on after them, and stops', async () => {
    await lapseMany()
    const errors: unknown[] = []
    const rename = (from: string, to: string) =>
      api.db.execute(`alter function ${from}(int, int) rename to ${to}`)
    await rename('reclaim', 'reclaim_away')
    const stop = startSweeper(api.db, { seconds: 0.01, onError: error => errors.push(error) })
    await expect.poll(() => errors.length, { timeout: 20_000 }).toBeGreaterThan(1)
    expect(await held()).toBe(30)
    await rename('reclaim_away', 'reclaim')
    await expect.poll(held, { timeout: 20_000 }).toBe(0)
    await stop()
    const failed = errors.length
    await clock.advance(61)
    await rename('reclaim', 'reclaim_away')
    // If it went on, it would fail by now: the requests below take longer than its rest.
    for (let n = 0; n < 20; n++) expect(await waiting()).toBe(30)
    await rename('reclaim_away', 'reclaim')
    expect(errors).toHaveLength(failed)
  })
})
