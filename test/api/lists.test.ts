import { beforeEach, describe, expect, test } from 'vitest'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'

const api = useApi()
beforeEach(() => api.createNetworks())
const list = async (query: string) =>
  expectStatus(200, await api.get(`/v2/blocks?sort=cidr&${query}`)).blocks.map(({ cidr }) => cidr)

describe('blocks are listed', () => {
  test('by each filter, and by several at once', async () => {
    const { body: scope } = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
    const top = await api.createBlock('10.0.0.0/8', { project_id: 'blue' })
    const web = { name: 'web', tags: ['x', 'y'], network_id: networks[0], project_id: 'red' }
    await api.cut(top, { cidrs: ['10.1.0.0/16'], ...web })
    await api.cut(top, { cidrs: ['10.2.0.0/16'], tags: ['x'] })
    await api.createBlock('2001:db8::/32')
    await api.createBlock('10.1.0.0/16', { scope_id: scope.id })
    const cases: [string, string[]][] = [
      ['', ['10.0.0.0/8', '10.1.0.0/16', '10.1.0.0/16', '10.2.0.0/16', '2001:db8::/32']],
      [`scope_id=${scope.id}`, ['10.1.0.0/16']],
      ['scope_id=public&parent_id=none', ['10.0.0.0/8', '2001:db8::/32']],
      [`parent_id=${top.id}`, ['10.1.0.0/16', '10.2.0.0/16']],
      [`network_id=${networks[0]}`, ['10.1.0.0/16']],
      ['project_id=blue', ['10.0.0.0/8', '10.2.0.0/16']],
      ['name=web', ['10.1.0.0/16']],
      ['tag=x', ['10.1.0.0/16', '10.2.0.0/16']],
      ['tag=x&tag=y', ['10.1.0.0/16']],
      ['version=6', ['2001:db8::/32']],
      ['version=4&scope_id=public', ['10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16']],
      ['cidr=10.2.0.0/16', ['10.2.0.0/16']],
      ['contains=10.2.3.4', ['10.0.0.0/8', '10.2.0.0/16']],
      ['contains=10.2.0.0/16', ['10.0.0.0/8', '10.2.0.0/16']],
      ['contains=10.0.0.0/7', []],
      ['contains=2001:db8::1', ['2001:db8::/32']],
      ['within=10.2.0.0/15', ['10.2.0.0/16']],
      ['within=10.2.0.0/16', ['10.2.0.0/16']],
      ['within=::/0', ['2001:db8::/32']],
      ['overlaps=10.2.0.0/15', ['10.0.0.0/8', '10.2.0.0/16']],
      ['overlaps=10.2.9.9', ['10.0.0.0/8', '10.2.0.0/16']],
      ['overlaps=0.0.0.0/0&parent_id=none&scope_id=public', ['10.0.0.0/8']],
      ['contains=10.2.3.4&tag=x&project_id=blue', ['10.2.0.0/16']],
    ]
    for (const [query, cidrs] of cases) expect([query, await list(query)]).toEqual([query, cidrs])
  })

  test('in the order of each sort, equals by id', async () => {
    const scopes = await Promise.all(
      ['a', 'b'].map(name => api.post('/v2/address-scopes', { project_id: 'red', name })),
    )
    const blocks: Block[] = []
    for (const { body } of scopes) {
      for (const [cidr, name] of [
        ['2001:db8::/32', 'b'],
        ['10.0.0.0/24', 'c'],
        ['9.0.0.0/8', 'a'],
      ] as const) {
        blocks.push(await api.createBlock(cidr, { name, scope_id: body.id }))
      }
    }
    const indexesBy = async (sort: string) => {
      const pages = await api.pages('blocks', `/v2/blocks?sort=${sort}&limit=1`)
      return pages.flat().map(({ id }) => blocks.findIndex(block => block.id === id))
    }
    expect(await indexesBy('id')).toEqual([0, 1, 2, 3, 4, 5])
    expect(await indexesBy('created_at')).toEqual([0, 1, 2, 3, 4, 5])
    expect(await indexesBy('name')).toEqual([2, 5, 0, 3, 1, 4])
    expect(await indexesBy('cidr')).toEqual([2, 5, 1, 4, 0, 3])
  })

  test.each(['id', 'cidr', 'name', 'created_at'])(
    'by %s each block that stays is on one page, while others come and go',
    async sort => {
      const top = await api.createBlock('10.0.0.0/8')
      const stay = await api.cut(top, { cidrs: evenThirdOctets, name: 'stay' })
      const doomed = await api.cut(top, { cidrs: oddThirdOctets, name: 'go' })
      const coming = oddThirdOctets.map(cidr => cidr.replace('10.0', '10.1'))
      const comeAndGo = async () => {
        const [gone] = doomed.splice(0, 1)
        if (gone) await api.delete(`/v2/blocks/${gone.id}`)
        await api.cut(top, { cidrs: coming.splice(0, 1), name: 'come' })
      }
      const url = `/v2/blocks?parent_id=${top.id}&sort=${sort}&limit=5`
      const pages = await api.pages('blocks', url, comeAndGo)
      const ids = pages.flat().map(({ id }) => id)
      expect(new Set(ids).size).toBe(ids.length)
      expect(ids).toEqual(expect.arrayContaining(stay.map(({ id }) => id)))
      expect(pages.length).toBeGreaterThan(3)
    },
  )
})

