import { beforeEach, describe, expect, test } from 'vitest'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'

const api = useApi()
beforeEach(() => api.createNetworks())
const patch = (block: Block, change: object) => api.patch(`/v2/blocks/${block.id}`, change)
const change = async (block: Block, to: object): Promise<Block> =>
  expectStatus(200, await patch(block, to))
const conflict = (one: { id: string; cidr?: string; address?: string }) =>
  one.cidr
    ? { type: 'block', id: one.id, address: one.cidr }
    : { type: 'allocation', id: one.id, address: one.address }
const addressesOf = (allocations: readonly { address: string }[]) =>
  allocations.map(({ address }) => address)

describe('settings', () => {
  test('a change touches only what it names', async () => {
    const block = await api.createBlock('10.0.0.0/24', { name: 'a', tags: ['x'] })
    const settings = { name: 'b', dns_nameservers: ['2001:DB8::1'], description: 'new' }
    const changed = await change(block, settings)
    const dns_nameservers = ['2001:db8::1']
    const updated_at = expect.any(String)
    expect(changed).toEqual({ ...block, ...settings, dns_nameservers, generation: 2, updated_at })
    expect((await api.get(`/v2/blocks/${block.id}`)).body).toEqual(changed)
  })

  test.each(['scope_id', 'parent_id', 'network_id', 'project_id', 'version', 'id'])(
    '%s stays as it is',
    async field => {
      const block = await api.createBlock('10.0.0.0/24')
      expectProblem(await patch(block, { [field]: 'public' }), 'invalid_request', { field })
    },
  )

  test('a block that is not there can be neither changed nor deleted', async () => {
    const ghost = { id: '01900000-0000-7000-8000-000000000000' } as Block
    expectProblem(await patch(ghost, { name: 'x' }), 'block_not_found', { status: 404 })
    expectProblem(await api.delete(`/v2/blocks/${ghost.id}`), 'block_not_found')
    for (const view of ['', '/utilisation', '/free-ranges', '/free-prefixes']) {
      expectProblem(await api.get(`/v2/blocks/${ghost.id}${view}`), 'block_not_found')
    }
  })
})

describe('the gateway', () => {
  test('is not given out; another one frees the old and takes the new', async () => {
    const block = await api.createBlock('10.0.0.0/29', { gateway_ip: '10.0.0.1' })
    expectProblem(await api.ask(block, { address: '10.0.0.1' }), 'address_excluded')
    expect(await change(block, { gateway_ip: '10.0.0.6' })).toMatchObject({
      gateway_ip: '10.0.0.6',
    })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.5'])
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.1' })
    expectProblem(await api.ask(block, { address: '10.0.0.6' }), 'address_excluded')
    await change(block, { gateway_ip: null })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.2-10.0.0.6'])
  })

  test('that somebody holds is refused with the name of the holder', async () => {
    const block = await api.createBlock('2001:db8::/64', { gateway_ip: '2001:db8::1' })
    const held = await api.allocateOne(block, { address: '2001:db8::99' })
    const prefix = await api.allocateOne(block, { address: '2001:db8:0:0:8000::/65' })
    const before = await api.freeRanges(block)
    for (const [gateway_ip, holder] of [
      ['2001:db8::99', held],
      ['2001:db8::8000:0:0:1', prefix],
    ] as const) {
      const facts = { status: 409, conflicts: [conflict(holder)] }
      expectProblem(await patch(block, { gateway_ip }), 'gateway_taken', facts)
    }
    expect((await api.get(`/v2/blocks/${block.id}`)).body).toEqual(block)
    expect(await api.freeRanges(block)).toEqual(before)
  })

  test.each(['::1:2', '::ffff:10.0.0.1', '2001:db8:0:1:1:1:1:1', '::9', '1:0:0:2::'])(
    '%s is named in one spelling, and found by it',
    async address => {
      const block = await api.createBlock('::/0')
      const held = await api.allocateOne(block, { address })
      const facts = { conflicts: [conflict(held)] }
      expectProblem(await patch(block, { gateway_ip: address }), 'gateway_taken', facts)
      await api.release(held)
      const { gateway_ip } = await change(block, { gateway_ip: address })
      expect(gateway_ip).toBe(held.address)
      await api.patch(`/v2/blocks/${block.id}`, { gateway_ip: null })
      await api.allocate(block, { address: held.address })
    },
  )

  test.each([
    ['10.0.0.0/24', '10.0.0.0'],
    ['10.0.0.0/24', '10.0.0.255'],
    ['10.0.0.0/24', '10.0.1.1'],
    ['10.0.0.0/24', '2001:db8::1'],
    ['10.0.0.0/24', 'fe80::1'],
    ['2001:db8::/64', '2001:db8::'],
    ['2001:db8::/64', '2001:db9::1'],
    ['2001:db8::/64', '10.0.0.1'],
  ])('of %s cannot be %s', async (cidr, gateway_ip) => {
    const facts = { status: 409, field: 'gateway_ip' }
    const wish = { scope_id: 'public', cidr, gateway_ip }
    expectProblem(await api.post('/v2/blocks', wish), 'gateway_unusable', facts)
    const block = await api.createBlock(cidr)
    expectProblem(await patch(block, { gateway_ip }), 'gateway_unusable', facts)
  })

  test.each([
    ['10.0.0.0/31', '10.0.0.0'],
    ['10.0.0.7/32', '10.0.0.7'],
    ['2001:db8::/64', 'fe80::1'],
    ['2001:db8::/127', '2001:db8::'],
    ['2001:db8::/56', '2001:db8::'],
  ])('of %s can be %s', async (cidr, gateway_ip) => {
    expect(await api.createBlock(cidr, { gateway_ip })).toMatchObject({ gateway_ip })
  })
})

