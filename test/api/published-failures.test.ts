import { describe, expect, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

/** Failures of other address services, as they were published: step by step, on Melange. */

const api = useApi()
const clock = useClock(api)

type Wish = Parameters<typeof api.ask>[1]
const post = ({ id }: Pick<Allocation, 'id'>, verb: string, body: object = {}) =>
  api.post(`/v2/allocations/${id}/${verb}`, body)
const renew = async (hold: Allocation, lifetime_seconds = 60): Promise<Allocation> =>
  expectStatus(200, await post(hold, 'renew', { lifetime_seconds }))
const confirm = async (hold: Allocation): Promise<Allocation> =>
  expectStatus(200, await post(hold, 'confirm'))
const show = async ({ id }: Allocation): Promise<Allocation> =>
  expectStatus(200, await api.get(`/v2/allocations/${id}`))
const list = async (query: string): Promise<Allocation[]> =>
  expectStatus(200, await api.get(`/v2/allocations?${query}`)).allocations
const changes = async (owner_id: string, after = '0') => {
  const path = `/v2/allocations/changes?project_id=red&owner_id=${owner_id}&limit=1000`
  return expectStatus(200, await api.get(`${path}&after=${after}`))
}
/** What a clean-up asks for that says which allocation it means, and how that looked to it. */
const cleanUp = ({ id, generation }: Allocation) =>
  api.delete(`/v2/allocations/${id}?generation=${generation}`)
const idsOf = (allocations: readonly { id: string }[]) => allocations.map(({ id }) => id)
const waiting = async () => {
  const { quarantine } = expectStatus(200, await api.get('/v2/quarantine?limit=1000'))
  return quarantine.map(({ address }) => address)
}
/** Whatever others can be given in a block; an address that is in use must not be among it. */
async function takeAll(block: Block): Promise<string[]> {
  const free = Number((await api.utilisation(block)).free)
  const taken = await api.allocate(block, { project_id: 'blue', count: free })
  expectProblem(await api.ask(block, { project_id: 'blue' }), 'block_full')
  return taken.map(({ address }) => address)
}

/** A block in which what ends waits for five minutes. */
async function createBlock(): Promise<Block> {
  const { id: policy_id } = await api.createPolicy('wait', { quarantine_seconds: 300 })
  return api.createBlock('10.3.8.144/28', { policy_id })
}

/**
 * k8snetworkplumbingwg/whereabouts, issue 176. A node went away, and a pod of a StatefulSet was
 * created anew elsewhere, under its old name and with another address. The reconciler found the
 * orphan of the old node but took the reservation away by the name of the pod, and so hit the new
 * one: the running pod's address was free, and soon another pod had it as well.
 */
describe('a workload that comes back under its name', () => {
  const pod = { project_id: 'red', owner_type: 'pod', owner_id: 'shop/db-0' }
  const hold: Wish = { ...pod, lifetime_seconds: 60 }

  test('keeps its new address when that of before is cleaned up', async () => {
    const block = await createBlock()
    const old = await api.allocateOne(block, hold)
    // The node is away and renews nothing; its pod starts on another node.
    await clock.advance(30)
    const fresh = await api.allocateOne(block, hold)
    expect(fresh.address).not.toBe(old.address)
    const ofName = await list('project_id=red&owner_id=shop/db-0')
    expect(idsOf(ofName)).toEqual([old.id, fresh.id])

    const [orphan, ...more] = ofName.filter(({ address }) => address !== fresh.address)
    expect(more).toEqual([])
    const ended = expectStatus(200, await cleanUp(orphan as Allocation))
    expect(ended).toMatchObject({ id: old.id, address: old.address })
    expect(await show(fresh)).toEqual(fresh)
    expect(await waiting()).toEqual([old.address])
    expect(await takeAll(block)).not.toContain(fresh.address)
  })

  test('keeps it also when nobody cleans up but time, and renews only what it has', async () => {
    const block = await createBlock()
    const old = await api.allocateOne(block, hold)
    await clock.advance(30)
    const fresh = await api.allocateOne(block, hold)
    for (let n = 0; n < 3; n++) {
      await clock.advance(30)
      await renew(fresh)
      await clock.sweep()
    }
    expect(await show(old)).toMatchObject({ ended_at: expect.any(String) })
    expect(await show(fresh)).toMatchObject({ ended_at: null, generation: 4 })
    expect(await waiting()).toEqual([old.address])
  })

  test('keeps the very address of before, if a clean-up of that comes late', async () => {
    const block = await createBlock()
    const old = await api.allocateOne(block, hold)
    await clock.advance(61)
    await clock.sweep()
    // Same name, same address: only the allocation is another.
    const fresh = await api.allocateOne(block, { ...hold, address: old.address })
    // To release what has ended is answered with its end, and changes nothing.
    const ended = await show(old)
    expect(ended).toMatchObject({ generation: 2, ended_at: expect.any(String) })
    expect(expectStatus(200, await cleanUp(old))).toEqual(ended)
    expect(await api.release(old)).toEqual(ended)
    expect(await show(fresh)).toEqual(fresh)
    expect(await waiting()).toEqual([])
    expect(await takeAll(block)).not.toContain(fresh.address)
  })

  test('has no second address at all with `one_per_owner`', async () => {
    const block = await createBlock()
    const wish = { ...hold, one_per_owner: true }
    const old = await api.allocateOne(block, wish)
    await clock.advance(30)
    const again = await Promise.all(Array.from({ length: 8 }, () => api.allocateOne(block, wish)))
    expect(again).toEqual(Array(8).fill(old))
    const renewed = await renew(old)
    // A clean-up that has looked at what the old pod left does not reach the new pod.
    expectProblem(await cleanUp(old), 'generation_mismatch', { status: 409 })
    await clock.advance(31)
    await clock.sweep()
    expect(await show(old)).toEqual(renewed)
    expect(await list('project_id=red')).toEqual([renewed])
  })
})

/**
 * k8snetworkplumbingwg/whereabouts, issue 207. The reconciler listed the pods first and then the
 * reservations. That of a pod which started in between had no pod in the list, so it was taken for
 * an orphan and freed while in use, and another pod was given the same address.
 */
describe('a workload that starts while somebody reconciles', () => {
  const node: Wish = { project_id: 'red', owner_type: 'node', owner_id: 'node-1' }

  /** A node with a pod that runs, and an address that a pod left behind. */
  async function prepare() {
    const block = await createBlock()
    const [running, left] = await api.allocate(block, { ...node, count: 2 })
    if (!running || !left) throw new Error('no allocations')
    return { block, running, left }
  }

  test('is behind the cursor that was read before: what is not is cleaned up', async () => {
    const { block, running, left } = await prepare()
    const { allocations: known, cursor } = await changes('node-1')
    const pods = [running.address]
    // A pod starts, and is not in the list.
    const started = await api.allocateOne(block, { ...node, name: 'late' })
    const { allocations: since } = await changes('node-1', cursor)
    expect(since).toEqual([started])

    const isOrphan = ({ address }: Allocation) => !pods.includes(address)
    // The list of reservations as it is now shows the same orphans as in the failure.
    const naive = (await list('project_id=red&owner_id=node-1')).filter(isOrphan)
    expect(idsOf(naive)).toEqual([left.id, started.id])

    const changed = new Set(idsOf(since))
    const orphans = known.filter(one => isOrphan(one) && !changed.has(one.id))
    expect(orphans).toEqual([left])
    for (const orphan of orphans) expectStatus(200, await cleanUp(orphan))
    expect(await list('project_id=red&owner_id=node-1')).toEqual([running, started])
    expect(await waiting()).toEqual([left.address])
    const next = await changes('node-1', cursor)
    expect(idsOf(next.allocations)).toEqual([started.id, left.id])
    expect(await takeAll(block)).not.toContain(started.address)
  })

  test('with an address that was held for it keeps it: it was changed since', async () => {
    const { block, running } = await prepare()
    const hold = await api.allocateOne(block, { ...node, lifetime_seconds: 60 })
    const { allocations: known, cursor } = await changes('node-1')
    const pods = [running.address]
    const firm = await confirm(hold)
    expect((await changes('node-1', cursor)).allocations).toEqual([firm])
    // Even without a look at what changed, the clean-up of what was seen is refused.
    const seen = known.find(({ id }) => id === hold.id) as Allocation
    expect(pods).not.toContain(seen.address)
    expectProblem(await cleanUp(seen), 'generation_mismatch', { status: 409 })
    await clock.advance(1000)
    await clock.sweep()
    expect(await show(hold)).toEqual(firm)
  })

  test('taken for an orphan all the same has its address back before others get it', async () => {
    const { block, running } = await prepare()
    const { cursor } = await changes('node-1')
    const started = await api.allocateOne(block, node)
    // One who reconciles as in the failure, and asks for just what was listed.
    expectStatus(200, await cleanUp(started))
    expect(await takeAll(block)).not.toContain(started.address)
    const wish = { project_id: 'blue', address: started.address }
    expectProblem(await api.ask(block, wish), 'address_quarantined', { status: 409 })

    const { allocations: since } = await changes('node-1', cursor)
    expect(since).toMatchObject([{ id: started.id, ended_at: expect.any(String) }])
    const restored = expectStatus(201, await post(started, 'restore'))
    expect(restored).toMatchObject({ address: started.address, owner_id: 'node-1' })
    expect(await show(running)).toEqual(running)
    expect(await waiting()).not.toContain(started.address)
  })
})

/**
 * projectcalico/calico, pull request 13538. An allocation bore the name of a wrong node, left over
 * in a configuration. Garbage collection saw that its pod ran on another node than noted, took the
 * address for leaked and, after a grace period, freed it, though the pod was using it all the time.
 */
describe('an address in use whose note of the node is stale', () => {
  const pod: Wish = { project_id: 'red', owner_type: 'pod', owner_id: 'pod-7f3a' }
  const anHour = 3600

  async function hold() {
    const block = await createBlock()
    const held = await api.allocateOne(block, { ...pod, tags: ['node-a'], lifetime_seconds: 60 })
    return { block, held }
  }

  test('does not end as long as it is renewed, whatever is noted', async () => {
    const { block, held } = await hold()
    let last = held
    for (let n = 0; n < 20; n++) {
      await clock.advance(45)
      last = await renew(held)
      await clock.sweep()
    }
    expect(await show(held)).toEqual(last)
    expect(last).toMatchObject({ tags: ['node-a'], generation: 21 })
    expect(await waiting()).toEqual([])
    expect(await takeAll(block)).not.toContain(held.address)
  })

  test.each(['renew', 'confirm'])(
    'is not freed after a grace period, by one who looked before a %s',
    async verb => {
      const { block, held } = await hold()
      // Node a is no more, so what is noted there looks leaked.
      const suspects = await list('tag=node-a')
      expect(suspects).toEqual([held])
      await clock.advance(59)
      const body = verb === 'renew' ? { lifetime_seconds: anHour } : {}
      const kept = expectStatus(200, await post(held, verb, body))
      await clock.advance(900)
      for (const suspect of suspects) {
        expectProblem(await cleanUp(suspect), 'generation_mismatch', { status: 409 })
      }
      await clock.sweep()
      expect(await show(held)).toEqual(kept)
      expect(await takeAll(block)).not.toContain(held.address)
    },
  )

  test('is not ended by a sweep if its renewal was answered, whoever is first', async () => {
    const block = await createBlock()
    const tally = { kept: 0, lapsed: 0 }
    for (let round = 0; round < 6; round++) {
      const held = await api.allocate(block, { ...pod, lifetime_seconds: 60, count: 2 })
      await clock.advance(59)
      const sweeping = async () => {
        await clock.advance(2)
        await clock.sweep()
      }
      const [one, other] = held as [Allocation, Allocation]
      const first = post(one, 'renew', { lifetime_seconds: anHour })
      if (round % 2 > 0) await first
      const [, ...answers] = await Promise.all([sweeping(), first, post(other, 'confirm')])
      await clock.sweep()
      for (const [index, answer] of answers.entries()) {
        const now = await show(held[index] as Allocation)
        if (answer.status === 200) {
          expect(now).toEqual(answer.body)
          tally.kept++
          await api.release(now)
        } else {
          expectProblem(answer, 'hold_expired', { status: 409 })
          expect(await waiting()).toContain(now.address)
          tally.lapsed++
        }
      }
    }
    expect(tally.kept + tally.lapsed).toBe(12)
    expect(tally.kept).toBeGreaterThan(2)
  })

  test('freed all the same waits for its pod, which is told and has it back', async () => {
    const { block, held } = await hold()
    const { cursor } = await changes('pod-7f3a')
    const [suspect] = await list('tag=node-a')
    expectStatus(200, await cleanUp(suspect as Allocation))
    expect(await takeAll(block)).not.toContain(held.address)

    const late = await post(held, 'renew', { lifetime_seconds: 60 })
    expectProblem(late, 'allocation_ended', { status: 409 })
    const { allocations } = await changes('pod-7f3a', cursor)
    expect(idsOf(allocations)).toEqual([held.id])
    const restored = await post(held, 'restore', { lifetime_seconds: 60 })
    expect(expectStatus(201, restored)).toMatchObject({ ...pod, address: held.address })
  })
})
