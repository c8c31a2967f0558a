import { describe, expect, test } from 'vitest'
import { expectProblem, useApi } from '../helpers/api.ts'

const api = useApi()
const addressesOf = (allocations: readonly { address: string }[] = []) =>
  allocations.map(({ address }) => address)
const newBlock = (cidr: string, settings: Parameters<typeof api.createBlock>[1] = {}) =>
  api.createBlock(cidr, settings)
const last64 = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff'

describe('an allocation', () => {
  test('answers with who holds what since when, and is shown as it was answered', async () => {
    const block = await newBlock('10.0.0.0/24')
    const owner = { project_id: 'red', owner_type: 'instance', owner_id: 'vm-1' }
    const settings = { ...owner, name: 'eth0', tags: ['a', 'b'] }
    const held = await api.allocateOne(block, settings)
    const place = { block_id: block.id, scope_id: block.scope_id, address: '10.0.0.1' }
    expect(held).toMatchObject({ ...settings, ...place, generation: 1, ended_at: null })
    expect(held.started_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    expect((await api.get(`/v2/allocations/${held.id}`)).body).toEqual(held)
  })

  test('changes its name and tags, if it has the generation that is named', async () => {
    const held = await api.allocateOne(await newBlock('10.0.0.0/24'), { tags: ['a'] })
    const path = `/v2/allocations/${held.id}`
    const changed = await api.patch(path, { name: 'eth1', generation: 1 })
    expect(changed.body).toEqual({ ...held, name: 'eth1', generation: 2 })
    expect((await api.patch(path, { tags: [] })).body).toMatchObject({ name: 'eth1', tags: [] })
    expectProblem(await api.patch(path, { name: 'x', generation: 2 }), 'generation_mismatch')
    expect((await api.get(path)).body).toMatchObject({ name: 'eth1', generation: 3 })
    for (const field of ['address', 'project_id', 'owner_id', 'block_id']) {
      expectProblem(await api.patch(path, { [field]: 'x' }), 'invalid_request', { field })
    }
    await api.release(held)
    expectProblem(await api.patch(path, { name: 'x' }), 'allocation_not_found')
  })
})

describe('the next free address', () => {
  test.each([
    ['0.0.0.0/0', ['0.0.0.1', '0.0.0.2']],
    ['255.255.255.0/24', ['255.255.255.1', '255.255.255.2']],
    ['10.0.0.6/31', ['10.0.0.6', '10.0.0.7']],
    ['::/0', ['::', '::1']],
    ['2001:db8::/64', ['2001:db8::1', '2001:db8::2']],
    [`${last64}:ff00/120`, [`${last64}:ff01`, `${last64}:ff02`]],
    [`${last64}:fffe/127`, [`${last64}:fffe`, `${last64}:ffff`]],
  ])('of %s: %j', async (cidr, addresses) => {
    const block = await newBlock(cidr)
    expect(addressesOf(await api.allocate(block))).toEqual(addresses.slice(0, 1))
    expect(addressesOf(await api.allocate(block))).toEqual(addresses.slice(1))
  })

  test.each([
    ['192.0.2.0/24', {}, 254],
    ['192.0.2.0/24', { gateway_ip: '192.0.2.1' }, 253],
    ['255.255.255.0/24', { strategy: 'random' }, 254],
    ['0.0.0.0/24', { strategy: 'least_recently_used' }, 254],
    [`${last64}:ff00/120`, {}, 255],
    ['192.0.2.0/31', {}, 2],
    ['192.0.2.255/32', { strategy: 'random' }, 1],
    ['::/128', {}, 1],
  ] as const)('a full %s with %j has given %i, then says so', async (cidr, settings, size) => {
    const block = await newBlock(cidr, settings)
    const answers = await Promise.all(Array.from({ length: size + 2 }, () => api.ask(block)))
    const given = answers.flatMap(({ body }) => addressesOf(body.allocations))
    expect([given.length, new Set(given).size]).toEqual([size, size])
    expect(answers.filter(({ body }) => body.code === 'block_full')).toHaveLength(2)
    expect(await api.utilisation(block)).toMatchObject({ allocated: `${size}`, free: '0' })
  })

  test('16 parallel calls get 16 distinct addresses (netbox issue 2519)', async () => {
    const block = await newBlock('2001:db8::/64')
    const given = await Promise.all(Array.from({ length: 16 }, () => api.allocateOne(block)))
    const lowest = Array.from({ length: 16 }, (_, n) => `2001:db8::${(n + 1).toString(16)}`)
    expect(addressesOf(given).toSorted()).toEqual(lowest.toSorted())
    expect(await api.freeRanges(block)).toEqual(['2001:db8::11-2001:db8::ffff:ffff:ffff:ffff'])
  })

  test('n at once are all or none', async () => {
    const block = await newBlock('10.0.0.0/28')
    await api.allocate(block, { address: '10.0.0.3' })
    const given = addressesOf(await api.allocate(block, { count: 5 }))
    expect(given).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.4', '10.0.0.5', '10.0.0.6'])
    expectProblem(await api.ask(block, { count: 9 }), 'block_full', { status: 409 })
    expect(await api.utilisation(block)).toMatchObject({ allocated: '6', free: '8' })
    expect(await api.allocate(block, { count: 8 })).toHaveLength(8)
  })

  test('a call that is too large does not fail those that come with it', async () => {
    const block = await newBlock('10.0.0.0/29')
    const wishes = [2, 7, 3, 2, 1].map(count => api.ask(block, { count }))
    const statuses = (await Promise.all(wishes)).map(({ status }) => status)
    expect(statuses).toEqual([201, 409, 201, 409, 201])
  })
})

describe('a specific address', () => {
  test.each([
    ['0.0.0.0/0', '255.255.255.254'],
    ['255.255.255.254/31', '255.255.255.255'],
    ['::/0', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    [`${last64}:ff00/120`, `${last64}:ffff`],
    ['2001:db8::/64', '2001:DB8:0:0::00ff'],
  ])('of %s: %s is taken once', async (cidr, address) => {
    const block = await newBlock(cidr)
    const held = await api.allocateOne(block, { address })
    expect(held.address).toBe(address.toLowerCase().replace(':0:0::00ff', '::ff'))
    expectProblem(await api.ask(block, { address }), 'address_taken', {
      status: 409,
      field: 'address',
    })
    await api.release(held)
    expect(await api.allocateOne(block, { address })).toMatchObject({ address: held.address })
  })

  test.each([
    ['10.0.0.0', 'address_excluded'],
    ['10.0.0.255', 'address_excluded'],
    ['10.0.0.1', 'address_excluded'],
    ['10.0.1.1', 'address_outside_block'],
    ['::a00:9', 'address_outside_block'],
  ])('that cannot be had is refused: %s, %s', async (address, code) => {
    const block = await newBlock('10.0.0.0/24', { gateway_ip: '10.0.0.1' })
    expectProblem(await api.ask(block, { address }), code, { status: 409 })
  })

  test('of many concurrent requests for it one wins; with fallback all win', async () => {
    const block = await newBlock('10.0.0.0/24')
    const ask = (more: object) =>
      Promise.all(
        Array.from({ length: 8 }, () => api.ask(block, { address: '10.0.0.99', ...more })),
      )
    const strict = (await ask({})).map(({ status }) => status)
    expect(strict.toSorted()).toEqual([201, ...Array(7).fill(409)])
    const flexible = await ask({ fallback: 'next' })
    const given = flexible.flatMap(({ body }) => addressesOf(body.allocations))
    expect(given.toSorted()).toEqual(Array.from({ length: 8 }, (_, n) => `10.0.0.${n + 1}`))
  })

  test('falls back to the next one when it is taken or kept back, not when outside', async () => {
    const block = await newBlock('10.0.0.0/24')
    const wish = (address: string) => api.ask(block, { address, fallback: 'next' })
    expect((await wish('10.0.0.7')).body.allocations).toMatchObject([{ address: '10.0.0.7' }])
    expect((await wish('10.0.0.7')).body.allocations).toMatchObject([{ address: '10.0.0.1' }])
    expect((await wish('10.0.0.255')).body.allocations).toMatchObject([{ address: '10.0.0.2' }])
    expectProblem(await wish('10.0.1.7'), 'address_outside_block')
  })
})

describe('contiguous addresses', () => {
  test.each([
    ['10.0.0.0/24', 8, '10.0.0.8', '10.0.0.15'],
    ['10.0.0.0/24', 5, '10.0.0.8', '10.0.0.12'],
    ['10.0.0.0/24', 1, '10.0.0.1', '10.0.0.1'],
    ['255.255.255.0/24', 60, '255.255.255.64', '255.255.255.123'],
    ['::/0', 16, '::', '::f'],
    [`${last64}:ff00/120`, 128, `${last64}:ff80`, `${last64}:ffff`],
  ])('of %s: %i are aligned, from %s to %s', async (cidr, count, first, last) => {
    const given = addressesOf(await api.allocate(await newBlock(cidr), { count, contiguous: true }))
    expect([given.length, given[0], given.at(-1)]).toEqual([count, first, last])
    expect(new Set(given).size).toBe(count)
  })

  test('come from the smallest gap, or not at all', async () => {
    const block = await newBlock('10.0.0.0/27')
    await api.allocate(block, { address: '10.0.0.12' })
    const four = async () => addressesOf(await api.allocate(block, { count: 4, contiguous: true }))
    const [first] = [await four(), await four(), await four(), await four()]
    expect(first).toEqual(['10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.7'])
    const [most] = [await four()]
    expect(most).toHaveLength(4)
    const refused = await api.ask(block, { count: 4, contiguous: true })
    expectProblem(refused, 'no_free_prefix', { status: 409 })
    expect(await api.utilisation(block)).toMatchObject({ allocated: '21', free: '9' })
  })
})

describe('a delegated prefix', () => {
  test.each([
    ['2001:db8::/40', 56, ['2001:db8::/56', '2001:db8:0:100::/56']],
    ['::/0', 1, ['::/1', '8000::/1']],
    ['0.0.0.0/0', 2, ['64.0.0.0/2', '128.0.0.0/2']],
    ['255.255.255.0/24', 26, ['255.255.255.64/26', '255.255.255.128/26']],
    [`${last64}:ff00/120`, 121, [`${last64}:ff80/121`]],
    [`${last64}:ff00/120`, 128, [`${last64}:ff01`, `${last64}:ff02`]],
  ])('of %s: the next free /%i are %j', async (cidr, prefix_length, prefixes) => {
    const block = await newBlock(cidr)
    for (const address of prefixes) {
      expect(await api.allocateOne(block, { prefix_length })).toMatchObject({ address })
    }
  })

  test('is counted, looked up, and given back as a whole', async () => {
    const block = await newBlock('2001:db8::/40')
    const held = await api.allocateOne(block, { address: '2001:db8:12:3400::/56' })
    expect(await api.utilisation(block)).toMatchObject({ allocated: `${2n ** 72n}` })
    for (const address of ['2001:db8:12:34ff::1', '2001:db8:12:3400::/56']) {
      const { body } = await api.get(`/v2/allocations?scope_id=public&address=${address}`)
      expect(body.allocations).toEqual([held])
    }
    await api.release(held)
    const everything = '2001:db8::-2001:db8:ff:ffff:ffff:ffff:ffff:ffff'
    expect(await api.freeRanges(block)).toEqual([everything])
  })

  test('is free of what others hold, and keeps others out', async () => {
    const block = await newBlock('10.0.0.0/24')
    await api.allocate(block, { address: '10.0.0.9' })
    await api.allocate(block, { address: '10.0.0.64/26' })
    for (const address of ['10.0.0.8/29', '10.0.0.65', '10.0.0.64/27', '10.0.0.64/26']) {
      expectProblem(await api.ask(block, { address }), 'address_taken', { status: 409 })
    }
    expectProblem(await api.ask(block, { address: '10.0.0.0/29' }), 'address_excluded')
    expectProblem(await api.ask(block, { address: '10.0.0.0/23' }), 'address_outside_block')
    const facts = { suggestion: '10.0.0.128/25' }
    expectProblem(await api.ask(block, { address: '10.0.0.129/25' }), 'cidr_has_host_bits', facts)
    for (const prefix_length of [24, 25, 33, 128]) {
      expectProblem(await api.ask(block, { prefix_length }), 'no_free_prefix', { status: 409 })
    }
    expect(await api.allocateOne(block, { prefix_length: 26 })).toMatchObject({
      address: '10.0.0.128/26',
    })
  })
})

describe('strategies', () => {
  test('sequential gives the lowest, also what has just come back', async () => {
    const block = await newBlock('10.0.0.0/24')
    const [first] = await api.allocate(block, { count: 3 })
    if (first) await api.release(first)
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.1' })
  })

  test.each(['0.0.0.0/0', '::/0', '2001:db8::/64', '255.255.0.0/16'])(
    'random spreads over the whole of %s, and never repeats',
    async cidr => {
      const block = await newBlock(cidr, { strategy: 'random' })
      const given = addressesOf(await api.allocate(block, { count: 64 }))
      expect(new Set(given).size).toBe(64)
      expect(given.toSorted()).not.toEqual(given)
      expect(await api.freeRanges(block)).not.toHaveLength(1)
    },
  )

  test('least recently used gives the never used first, then what came back first', async () => {
    const block = await newBlock('10.0.0.0/29', { strategy: 'least_recently_used' })
    const held = await api.allocate(block, { count: 4 })
    for (const index of [2, 0, 3]) await api.release(held[index] ?? { id: '' })
    expect(addressesOf(await api.allocate(block, { count: 2 }))).toEqual(['10.0.0.5', '10.0.0.6'])
    const again = [await api.allocateOne(block), ...(await api.allocate(block, { count: 2 }))]
    expect(addressesOf(again)).toEqual(['10.0.0.3', '10.0.0.1', '10.0.0.4'])
  })

  test('can be switched at any time', async () => {
    const block = await newBlock('10.0.0.0/28')
    const path = `/v2/blocks/${block.id}`
    const held = await api.allocate(block, { count: 3 })
    await api.patch(path, { strategy: 'least_recently_used' })
    await api.release(held[1] ?? { id: '' })
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.4' })
    await api.patch(path, { strategy: 'sequential' })
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.2' })
    await api.patch(path, { strategy: 'random' })
    expect(await api.allocate(block, { count: 10 })).toHaveLength(10)
    expectProblem(await api.ask(block), 'block_full')
  })

  test('space of different ages is one space for prefixes', async () => {
    const block = await newBlock('10.0.0.0/28', { strategy: 'least_recently_used' })
    for (const held of await api.allocate(block, { count: 14 })) await api.release(held)
    const prefix = await api.allocateOne(block, { address: '10.0.0.4/30' })
    expect(await api.allocateOne(block, { prefix_length: 30 })).toMatchObject({
      address: '10.0.0.8/30',
    })
    await api.release(prefix)
    expect(await api.allocate(block, { count: 4, contiguous: true })).toHaveLength(4)
  })
})

test.each([
  [{ address: '10.0.0.9', count: 2 }, 'count'],
  [{ prefix_length: 28, count: 2 }, 'count'],
  [{ address: '10.0.0.9', prefix_length: 28 }, 'prefix_length'],
  [{ fallback: 'next' }, 'fallback'],
  [{ fallback: 'next', address: '10.0.0.8/30' }, 'fallback'],
  [{ contiguous: true }, 'contiguous'],
  [{ count: 0 }, 'count'],
  [{ count: 4097 }, 'count'],
  [{ address: '10.0.0' }, 'address'],
] as const)('%j is refused: the members do not go together', async (wish, field) => {
  const block = await newBlock('10.0.0.0/24')
  expectProblem(await api.ask(block, wish), 'invalid_request', { status: 400, field })
})
