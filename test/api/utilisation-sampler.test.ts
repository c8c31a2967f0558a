import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import {
  beginRun,
  removeOldSamples,
  sampleDue,
} from '../../src/resources/utilisation/sample-store.ts'
import { sampleUtilisation } from '../../src/resources/utilisation/sampler.ts'
import { expectStatus, networks, useApi } from '../helpers/api.ts'
import { Random } from '../helpers/random.ts'
import { options, urlOf, useSampler } from '../helpers/sampler.ts'

const api = useApi()
const sampler = useSampler(api)
const [network] = networks

describe('the sampler', () => {
  test('runs no more often than it should, whoever asks', async () => {
    await api.createBlock('10.0.0.0/24')
    await sampler.sample()
    await sampler.clock.advance({ seconds: 299 })
    const answer = await sampleUtilisation(api.db, options)
    expect(answer).toEqual({ has_run: false, seconds_left: 1 })
    await sampler.clock.advance({ seconds: 1 })
    expect(await sampleUtilisation(api.db, options)).toMatchObject({ has_run: true })
  })

  test('is not held up by a clock that was set back', async () => {
    await sampler.sample()
    await sampler.clock.advance({ days: -1 })
    const block = await api.createBlock('10.0.0.0/24')
    expect(await sampleUtilisation(api.db, options)).toMatchObject({ has_run: true })
    expect(await sampler.history(urlOf(block))).toHaveLength(1)
  })

  test('writes once, and tells once, when two run at the same time', async () => {
    const policy_id = await createPolicy([50])
    const block = await api.createBlock('10.0.0.0/28', { policy_id })
    for (let round = 1; round <= 5; round++) {
      const held = await api.allocate(block, { count: 7 })
      await sampler.clock.advance({ seconds: 300 })
      const answers = await Promise.all(
        Array.from({ length: 4 }, () => sampleUtilisation(api.db, options)),
      )
      expect(answers.filter(({ has_run }) => has_run)).toHaveLength(1)
      expect(await crossings()).toHaveLength(2 * round - 1)
      await Promise.all(held.map(one => api.release(one)))
      await sampler.sample()
      expect(await sampler.history(urlOf(block))).toHaveLength(2 * round)
      expect(await crossings()).toHaveLength(2 * round)
    }
  })

  test('goes on with what another one left when it died', async () => {
    const top = await api.createBlock('10.0.0.0/16')
    const [child] = await api.cut(top, { prefix_length: 24 })
    await api.allocate(child as Block, { count: 9 })
    expect(await beginRun(api.db, 300)).toEqual({ noted: 2, seconds_left: 300 })
    expect(await sampleDue(api.db)).toBe(1)
    expect(await sampler.history(urlOf(child as Block))).toMatchObject([{ allocated: '9' }])
    expect(await sampler.history(urlOf(top))).toEqual([])
    await sampler.sample()
    expect(await sampler.history(urlOf(top))).toMatchObject([{ allocated: '9' }])
    expect(await sampler.count()).toBe(2)
  })

  test('sees a container whole, whatever is cut or resized below it meanwhile', async () => {
    const top = await api.createBlock('10.0.0.0/16')
    const [middle] = await api.cut(top, { prefix_length: 24 })
    const [leaf] = await api.cut(middle as Block, { prefix_length: 25 })
    await sampler.sample()
    await api.allocateOne(leaf as Block)
    expect(await beginRun(api.db, 0)).toMatchObject({ noted: 1 })
    for (const _ of [leaf, middle]) expect(await sampleDue(api.db)).toBe(1)
    // What is known of the one is of another size, and of the other nothing.
    expectStatus(200, await api.patch(urlOf(middle as Block), { cidr: '10.0.0.0/23' }))
    const [other] = await api.cut(top, { prefix_length: 20 })
    await api.allocate((await api.cut(other as Block, { prefix_length: 24 }))[0] as Block)
    expect(await sampleDue(api.db)).toBe(1)
    const { in_children: _, ...counts } = await api.utilisation(top)
    expect((await sampler.history(urlOf(top))).at(-1)).toMatchObject(counts)
    expect(await oddSums()).toEqual([])
  })

  test('stops between two transactions', async () => {
    const top = await api.createBlock('10.0.0.0/16')
    await api.cut(top, { prefix_length: 24 })
    let asked = 0
    const isStopped = () => ++asked > 1
    expect(await sampleUtilisation(api.db, options, isStopped)).toMatchObject({ has_run: true })
    expect(await sampler.count()).toBe(1)
    await sampler.sample()
    expect(await sampler.count()).toBe(2)
  })

  test('removes what ended long ago, some at a time, and never the newest', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    for (let day = 0; day < 6; day++) {
      await api.allocateOne(block)
      await sampler.sample()
      await sampler.clock.advance({ days: 1 })
    }
    await sampler.clock.advance({ days: 397, seconds: -1100 })
    // The third ended some minutes less than 400 days ago.
    expect(await removeOldSamples(api.db, { days: 400, limit: 1 })).toBe(1)
    expect(await sampler.history(urlOf(block))).toHaveLength(5)
    await sampler.sample()
    const left = await sampler.history(urlOf(block))
    expect(left.map(({ allocated }) => allocated)).toEqual(['3', '4', '5', '6'])
    await sampler.clock.advance({ days: 1000 })
    await sampler.sample()
    expect(await sampler.history(urlOf(block))).toMatchObject([{ allocated: '6', until: null }])
  })

  test.each([1, 2, 3])(
    'is right after anything that may happen between its looks (%i)',
    async seed => {
      const random = new Random(seed)
      const below = (end: number) => random.below(end)
      await api.createNetworks()
      for (let step = 0; step < 80; step++) {
        await change(below)
        const { seconds_left } = await beginRun(api.db, 300 * below(2))
        for (let looks = below(4); looks > 0; looks--) await sampleDue(api.db)
        await sampler.clock.advance({ seconds: seconds_left })
        expect(await oddSums()).toEqual([])
      }
      await sampler.sample()
      const { blocks: all } = expectStatus(200, await api.get('/v2/blocks?limit=1000'))
      expect(all.length).toBeGreaterThan(5)
      for (const block of all) {
        const { in_children: _, ...counts } = await api.utilisation(block)
        expect((await sampler.history(urlOf(block))).at(-1)).toMatchObject({
          ...counts,
          until: null,
        })
      }
      const expected = await rows(api.db, Type.Unsafe<object>({}))`
      select b.network_id as id, family(b.cidr) as version, sum(u.total)::text as total,
        sum(u.free)::text as free
      from blocks b join block_usage u on u.block_id = b.id
      where b.network_id is not null and not exists (select from blocks c where c.parent_id = b.id)
      group by 1, 2 order by 1, 2`
      const found = await rows(api.db, Type.Unsafe<object>({}))`
      select subject_id as id, version, total::text as total, free::text as free
      from utilisation_current where is_network and total > 0 order by 1, 2`
      expect(found).toEqual(expected)
    },
  )

  /** Samples whose parts are not the whole, of blocks that are cut while they are looked at. */
  const oddSums = () => rows(api.db, Type.Object({ total: Type.String() }))`
    select total from (
      select total, allocated, held, quarantined, excluded, free from utilisation_current
      union all
      select total, allocated, held, quarantined, excluded, free from utilisation_samples) s
    where total <> allocated + held + quarantined + excluded + free`

  /** Something happens to a block; it may well be refused. */
  async function change(below: (limit: number) => number): Promise<void> {
    const { blocks: all } = expectStatus(200, await api.get('/v2/blocks?limit=1000'))
    const block = all[below(all.length)]
    const kind = below(11)
    if (!block || kind <= 1) {
      const network_id = networks[below(4)]
      const [cidr, length] = below(2) ? ['10.0.0.0', 8] : ['2001:db8::', 32]
      await api.post('/v2/blocks', {
        scope_id: 'public',
        cidr:
          below(3) === 0
            ? `${cidr}/${length}`
            : `${cidr.replace('0.0', `${below(9)}.0`)}/${length + 8}`,
        adopt_children: below(2) === 0,
        ...(network_id && { network_id }),
      })
    } else if (kind <= 4) {
      const prefix_length = Number(block.cidr.split('/')[1]) + 1 + below(8)
      await api.post(`${urlOf(block)}/children`, { prefix_length, count: 1 + below(3) })
    } else if (kind <= 7) {
      await api.ask(block, { count: 1 + below(9) })
    } else if (kind === 8) {
      const { allocations } = expectStatus(200, await api.get('/v2/allocations?limit=1000'))
      for (const { id } of allocations.slice(0, below(20)))
        await api.delete(`/v2/allocations/${id}`)
    } else if (kind === 9) {
      const [first, length] = block.cidr.split('/')
      await api.patch(urlOf(block), { cidr: `${first}/${Number(length) + 1 - 2 * below(2)}` })
    } else {
      await api.delete(urlOf(block))
    }
  }
})

