import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { Block, BlockRequest } from '../../src/resources/blocks/schema.ts'
import { sampleUtilisation } from '../../src/resources/utilisation/sampler.ts'
import type { Forecast, UtilisationSample } from '../../src/resources/utilisation/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { options, type Samples, urlOf, useSampler } from '../helpers/sampler.ts'

const api = useApi()
const sampler = useSampler(api)
const [network] = networks
const networkUrl = `/v2/networks/${network}`

describe('a sample', () => {
  test('is what the counts are, and is true until they are others', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await sampler.sample()
    const first = await sampler.clock.now()
    await sampler.sample()
    await api.allocate(block, { count: 127 })
    const held = await api.allocateOne(block)
    await api.release(held)
    await sampler.sample()
    const second = await sampler.clock.now()
    const counts = { held: '0', quarantined: '0', excluded: '2', total: '256', version: 4 }
    expect(await sampler.history(urlOf(block))).toEqual([
      { ...counts, at: first, until: second, allocated: '0', free: '254', used_percent: 0 },
      { ...counts, at: second, until: null, allocated: '127', free: '127', used_percent: 50 },
    ])
  })

  test('is written only of what changed', async () => {
    const [top, other] = [await api.createBlock('10.0.0.0/8'), await api.createBlock('11.0.0.0/8')]
    const children = await api.cut(top, { prefix_length: 24, count: 20 })
    await sampler.sample()
    expect(await sampler.count()).toBe(22)
    await sampler.sample()
    expect(await sampler.count()).toBe(22)
    const held = await api.allocateOne(children[7] as Block)
    await sampler.sample()
    expect(await sampler.count()).toBe(24) // The child and the top.
    await api.patch(urlOf(other), { name: 'renamed' })
    await api.release(held)
    const again = await api.allocateOne(children[7] as Block)
    expect(again.address).toBe(held.address)
    await sampler.sample()
    expect(await sampler.count()).toBe(24)
  })

  test('of a container is the sum of all below it', async () => {
    const top = await api.createBlock('2001:db8::/32')
    const [middle] = await api.cut(top, { prefix_length: 48 })
    const [leaf, sibling] = await api.cut(middle as Block, { prefix_length: 64, count: 2 })
    await api.allocate(leaf as Block, { count: 5 })
    await sampler.sample()
    const before = await sampler.history(urlOf(sibling as Block))
    await api.allocateOne(leaf as Block, { prefix_length: 96 })
    await api.cut(top, { prefix_length: 64 }) // It is looked at but once, after those below it.
    await sampler.sample()
    for (const block of [top, middle, leaf] as Block[]) {
      const { in_children: _, ...counts } = await api.utilisation(block)
      const samples = await sampler.history(urlOf(block))
      expect(samples).toMatchObject([{ allocated: '5' }, { ...counts, until: null, version: 6 }])
    }
    expect(await sampler.history(urlOf(sibling as Block))).toEqual(before)
  })

  test('is there of every block, however it came about', async () => {
    const leaf = await api.createBlock('10.0.1.0/24')
    await api.allocate(leaf, { count: 3 })
    await sampler.sample()
    const wish = { scope_id: 'public', cidr: '10.0.0.0/22', adopt_children: true }
    const above = expectStatus(201, await api.post('/v2/blocks', wish))
    await sampler.sample()
    const newest = async (block: Pick<Block, 'id'>) => (await sampler.history(urlOf(block))).at(-1)
    expect(await newest(above)).toMatchObject({ total: '1024', allocated: '3', excluded: '2' })
    await api.patch(urlOf(above), { cidr: '10.0.0.0/16' })
    await sampler.sample()
    expect(await newest(above)).toMatchObject({ total: '65536', allocated: '3', free: '65531' })
  })

  test('of what is gone is gone, and a new block begins anew', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await sampler.sample()
    expectStatus(204, await api.delete(urlOf(block)))
    expectProblem(await api.get(`${urlOf(block)}/utilisation/history`), 'block_not_found')
    await api.createBlock('10.0.0.0/24')
    await sampler.sample()
    expect(await sampler.count()).toBe(1)
  })
})