const thirdOctets = Array.from({ length: 24 }, (_, n) => `10.0.${n}.0/24`)
const evenThirdOctets = thirdOctets.filter((_, n) => n % 2 === 0)
const oddThirdOctets = thirdOctets.filter((_, n) => n % 2 === 1)

describe('allocations are listed', () => {
  test.each(['sort=id', 'sort=address&scope_id=public'])(
    'with %s each that stays is on one page, while others come and go',
    async order => {
      const block = await api.createBlock('10.0.0.0/24')
      const held = await api.allocate(block, { count: 40 })
      const doomed = held.filter((_, n) => n % 2 === 1)
      const pages = await api.pages('allocations', `/v2/allocations?${order}&limit=7`, async () => {
        await api.allocate(block, { count: 2 })
        for (const gone of doomed.splice(0, 3)) await api.release(gone)
      })
      const ids = pages.flat().map(({ id }) => id)
      const stay = held.filter((_, n) => n % 2 === 0).map(({ id }) => id)
      expect(new Set(ids).size).toBe(ids.length)
      expect(ids).toEqual(expect.arrayContaining(stay))
    },
  )

  test('current and ended ones in one order', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const held = await api.allocate(block, { count: 9 })
    for (const one of held.filter((_, n) => n % 3 === 0)) await api.release(one)
    const pages = await api.pages('allocations', '/v2/allocations?state=all&limit=2')
    expect(pages.flat().map(({ id }) => id)).toEqual(held.map(({ id }) => id))
    const path = '/v2/allocations?state=all&sort=address&scope_id=public&limit=2'
    const byAddress = await api.pages('allocations', path)
    expect(byAddress.flat().map(({ id }) => id)).toEqual(held.map(({ id }) => id))
  })

  test('by address only where addresses are unique', async () => {
    const answer = await api.get('/v2/allocations?sort=address')
    expectProblem(answer, 'invalid_request', { field: 'sort' })
  })
})

test.each([
  ['/v2/blocks?sort=cidr&marker=', 'invented'],
  ['/v2/blocks?marker=', Buffer.from('["x","y"]').toString('base64url')],
  ['/v2/blocks?sort=cidr&marker=', Buffer.from('["x","y"]').toString('base64url')],
  ['/v2/blocks?sort=created_at&marker=', Buffer.from('["x","y"]').toString('base64url')],
  ['/v2/allocations?marker=', Buffer.from('["x","y"]').toString('base64url')],
  ['/v2/allocations?marker=', Buffer.from('{}').toString('base64url')],
  ['/v2/address-scopes?marker=', Buffer.from('["x"]').toString('base64url')],
  ['/v2/address-scopes?marker=', ''],
])('%s%s is refused: the list did not give that marker', async (url, marker) => {
  await api.createBlock('10.0.0.0/24')
  expectProblem(await api.get(url + marker), 'marker_invalid', { status: 400 })
})

test('a marker of one sort is refused by another', async () => {
  const top = await api.createBlock('10.0.0.0/8')
  await api.cut(top, { prefix_length: 16, count: 3 })
  const { next_marker } = (await api.get('/v2/blocks?sort=name&limit=2')).body
  for (const sort of ['cidr', 'id', 'created_at']) {
    const answer = await api.get(`/v2/blocks?sort=${sort}&limit=2&marker=${next_marker}`)
    expectProblem(answer, 'marker_invalid')
  }
})