async function createPolicy(thresholds: number[]): Promise<string> {
  const rules = { utilisation_thresholds: thresholds }
  const answer = await api.post('/v2/policies', { name: `at ${thresholds}`, rules })
  return expectStatus(201, answer).id
}

/** The thresholds that events say were crossed, oldest first. */
async function crossings(): Promise<[type: string, threshold: number, used_percent: number][]> {
  const { events } = expectStatus(200, await api.get('/v2/events?limit=1000'))
  return events
    .filter(({ type }) => type.includes('threshold'))
    .map(({ type, data }) => {
      const { threshold, used_percent } = data as { threshold: number; used_percent: number }
      return [type, threshold, used_percent]
    })
}

describe('a threshold', () => {
  const reached = 'block.threshold_reached'
  const left = 'block.threshold_left'

  test('is told of when it is reached and when it is left, once each', async () => {
    const policy_id = await createPolicy([80, 90])
    const block = await api.createBlock('10.0.0.0/24', { policy_id, project_id: 'red' })
    const held = await api.allocate(block, { count: 204 }) // Of 254: 80.31 %.
    await sampler.sample()
    await api.allocateOne(block)
    await sampler.sample()
    expect(await crossings()).toEqual([[reached, 80, 80.31]])
    for (const one of held.slice(0, 14)) await api.release(one) // 191: 75.19 %.
    await sampler.sample()
    expect(await crossings()).toHaveLength(1)
    await api.release(held[14] as Allocation) // 190: 74.8 %.
    await sampler.sample()
    await api.allocate(block, { count: 40 }) // 230: 90.55 %
    await sampler.sample()
    await sampler.sample()
    expect(await crossings()).toEqual([
      [reached, 80, 80.31],
      [left, 80, 74.8],
      [reached, 80, 90.55],
      [reached, 90, 90.55],
    ])
    const { events } = expectStatus(200, await api.get(`/v2/events?type=${left}`))
    expect(events).toMatchObject([{ object_id: block.id, project_id: 'red' }])
    expect(events[0]?.data).toEqual({
      block_id: block.id,
      name: '',
      cidr: '10.0.0.0/24',
      version: 4,
      threshold: 80,
      used_percent: 74.8,
      total: '256',
      allocated: '190',
      held: '0',
      quarantined: '0',
      excluded: '2',
      free: '64',
    })
  })

  test('is reached by a container, too, and by what is held', async () => {
    const policy_id = await createPolicy([25])
    const top = await api.createBlock('10.0.0.0/23', { policy_id })
    const [child] = await api.cut(top, { prefix_length: 24 })
    await api.allocate(child as Block, { count: 127, lifetime_seconds: 600 })
    await sampler.sample()
    const { events } = expectStatus(200, await api.get(`/v2/events?type=${reached}`))
    expect(events.map(({ object_id, data }) => [object_id, data])).toMatchObject([
      [child?.id, { used_percent: 50, held: '127' }],
    ])
    await api.allocateOne(child as Block)
    await sampler.sample()
    // 128 of 510: the network and broadcast address of the child cannot be given out.
    expect(await crossings()).toEqual([
      [reached, 25, 50],
      [reached, 25, 25.09],
    ])
  })

  test('comes and goes with the policy that sets it', async () => {
    const [low, high] = [await createPolicy([10]), await createPolicy([10, 60])]
    const block = await api.createBlock('10.0.0.0/24')
    await api.allocate(block, { count: 127 })
    await sampler.sample()
    expect(await crossings()).toEqual([])
    await api.patch(urlOf(block), { policy_id: low })
    await sampler.sample()
    await api.patch(urlOf(block), { policy_id: high })
    await sampler.sample()
    expect(await crossings()).toEqual([[reached, 10, 50]])
    await api.patch(`/v2/policies/${high}`, { rules: { utilisation_thresholds: [40] } })
    await sampler.sample()
    await api.patch(urlOf(block), { policy_id: null })
    await sampler.sample()
    expect(await crossings()).toEqual([
      [reached, 10, 50],
      [left, 10, 50],
      [reached, 40, 50],
      [left, 40, 50],
    ])
    expect(await sampler.count()).toBe(1)
  })

  test('of the policy of a network is one of its subnets together', async () => {
    await api.createNetworks()
    const policy_id = await createPolicy([50])
    await api.db.query(sql`update networks set policy_id = ${policy_id} where id = ${network}`)
    const a = await api.createBlock('10.0.0.0/24', { network_id: network })
    const six = await api.createBlock('2001:db8::/120', { network_id: network })
    await api.allocate(a, { count: 130 })
    await api.allocate(six, { count: 200 })
    await sampler.sample()
    await api.createBlock('10.0.1.0/24', { network_id: network })
    await sampler.sample()
    const { events } = expectStatus(200, await api.get('/v2/events?limit=1000'))
    const told = events
      .filter(({ type }) => type.startsWith('network.threshold'))
      .map(({ type, object_id, data }) => [type, object_id, data])
    const data = { network_id: network, name: '', threshold: 50 }
    expect(told).toMatchObject([
      ['network.threshold_reached', network, { ...data, version: 4, allocated: '130' }],
      ['network.threshold_reached', network, { ...data, version: 6, allocated: '200' }],
      ['network.threshold_left', network, { ...data, version: 4, total: '512' }],
    ])
  })
})