describe('a network', () => {
  const subnet = (cidr: string, settings: Partial<BlockRequest> = {}) =>
    api.createBlock(cidr, { network_id: network, ...settings })

  test('has a series for each IP version that its subnets have', async () => {
    await api.createNetworks()
    await sampler.sample()
    expect(await sampler.history(networkUrl)).toEqual([])
    const [a, b] = [await subnet('10.0.0.0/24'), await subnet('10.0.1.0/24')]
    const six = await subnet('2001:db8::/64')
    await api.allocate(a, { count: 10 })
    await api.allocate(b, { count: 20 })
    await sampler.sample()
    await api.allocate(six, { count: 7 })
    await sampler.sample()
    expect(await sampler.history(networkUrl, 'version=4')).toMatchObject([
      { version: 4, total: '512', excluded: '4', allocated: '30', free: '478', until: null },
    ])
    const total = String(2n ** 64n)
    expect(await sampler.history(networkUrl, 'version=6')).toMatchObject([
      { version: 6, total, allocated: '0' },
      { version: 6, total, allocated: '7', until: null },
    ])
    expect(await sampler.history(networkUrl)).toHaveLength(3)
  })

  test('consists of its leaves: what a container has not cut yet is nobody’s to give', async () => {
    await api.createNetworks()
    const container = await subnet('10.0.0.0/16')
    await sampler.sample()
    await api.cut(container, { prefix_length: 24, count: 2 })
    await sampler.sample()
    expect(await sampler.history(networkUrl)).toMatchObject([
      { total: '65536', excluded: '2' },
      { total: '512', excluded: '4', free: '508' },
    ])
  })

  test('shrinks when a subnet goes, down to nothing', async () => {
    await api.createNetworks()
    const both = [await subnet('10.0.0.0/24'), await subnet('10.0.1.0/24')]
    await sampler.sample()
    for (const one of both) {
      expectStatus(204, await api.delete(urlOf(one)))
      await sampler.sample()
    }
    const totals = (await sampler.history(networkUrl)).map(({ total, used_percent }) => [
      total,
      used_percent,
    ])
    expect(totals).toEqual([
      ['512', 0],
      ['256', 0],
      ['0', 0],
    ])
  })

  test('loses a subnet that is moved out of it', async () => {
    await api.createNetworks()
    const one = await subnet('10.0.0.0/24')
    await sampler.sample()
    await api.db.execute(`
      select from lock_blocks(array['${one.id}'::uuid]);
      update blocks set network_id = null, is_network_top = false where id = '${one.id}'`)
    await sampler.sample()
    expect(await sampler.history(networkUrl)).toMatchObject([{ total: '256' }, { total: '0' }])
  })

  test('begins anew with an id that another network had', async () => {
    await api.createNetworks()
    const url = await subnet('10.0.0.0/24')
    await sampler.sample()
    expectStatus(204, await api.delete(urlOf(url)))
    expectStatus(204, await api.delete(networkUrl))
    expectStatus(201, await api.post('/v2/networks', { id: network }))
    // The clock of the tests stands beside that by which networks are created.
    await sampler.clock.advance({ seconds: 1 })
    await api.db.query(sql`update networks set created_at = wall_time() where id = ${network}`)
    await subnet('10.0.2.0/24')
    expect(await sampler.history(networkUrl)).toEqual([])
    await sampler.sample()
    expect(await sampler.history(networkUrl)).toMatchObject([{ total: '256', until: null }])
  })

  test('may have the id of a block', async () => {
    const block = await api.createBlock('10.0.0.0/16')
    expectStatus(201, await api.post('/v2/networks', { id: block.id }))
    await subnet('10.1.0.0/24', { network_id: block.id })
    await sampler.sample()
    const child = await api.createBlock('10.0.0.0/24', { parent_id: block.id })
    await api.allocateOne(child)
    await sampler.sample()
    expect(await sampler.history(`/v2/networks/${block.id}`)).toMatchObject([{ total: '256' }])
    expect(await sampler.history(urlOf(block))).toMatchObject([
      { total: '65536', allocated: '0' },
      { total: '65536', allocated: '1' },
    ])
  })

  test('that is not there has no history', async () => {
    for (const path of ['utilisation/history', 'forecast']) {
      expectProblem(await api.get(`${networkUrl}/${path}`), 'network_not_found')
    }
  })
})