describe('which addresses are given out', () => {
  test.each([
    ['10.0.0.0/29', {}, ['10.0.0.1-10.0.0.6']],
    ['10.0.0.0/30', {}, ['10.0.0.1-10.0.0.2']],
    ['10.0.0.0/31', {}, ['10.0.0.0-10.0.0.1']],
    ['10.0.0.0/32', {}, ['10.0.0.0-10.0.0.0']],
    ['10.0.0.0/30', { allocate_network_address: true }, ['10.0.0.0-10.0.0.2']],
    ['10.0.0.0/29', { gateway_ip: '10.0.0.3' }, ['10.0.0.1-10.0.0.2', '10.0.0.4-10.0.0.6']],
    ['10.0.0.0/31', { gateway_ip: '10.0.0.0' }, ['10.0.0.1-10.0.0.1']],
    ['10.0.0.0/32', { gateway_ip: '10.0.0.0' }, []],
    ['2001:db8::/126', {}, ['2001:db8::1-2001:db8::3']],
    ['2001:db8::/127', {}, ['2001:db8::-2001:db8::1']],
    ['2001:db8::/128', {}, ['2001:db8::-2001:db8::']],
    ['2001:db8::/64', {}, ['2001:db8::1-2001:db8::ffff:ffff:ffff:ffff']],
    ['2001:db8::/63', {}, ['2001:db8::-2001:db8:0:1:ffff:ffff:ffff:ffff']],
    ['2001:db8::/126', { gateway_ip: 'fe80::1' }, ['2001:db8::1-2001:db8::3']],
    ['255.255.255.0/24', {}, ['255.255.255.1-255.255.255.254']],
    ['255.255.255.254/31', {}, ['255.255.255.254-255.255.255.255']],
  ])('of %s with %j: %s', async (cidr, settings, ranges) => {
    expect(await api.freeRanges(await api.createBlock(cidr, settings))).toEqual(ranges)
  })

  test('the network address is given back and taken as allocate_network_address says', async () => {
    const block = await api.createBlock('10.0.0.0/30')
    await change(block, { allocate_network_address: true })
    const held = await api.allocateOne(block)
    expect(held.address).toBe('10.0.0.0')
    const facts = { status: 409, conflicts: [conflict(held)] }
    expectProblem(await patch(block, { allocate_network_address: false }), 'block_in_use', facts)
    await api.release(held)
    await change(block, { allocate_network_address: false })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.2'])
  })
})

