import { describe, expect, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)

const restore = ({ id }: Pick<Allocation, 'id'>, body: object = {}) =>
  api.post(`/v2/allocations/${id}/restore`, body)
const show = async ({ id }: Allocation): Promise<Allocation> =>
  expectStatus(200, await api.get(`/v2/allocations/${id}`))
const eventsOf = async ({ id }: Allocation) => {
  const { events } = expectStatus(200, await api.get('/v2/events?limit=1000'))
  return events.filter(({ object_id }) => object_id === id).map(({ type }) => type.split('.')[1])
}

describe('restoring', () => {
  /** A block whose addresses wait for five minutes, and one allocation of it that ended. */
  async function endOne(wish: object = {}) {
    const policy = await api.createPolicy('wait', { quarantine_seconds: 300 })
    const block = await api.createBlock('10.0.0.0/24', { policy_id: policy.id })
    const settings = { owner_type: 'instance', owner_id: 'vm-1', name: 'eth0', tags: ['a'] }
    const ended = await api.release(await api.allocateOne(block, { ...settings, ...wish }))
    return { block, ended }
  }

  test('gives the very same address to the same owner, as a new allocation', async () => {
    const { block, ended } = await endOne()
    await clock.advance(299)
    const answer = await restore(ended)
    const restored = expectStatus(201, answer)
    expect(answer.headers.location).toBe(`/v2/allocations/${restored.id}`)
    expect(restored).toEqual({
      ...ended,
      id: expect.any(String),
      generation: 1,
      started_at: expect.any(String),
      ended_at: null,
      quarantined_until: null,
    })
    expect(restored.id).not.toBe(ended.id)
    expect(restored.started_at > String(ended.ended_at)).toBe(true)
    expect(await show(ended)).toEqual(ended)
    expect(await show(restored)).toEqual(restored)
    expect(await eventsOf(restored)).toEqual(['created'])
    expect(await api.utilisation(block)).toMatchObject({ allocated: '1', quarantined: '0' })
    await clock.advance(1e6)
    await clock.sweep()
    expect(await show(restored)).toEqual(restored)
  })

  test('gives a hold if there is a lifetime, and a delegated prefix as a whole', async () => {
    const { block, ended } = await endOne({ prefix_length: 28 })
    const restored = expectStatus(201, await restore(ended, { lifetime_seconds: 30 }))
    expect(restored.address).toBe(ended.address)
    const [start, end] = [restored.started_at, restored.expires_at].map(at => Date.parse(at ?? ''))
    expect(Number(end) - Number(start)).toBe(30_000)
    expect(await api.utilisation(block)).toMatchObject({ held: '16', quarantined: '0' })
  })

  test('is for a hold that lapsed, too, before and after a sweep has seen it', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const [one, other] = await api.allocate(block, { count: 2, lifetime_seconds: 10 })
    if (!one || !other) throw new Error('no holds')
    await clock.advance(15)
    const restored = expectStatus(201, await restore(one))
    await clock.sweep()
    const later = expectStatus(201, await restore(other))
    expect([restored.address, later.address]).toEqual([one.address, other.address])
    for (const hold of [one, other]) {
      expect(await eventsOf(hold)).toEqual(['created', 'expired'])
      expect(String((await show(hold)).ended_at) >= String(hold.expires_at)).toBe(true)
    }
    expect(await api.utilisation(block)).toMatchObject({ allocated: '2', quarantined: '0' })
  })

  test('is done once, by whoever comes first', async () => {
    const { ended } = await endOne()
    const answers = await Promise.all(Array.from({ length: 6 }, () => restore(ended)))
    const outcomes = answers.map(({ status, body }) => `${status} ${body.code ?? ''}`).toSorted()
    expect(outcomes).toEqual(['201 ', ...Array(5).fill('409 quarantine_over')])
  })

  test('can be done again and again, each time from the last allocation', async () => {
    let { ended } = await endOne()
    for (let round = 0; round < 5; round++) {
      const restored = expectStatus(201, await restore(ended))
      expectProblem(await restore(ended), 'quarantine_over')
      const next = await api.release(restored)
      expectProblem(await restore(ended), 'quarantine_over')
      ended = next
    }
  })

  test('is over when the quarantine is: by time, early, or where there was none', async () => {
    const { block, ended } = await endOne()
    await clock.advance(301)
    expectProblem(await restore(ended), 'quarantine_over', { status: 409 })
    await clock.sweep()
    expectProblem(await restore(ended), 'quarantine_over')

    const freed = await api.release(await api.allocateOne(block))
    expectStatus(204, await api.delete(`/v2/quarantine/${freed.id}`))
    expectProblem(await restore(freed), 'quarantine_over')

    const plain = await api.createBlock('10.0.1.0/24')
    expectProblem(await restore(await api.release(await api.allocateOne(plain))), 'quarantine_over')
  })

  test('is for what ended, and for what there was', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const hold = await api.allocateOne(block, { lifetime_seconds: 60 })
    expectProblem(await restore(hold), 'allocation_not_ended', { status: 409 })
    const ghost = await restore({ id: '01900000-0000-7000-8000-000000000000' })
    expectProblem(ghost, 'allocation_not_found', { status: 404 })
    const odd = await restore(hold, { lifetime_seconds: 0 })
    expectProblem(odd, 'invalid_request', { field: 'lifetime_seconds' })
    expect(await show(hold)).toEqual(hold)
  })

  test('goes by the quota (I7), and a refusal changes nothing', async () => {
    const { block, ended } = await endOne()
    await api.allocateOne(block)
    expectStatus(200, await api.put('/v2/quotas/red', { allocations: 1 }))
    expectProblem(await restore(ended), 'quota_exceeded', { status: 409 })
    expect(await api.utilisation(block)).toMatchObject({ allocated: '1', quarantined: '1' })
    expectStatus(200, await api.put('/v2/quotas/red', { allocations: 2 }))
    expectStatus(201, await restore(ended))
  })
})