describe('the history', () => {
  /** A block with a sample of each of some days, on which so much was allocated. */
  async function grow(days: number, by: number): Promise<Block> {
    const block = await api.createBlock('10.0.0.0/22')
    await sampleUtilisation(api.db, options)
    for (let day = 1; day <= days; day++) {
      await api.allocate(block, { count: by })
      await sampler.clock.advance({ days: 1 })
      await sampleUtilisation(api.db, options)
    }
    return block
  }
  const used = (samples: readonly UtilisationSample[]) =>
    samples.map(({ allocated }) => Number(allocated))

  test('is read in pages, from either end', async () => {
    const url = `${urlOf(await grow(6, 1))}/utilisation/history`
    for (const [sort, expected] of [
      ['oldest_first', [0, 1, 2, 3, 4, 5, 6]],
      ['newest_first', [6, 5, 4, 3, 2, 1, 0]],
    ] as const) {
      const pages: number[][] = []
      for (let next: string | undefined = `${url}?sort=${sort}&limit=3`; next; ) {
        const body = expectStatus(200, await api.get(next))
        pages.push(used((body as unknown as Samples).samples))
        next = body.links[0]?.href
      }
      expect(pages.map(page => page.length)).toEqual([3, 3, 1])
      expect(pages.flat()).toEqual(expected)
    }
    const { next_marker } = expectStatus(200, await api.get(`${url}?limit=2`))
    const turned = await api.get(`${url}?sort=newest_first&marker=${next_marker}`)
    expectProblem(turned, 'marker_invalid')
  })

  test('of two series has pages that cut neither', async () => {
    await api.createNetworks()
    const four = await api.createBlock('10.0.0.0/24', { network_id: network })
    const six = await api.createBlock('2001:db8::/64', { network_id: network })
    for (let round = 0; round < 3; round++) {
      for (const block of [four, six]) await api.allocateOne(block)
      await sampler.sample()
    }
    const keys = (samples: UtilisationSample[]) => samples.map(({ at, version }) => [at, version])
    const all = await sampler.history(networkUrl)
    expect(all).toHaveLength(6)
    const paged: UtilisationSample[] = []
    for (let next: string | undefined = `${networkUrl}/utilisation/history?limit=1`; next; ) {
      const body = expectStatus(200, await api.get(next))
      paged.push(...(body as unknown as Samples).samples)
      next = body.links[0]?.href
    }
    expect(keys(paged)).toEqual(keys(all))
  })

  test('of a time begins with what was true then', async () => {
    const block = await grow(6, 1)
    const at = (day: number, time = '00:00:00') => `2030-01-0${1 + day}T${time}Z`
    const read = async (query: string) => used(await sampler.history(urlOf(block), query))
    expect(await read(`from=${at(2, '12:00:00')}&to=${at(4, '12:00:00')}`)).toEqual([2, 3, 4])
    expect(await read(`from=${at(2)}&to=${at(4)}`)).toEqual([2, 3])
    expect(await read(`from=${at(8)}`)).toEqual([6])
    expect(await read(`to=${at(0)}`)).toEqual([])
    expect(await read(`from=${at(5)}&sort=newest_first`)).toEqual([6, 5])
    const answer = await api.get(`${urlOf(block)}/utilisation/history?from=yesterday`)
    expectProblem(answer, 'invalid_request', { field: 'from' })
  })

  test('says when the block will be full', async () => {
    const block = await grow(10, 50)
    await sampler.clock.advance({ days: 1 })
    const forecast = expectStatus(200, await api.get(`${urlOf(block)}/forecast`))
    const { growth_per_day, days_to_full, ...rest } = forecast as unknown as Forecast
    // 522 of 1022 are free. Steps at the ends of the days are a little flatter than 50 a day.
    expect(growth_per_day).toBeCloseTo(50 * (1 - 1 / 11 ** 2), 9)
    expect(days_to_full).toBeCloseTo(522 / (growth_per_day ?? 0), 9)
    const since = '2030-01-01T00:00:00.000000Z'
    const used_percent = 48.92
    expect(rest).toEqual({ version: 4, reason: null, used_percent, samples: 11, since })
  })

  test('that is too short, or does not grow, is no ground for a forecast', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const read = async () => expectStatus(200, await api.get(`${urlOf(block)}/forecast`))
    const none = { version: 4, days_to_full: null, growth_per_day: null }
    const reason = 'too_few_samples'
    expect(await read()).toEqual({ ...none, reason, used_percent: null, samples: 0, since: null })
    await sampler.sample()
    expect(await read()).toMatchObject({ ...none, reason, used_percent: 0, samples: 1 })
    const held = await api.allocateOne(block)
    await sampler.sample()
    expect(await read()).toMatchObject({ ...none, reason: 'too_short', samples: 2 })
    await sampler.clock.advance({ days: 2 })
    await api.release(held)
    await sampler.sample()
    await sampler.clock.advance({ days: 3 })
    expect(await read()).toMatchObject({ days_to_full: null, reason: 'not_growing', samples: 3 })
    await sampler.clock.advance({ days: 30 })
    expect(await read()).toMatchObject({ ...none, reason, samples: 1 })
  })

  test('of a network gives a forecast for each IP version', async () => {
    await api.createNetworks()
    const read = async () => expectStatus(200, await api.get(`${networkUrl}/forecast`))
    expect(await read()).toEqual({ forecasts: [] })
    const four = await api.createBlock('10.0.0.0/24', { network_id: network })
    await api.createBlock('2001:db8::/64', { network_id: network })
    await sampler.sample()
    await sampler.clock.advance({ days: 1 })
    await api.allocate(four, { count: 254 })
    await sampler.sample()
    expect(await read()).toMatchObject({
      forecasts: [
        { version: 4, days_to_full: 0, reason: null, used_percent: 100 },
        { version: 6, days_to_full: null, reason: 'too_few_samples', used_percent: 0 },
      ],
    })
  })
})