describe('growing and shrinking', () => {
  test('a block grows with what it holds, and its new addresses are free', async () => {
    const block = await api.createBlock('10.0.0.128/25', { gateway_ip: '10.0.0.129' })
    const [held] = await api.allocate(block)
    expect(await change(block, { cidr: '10.0.0.0/24' })).toMatchObject({ cidr: '10.0.0.0/24' })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.128', '10.0.0.131-10.0.0.254'])
    expect((await api.get(`/v2/allocations/${held?.id}`)).body).toEqual(held)
  })

  test('a block shrinks when nothing is lost, and is back where it was after growing', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await api.allocate(block, { address: '10.0.0.9' })
    const ranges = await api.freeRanges(block)
    await change(block, { cidr: '10.0.0.0/28' })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.8', '10.0.0.10-10.0.0.14'])
    await change(block, { cidr: '10.0.0.0/24' })
    expect(await api.freeRanges(block)).toEqual(ranges)
  })

  test('what would be lost, or would become the broadcast address, is named', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const [low, high] = await Promise.all(
      ['10.0.0.127', '10.0.0.200'].map(address => api.allocateOne(block, { address })),
    )
    if (!low || !high) throw new Error('no allocations')
    const lost = { status: 409, conflicts: [conflict(high)] }
    expectProblem(await patch(block, { cidr: '10.0.0.0/25' }), 'block_in_use', lost)
    await api.release(high)
    const kept = { conflicts: [conflict(low)] }
    expectProblem(await patch(block, { cidr: '10.0.0.0/25' }), 'block_in_use', kept)
    const prefix = await api.allocateOne(block, { address: '10.0.0.128/26' })
    const both = { conflicts: [conflict(prefix)] }
    expectProblem(await patch(block, { cidr: '10.0.0.0/25' }), 'block_in_use', both)
    expect((await api.get(`/v2/blocks/${block.id}`)).body).toEqual(block)
  })

  test('a gateway outside the new extent is refused, unless it changes as well', async () => {
    const block = await api.createBlock('10.0.0.0/24', { gateway_ip: '10.0.0.254' })
    expectProblem(await patch(block, { cidr: '10.0.0.0/25' }), 'gateway_unusable')
    const small = await change(block, { cidr: '10.0.0.0/25', gateway_ip: '10.0.0.126' })
    expect(await api.freeRanges(small)).toEqual(['10.0.0.1-10.0.0.125'])
  })

  test('a block cannot move', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    for (const cidr of ['10.0.1.0/24', '11.0.0.0/8', '::/0']) {
      expectProblem(await patch(block, { cidr }), 'block_cannot_move', { status: 409 })
    }
    const facts = { suggestion: '10.0.0.0/23' }
    expectProblem(await patch(block, { cidr: '10.0.0.1/23' }), 'cidr_has_host_bits', facts)
  })

  test('growing into another block of the scope or of the network names it', async () => {
    const { body: scope } = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
    const block = await api.createBlock('10.0.0.0/24', { network_id: networks[0] })
    const beside = await api.createBlock('10.0.1.0/24')
    const settings = { scope_id: scope.id, network_id: networks[0] }
    const inNetwork = await api.createBlock('10.0.2.0/24', settings)
    const facts = { status: 409, conflicts: [conflict(beside)] }
    expectProblem(await patch(block, { cidr: '10.0.0.0/23' }), 'block_overlaps', facts)
    await api.delete(`/v2/blocks/${beside.id}`)
    expectProblem(await patch(block, { cidr: '10.0.0.0/22' }), 'block_overlaps_in_network', {
      status: 409,
      conflicts: [conflict(inNetwork)],
    })
    await change(block, { cidr: '10.0.0.0/23' })
  })

  test('a child grows and shrinks inside its parent, beside its siblings', async () => {
    const parent = await api.createBlock('10.0.0.0/22')
    const [child, sibling] = await api.cut(parent, { cidrs: ['10.0.0.0/24', '10.0.2.0/24'] })
    if (!child || !sibling) throw new Error('no children')
    const overlap = { conflicts: [conflict(sibling)] }
    expectProblem(await patch(child, { cidr: '10.0.0.0/22' }), 'block_overlaps', overlap)
    expectProblem(await patch(child, { cidr: '10.0.0.0/21' }), 'block_outside_parent')
    await change(child, { cidr: '10.0.0.0/23' })
    expect(await api.freeRanges(parent)).toEqual(['10.0.3.0-10.0.3.255'])
    await change(child, { cidr: '10.0.1.0/25' })
    expect(await api.freeRanges(parent)).toEqual([
      '10.0.0.0-10.0.0.255',
      '10.0.1.128-10.0.1.255',
      '10.0.3.0-10.0.3.255',
    ])
  })

  test('a parent grows and shrinks around its children, and names those it would lose', async () => {
    const parent = await api.createBlock('10.0.0.0/22')
    const children = await api.cut(parent, { cidrs: ['10.0.0.0/24', '10.0.1.0/24'] })
    const [kept, lost] = children
    if (!kept || !lost) throw new Error('no children')
    const facts = { status: 409, conflicts: [conflict(lost)] }
    expectProblem(await patch(parent, { cidr: '10.0.0.0/24' }), 'block_in_use', facts)
    await change(parent, { cidr: '10.0.0.0/23' })
    expect(await api.freeRanges(parent)).toEqual([])
    await change(parent, { cidr: '10.0.0.0/8' })
    const next = await api.cut(parent, { prefix_length: 9 })
    expect(next).toMatchObject([{ cidr: '10.128.0.0/9', parent_id: parent.id }])
    expect((await api.get(`/v2/blocks/${kept.id}`)).body).toEqual(kept)
  })

  test('a block that keeps ages shrinks over space of different ages', async () => {
    const block = await api.createBlock('10.0.0.0/24', { strategy: 'least_recently_used' })
    await api.release(await api.allocateOne(block, { address: '10.0.0.200' }))
    await change(block, { cidr: '10.0.0.0/25' })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.126'])
  })

  test('a parent whose strategy changes still joins what its children give back', async () => {
    const parent = await api.createBlock('10.0.0.0/24')
    const [a, b] = await api.cut(parent, { prefix_length: 26, count: 2 })
    await change(parent, { strategy: 'least_recently_used' })
    await api.delete(`/v2/blocks/${b?.id}`)
    expect(await api.freeRanges(parent)).toEqual(['10.0.0.64-10.0.0.255'])
    await change(parent, { strategy: 'sequential' })
    await api.delete(`/v2/blocks/${a?.id}`)
    expect(await api.freeRanges(parent)).toEqual(['10.0.0.1-10.0.0.254'])
  })
})