describe('free space', () => {
  test('is paged as ranges, while it changes', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const taken = Array.from({ length: 20 }, (_, n) => `10.0.0.${n * 10 + 5}`)
    for (const address of taken) await api.allocate(block, { address })
    const path = `/v2/blocks/${block.id}/free-ranges?limit=4`
    const still = (await api.pages('free_ranges', path)).flat()
    expect(still[0]).toEqual({ first: '10.0.0.1', last: '10.0.0.4', size: '4', purpose: null })
    expect(still.map(({ size }) => Number(size)).reduce((a, b) => a + b)).toBe(254 - 20)
    const moving = await api.pages('free_ranges', path, () => api.allocate(block))
    expect(moving.flat().slice(-17)).toEqual(still.slice(-17))
  })

  test('is paged as the fewest prefixes, without those that are too small', async () => {
    const block = await api.createBlock('10.0.0.0/26', { allocate_network_address: true })
    await api.allocate(block, { address: '10.0.0.37' })
    const prefixes = [
      ...['10.0.0.0/27', '10.0.0.32/30', '10.0.0.36/32', '10.0.0.38/31', '10.0.0.40/29'],
      ...['10.0.0.48/29', '10.0.0.56/30', '10.0.0.60/31', '10.0.0.62/32'],
    ]
    for (const limit of [1, 2, 100]) {
      const path = `/v2/blocks/${block.id}/free-prefixes?limit=${limit}`
      expect((await api.pages('free_prefixes', path)).flat()).toEqual(prefixes)
      const large = (await api.pages('free_prefixes', `${path}&prefix_length=30`)).flat()
      expect(large).toEqual(prefixes.filter(cidr => Number(cidr.split('/')[1]) <= 30))
    }
  })

  test.each([
    ['0.0.0.0/0', ['0.0.0.0/2', '128.0.0.0/1'], '64.0.0.0/2'],
    ['0.0.0.0/8', ['0.0.0.0/10', '0.128.0.0/9'], '0.64.0.0/10'],
    ['::/0', ['::/2', '8000::/1'], '4000::/2'],
    ['ff00::/8', ['ff00::/10', 'ff80::/9'], 'ff40::/10'],
  ])(
    'of a container %s is complete, from its first to its last address',
    async (cidr, free, cut) => {
      const block = await api.createBlock(cidr)
      await api.cut(block, { cidrs: [cut] })
      const path = `/v2/blocks/${block.id}/free-prefixes?limit=1`
      expect((await api.pages('free_prefixes', path)).flat()).toEqual(free)
      expect((await api.get(`/v2/blocks/${block.id}/free-ranges`)).body.free_ranges).toHaveLength(2)
    },
  )

  test('of different ages is one space', async () => {
    const block = await api.createBlock('10.0.0.0/29', { strategy: 'least_recently_used' })
    for (const held of await api.allocate(block, { count: 6 })) await api.release(held)
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.6'])
  })
})

describe('utilisation', () => {
  const none = { allocated: '0', held: '0', quarantined: '0', excluded: '0', in_children: '0' }

  test.each([
    ['0.0.0.0/0', { total: `${2n ** 32n}`, excluded: '2', free: `${2n ** 32n - 2n}` }],
    ['::/0', { total: `${2n ** 128n}`, free: `${2n ** 128n}` }],
    ['2001:db8::/64', { total: `${2n ** 64n}`, excluded: '1', free: `${2n ** 64n - 1n}` }],
    ['10.0.0.0/32', { total: '1', free: '1' }],
  ])('of %s is exact', async (cidr, counts) => {
    expect(await api.utilisation(await api.createBlock(cidr))).toEqual({ ...none, ...counts })
  })

  test('counts what is allocated, address by address, also in the largest block', async () => {
    const block = await api.createBlock('::/0')
    await api.allocate(block, { count: 3 })
    const half = await api.allocateOne(block, { prefix_length: 1 })
    const total = 2n ** 128n
    expect(await api.utilisation(block)).toEqual({
      ...none,
      total: `${total}`,
      allocated: `${total / 2n + 3n}`,
      free: `${total / 2n - 3n}`,
    })
    await api.release(half)
    expect(await api.utilisation(block)).toMatchObject({ allocated: '3', free: `${total - 3n}` })
  })

  test('of a tree is the sum of its blocks', async () => {
    const top = await api.createBlock('10.0.0.0/16')
    const [a, b] = await api.cut(top, { prefix_length: 24, count: 2 })
    if (!a || !b) throw new Error('no children')
    const [leaf] = await api.cut(a, { prefix_length: 26 })
    if (!leaf) throw new Error('no leaf')
    await api.allocate(leaf, { count: 5 })
    await api.allocate(b, { prefix_length: 28 })
    expect(await api.utilisation(top)).toEqual({
      ...none,
      total: '65536',
      allocated: '21',
      excluded: '4',
      in_children: '512',
      free: '65511',
    })
    expect(await api.utilisation(a)).toMatchObject({ total: '256', in_children: '64', free: '249' })
    expect(await api.utilisation(leaf)).toMatchObject({ allocated: '5', excluded: '2', free: '57' })
  })
})