describe('deleting', () => {
  test('a block with allocations stays, and they are named', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const held = await api.allocateOne(block)
    const facts = { status: 409, conflicts: [conflict(held)] }
    expectProblem(await api.delete(`/v2/blocks/${block.id}`), 'block_in_use', facts)
    await api.release(held)
    expect((await api.delete(`/v2/blocks/${block.id}`)).status).toBe(204)
    expectProblem(await api.get(`/v2/blocks/${block.id}`), 'block_not_found')
    expectProblem(await api.ask(block), 'block_not_found')
  })

  test('a block with children stays, and they are named', async () => {
    const parent = await api.createBlock('10.0.0.0/24')
    const children = await api.cut(parent, { prefix_length: 26, count: 3 })
    const conflicts = children.map(conflict)
    const refused = await api.delete(`/v2/blocks/${parent.id}`)
    expectProblem(refused, 'block_has_children', { status: 409, conflicts })
  })

  test('a child gives its space back to its parent', async () => {
    const parent = await api.createBlock('::/0')
    const children = await api.cut(parent, { prefix_length: 2, count: 4 })
    for (const { id } of children.slice(1, 3)) await api.delete(`/v2/blocks/${id}`)
    expect(await api.freeRanges(parent)).toEqual(['4000::-bfff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'])
  })

  test('while others allocate: either it goes, or it stays with their allocations', async () => {
    const blocks = await Promise.all(
      Array.from({ length: 8 }, (_, n) => api.createBlock(`10.0.${n}.0/24`)),
    )
    const outcomes = await Promise.all(
      blocks.map(block => Promise.all([api.ask(block), api.delete(`/v2/blocks/${block.id}`)])),
    )
    for (const [asked, deleted] of outcomes) {
      expect([asked.body.code ?? asked.status, deleted.body?.code ?? deleted.status]).toBeOneOf([
        [201, 'block_in_use'],
        ['block_not_found', 204],
      ])
    }
  })
})

describe('inserting a parent above blocks', () => {
  const adopt = (cidr: string, more: object) =>
    api.post('/v2/blocks', { cidr, adopt_children: true, ...more })

  test('at the top: they become its children, with all that they hold', async () => {
    const [a, b] = [await api.createBlock('10.0.0.0/24'), await api.createBlock('10.0.3.0/24')]
    const outside = await api.createBlock('10.1.0.0/16')
    const held = await api.allocate(a, { count: 3 })
    const parent = expectStatus(201, await adopt('10.0.0.0/16', { scope_id: 'public' }))
    const { blocks } = (await api.get(`/v2/blocks?parent_id=${parent.id}&sort=cidr`)).body
    expect(blocks).toMatchObject([
      { id: a.id, generation: 2 },
      { id: b.id, generation: 2 },
    ])
    expect(await api.freeRanges(parent)).toEqual(['10.0.1.0-10.0.2.255', '10.0.4.0-10.0.255.255'])
    expect((await api.get(`/v2/allocations?block_id=${a.id}`)).body.allocations).toEqual(held)
    expect((await api.get(`/v2/blocks/${outside.id}`)).body).toEqual(outside)
    expect(await api.utilisation(parent)).toMatchObject({ in_children: '512', allocated: '3' })
  })

  test('inside a block: the space between them is taken from it', async () => {
    const top = await api.createBlock('10.0.0.0/16')
    const children = await api.cut(top, { cidrs: ['10.0.0.0/24', '10.0.2.0/24', '10.0.9.0/24'] })
    const middle = expectStatus(201, await adopt('10.0.0.0/22', { parent_id: top.id }))
    expect(middle.parent_id).toBe(top.id)
    expect(await api.freeRanges(middle)).toEqual(['10.0.1.0-10.0.1.255', '10.0.3.0-10.0.3.255'])
    expect(await api.freeRanges(top)).toEqual(['10.0.4.0-10.0.8.255', '10.0.10.0-10.0.255.255'])
    const { blocks } = (await api.get(`/v2/blocks?parent_id=${top.id}&sort=cidr`)).body
    expect(blocks.map(({ id }) => id)).toEqual([middle.id, children[2]?.id])
  })

  test('above a whole block of the same CIDR, and above nothing', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const parent = expectStatus(201, await adopt('10.0.0.0/24', { scope_id: 'public' }))
    expect((await api.get(`/v2/blocks/${block.id}`)).body.parent_id).toBe(parent.id)
    const alone = expectStatus(201, await adopt('10.1.0.0/24', { scope_id: 'public' }))
    expect(addressesOf(await api.allocate(alone))).toEqual(['10.1.0.1'])
  })

  test('not when one of them would stick out, and then nothing has changed', async () => {
    const [inside, around] = [
      await api.createBlock('11.0.0.0/8'),
      await api.createBlock('10.0.0.0/8'),
    ]
    const refused = await adopt('10.0.0.0/16', { scope_id: 'public' })
    expectProblem(refused, 'block_overlaps', { conflicts: [conflict(around)] })
    expect((await api.get('/v2/blocks?sort=cidr')).body.blocks).toEqual([around, inside])
  })

  test('in one network; a parent in a network takes only blocks of that network', async () => {
    const block = await api.createBlock('10.0.0.0/24', { network_id: networks[0] })
    const wish = { scope_id: 'public', network_id: networks[1] }
    expectProblem(await adopt('10.0.0.0/16', wish), 'block_network_differs', { status: 409 })
    const parent = expectStatus(
      201,
      await adopt('10.0.0.0/16', { ...wish, network_id: networks[0] }),
    )
    expect((await api.get(`/v2/blocks/${block.id}`)).body.parent_id).toBe(parent.id)
    const { body: scope } = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
    const elsewhere = { scope_id: scope.id, cidr: '10.0.1.0/24', network_id: networks[0] }
    expectProblem(await api.post('/v2/blocks', elsewhere), 'block_overlaps_in_network')
  })
})
