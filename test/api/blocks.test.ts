import { beforeEach, describe, expect, test } from 'vitest'
import { expectProblem, networks, useApi } from '../helpers/api.ts'

const api = useApi()
beforeEach(() => api.createNetworks())
const cidrsOf = (blocks: readonly { cidr: string }[]) => blocks.map(({ cidr }) => cidr)
const create = (cidr: string, more: object = {}) =>
  api.post('/v2/blocks', { scope_id: 'public', cidr, ...more })

describe('creating a block', () => {
  test('answers with all its settings in canonical form, and where it is', async () => {
    const settings = { network_id: networks[0], project_id: 'red', name: 'web', tags: ['a'] }
    const { status, body, headers } = await create('2001:DB8:0::/64', {
      ...settings,
      gateway_ip: '2001:db8:0:0::0001',
      dns_nameservers: ['2001:DB8::53', '192.0.2.53'],
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      ...settings,
      cidr: '2001:db8::/64',
      version: 6,
      parent_id: null,
      gateway_ip: '2001:db8::1',
      dns_nameservers: ['2001:db8::53', '192.0.2.53'],
      allocate_network_address: false,
      strategy: null,
      generation: 1,
    })
    expect(headers.location).toBe(`/v2/blocks/${body.id}`)
    expect((await api.get(`/v2/blocks/${body.id}`)).body).toEqual(body)
  })

  test('names its scope or its parent: nothing is global by omission', async () => {
    const { id: parent_id } = await api.createBlock('10.0.0.0/8')
    for (const place of [{}, { scope_id: 'public', parent_id }]) {
      const answer = await api.post('/v2/blocks', { cidr: '10.0.0.0/24', ...place })
      expectProblem(answer, 'invalid_request', { status: 400, field: 'scope_id' })
    }
    const nowhere = '01900000-0000-7000-8000-000000000000'
    expectProblem(await create('10.0.0.0/8', { scope_id: nowhere }), 'address_scope_not_found')
    const orphan = await api.post('/v2/blocks', { cidr: '10.0.0.0/24', parent_id: nowhere })
    expectProblem(orphan, 'block_not_found', { status: 404 })
  })

  test.each([
    ['192.0.2.1/24', '192.0.2.0/24'],
    ['10.255.255.255/0', '0.0.0.0/0'],
    ['2001:db8::1/64', '2001:db8::/64'],
  ])('%s is refused with the network it would be', async (cidr, suggestion) => {
    const facts = { status: 400, field: 'cidr', suggestion }
    expectProblem(await create(cidr), 'cidr_has_host_bits', facts)
    const block = await api.createBlock(cidr.includes(':') ? '::/0' : '0.0.0.0/0')
    const cut = await api.post(`/v2/blocks/${block.id}/children`, { cidrs: [cidr] })
    expectProblem(cut, 'cidr_has_host_bits', { field: 'cidrs/0', suggestion })
  })

  test.each(['10.0.0.0', '10.0.0.0/33', '010.0.0.0/8', '::/129', 'fe80::%1/64', 'x', ''])(
    '%j is refused: it is no CIDR',
    async cidr => expectProblem(await create(cidr), 'invalid_request', { field: 'cidr' }),
  )

  test('top-level blocks of a scope never overlap, and a refusal names what is there (I2)', async () => {
    const [low, high] = [await api.createBlock('10.0.0.0/9'), await api.createBlock('10.128.0.0/9')]
    const conflicts = [low, high].map(({ id, cidr }) => ({ type: 'block', id, address: cidr }))
    expectProblem(await create('10.0.0.0/8'), 'block_overlaps', { status: 409, conflicts })
    expectProblem(await create('10.128.0.0/24'), 'block_overlaps', { conflicts: [conflicts[1]] })
    expectProblem(await create('10.0.0.0/9'), 'block_overlaps', { conflicts: [conflicts[0]] })
    expectProblem(await create('0.0.0.0/0'), 'block_overlaps', { conflicts })
    await api.createBlock('11.0.0.0/8')
    await api.createBlock('::/0')
  })

  test('the top blocks of a network never overlap, whatever their scopes (I2)', async () => {
    const { body: scope } = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
    const block = await api.createBlock('10.0.0.0/8', { network_id: networks[0] })
    const there = { scope_id: scope.id, network_id: networks[0] }
    const refused = await create('10.1.0.0/16', there)
    expectProblem(refused, 'block_overlaps_in_network', {
      status: 409,
      conflicts: [{ type: 'block', id: block.id, address: '10.0.0.0/8' }],
    })
    await api.createBlock('11.0.0.0/8', there)
    await api.createBlock('10.1.0.0/16', { ...there, network_id: networks[1] })
    await api.cut(block, { prefix_length: 9 })
  })

  test('of 64 concurrent overlapping creates exactly one succeeds', async () => {
    const cidrs = Array.from({ length: 64 }, (_, n) => `10.0.0.0/${8 + (n % 16)}`)
    const answers = await Promise.all(cidrs.map(cidr => create(cidr)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ body }) => body.code === 'block_overlaps')).toHaveLength(63)
    expect((await api.get('/v2/blocks')).body.blocks).toHaveLength(1)
  })

  test('of 64 concurrent overlapping creates in scopes of one network one succeeds', async () => {
    const scopes = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        api.post('/v2/address-scopes', { project_id: 'red', name: `lab-${n}` }),
      ),
    )
    const wishes = Array.from({ length: 64 }, (_, n) => ({
      scope_id: scopes[n % 8]?.body.id,
      network_id: networks[0],
    }))
    const answers = await Promise.all(wishes.map(wish => create('10.0.0.0/24', wish)))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, ...Array(63).fill(409)])
  })
})

describe('cutting children', () => {
  test('takes CIDRs inside the block, one or many, which inherit project and network', async () => {
    const parent = await api.createBlock('10.0.0.0/8', {
      network_id: networks[0],
      project_id: 'red',
    })
    const request = { cidrs: ['10.1.0.0/16', '10.3.0.0/24'], name: 'rack', strategy: 'random' }
    const children = await api.cut(parent, request as { strategy: 'random' })
    expect(children).toMatchObject([
      { cidr: '10.1.0.0/16', parent_id: parent.id, network_id: networks[0], project_id: 'red' },
      { cidr: '10.3.0.0/24', parent_id: parent.id, name: 'rack', strategy: 'random' },
    ])
    const other = await api.post(`/v2/blocks/${parent.id}/children`, {
      cidrs: ['10.5.0.0/16'],
      network_id: networks[1],
    })
    expectProblem(other, 'block_network_differs', { status: 409 })
  })

  test('the next free prefix comes from the smallest gap that holds it', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await api.cut(block, { cidrs: ['10.0.0.64/26', '10.0.0.144/28', '10.0.0.192/27'] })
    // Free: .0/26, .128/28, .160/27 and .224/27.
    const cut = async (prefix_length: number) => cidrsOf(await api.cut(block, { prefix_length }))
    expect(await cut(28)).toEqual(['10.0.0.128/28'])
    expect(await cut(29)).toEqual(['10.0.0.160/29'])
    expect(await cut(28)).toEqual(['10.0.0.176/28'])
    expect(await cut(30)).toEqual(['10.0.0.168/30'])
    expect(await cut(27)).toEqual(['10.0.0.224/27'])
    expect(await cut(26)).toEqual(['10.0.0.0/26'])
    expect(cidrsOf(await api.cut(block, { prefix_length: 31, count: 2 }))).toEqual([
      '10.0.0.172/31',
      '10.0.0.174/31',
    ])
    const full = await api.post(`/v2/blocks/${block.id}/children`, { prefix_length: 32 })
    expectProblem(full, 'no_free_prefix', { status: 409 })
  })

  test.each([
    ['is not inside', { cidrs: ['10.0.1.0/26', '10.1.0.0/24'] }, 'block_outside_parent'],
    ['overlaps a sibling', { cidrs: ['10.0.1.0/26', '10.0.0.0/24'] }, 'block_overlaps'],
    ['overlaps another of the call', { cidrs: ['10.0.2.0/24', '10.0.2.0/26'] }, 'block_overlaps'],
    ['does not fit', { prefix_length: 17, count: 2 }, 'no_free_prefix'],
    ['is of no length there is', { prefix_length: 64 }, 'no_free_prefix'],
  ])('many are cut all or none: not when one %s', async (_why, request, code) => {
    const block = await api.createBlock('10.0.0.0/16')
    const [child] = await api.cut(block, { cidrs: ['10.0.0.0/25'] })
    expectProblem(await api.post(`/v2/blocks/${block.id}/children`, request), code)
    const { body } = await api.get(`/v2/blocks?parent_id=${block.id}`)
    expect(body.blocks).toEqual([child])
  })

  test('by CIDR or by length, not both and not neither', async () => {
    const block = await api.createBlock('10.0.0.0/16')
    const cidrs = ['10.0.0.0/24']
    for (const odd of [{}, { cidrs, prefix_length: 24 }, { cidrs, count: 1 }, { count: 2 }]) {
      const answer = await api.post(`/v2/blocks/${block.id}/children`, odd)
      expectProblem(answer, 'invalid_request', { field: 'cidrs' })
    }
  })

  test('a whole block can be its own child, and IPv6 goes by the same rules', async () => {
    const v4 = await api.createBlock('10.0.0.0/24')
    expect(cidrsOf(await api.cut(v4, { prefix_length: 24 }))).toEqual(['10.0.0.0/24'])
    const v6 = await api.createBlock('2001:db8::/32')
    const cidrs = cidrsOf(await api.cut(v6, { prefix_length: 48, count: 3 }))
    expect(cidrs).toEqual(['2001:db8::/48', '2001:db8:1::/48', '2001:db8:2::/48'])
  })

  test('parallel cuts get distinct prefixes, and then a clean refusal', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const path = `/v2/blocks/${block.id}/children`
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => api.post(path, { prefix_length: 28 })),
    )
    const given = answers.flatMap(({ body }) => cidrsOf(body.blocks ?? []))
    expect([given.length, new Set(given).size]).toEqual([16, 16])
    expect(answers.filter(({ body }) => body.code === 'no_free_prefix')).toHaveLength(4)
  })
})

describe('a block has children or allocations, never both', () => {
  test('one with allocations is not cut, until they are released (I3)', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const held = await api.allocateOne(block)
    const path = `/v2/blocks/${block.id}/children`
    expectProblem(await api.post(path, { prefix_length: 28 }), 'block_has_allocations', {
      status: 409,
      conflicts: [{ type: 'allocation', id: held.id, address: '10.0.0.1' }],
    })
    await api.release(held)
    expect(cidrsOf(await api.cut(block, { prefix_length: 25 }))).toEqual(['10.0.0.0/25'])
  })

  test('one with children gives out nothing, until they are deleted (I3)', async () => {
    const block = await api.createBlock('10.0.0.0/24', { gateway_ip: '10.0.0.1' })
    const children = await api.cut(block, { prefix_length: 25, count: 2 })
    for (const wish of [{}, { address: '10.0.0.9' }, { prefix_length: 28 }, { count: 2 }]) {
      expectProblem(await api.ask(block, wish), 'block_has_children', { status: 409 })
    }
    for (const { id } of children) await api.delete(`/v2/blocks/${id}`)
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.2' })
  })

  test('whoever comes first, when both come at once', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const answers = await Promise.all([
      ...Array.from({ length: 8 }, () => api.ask(block)),
      api.post(`/v2/blocks/${block.id}/children`, { prefix_length: 28 }),
    ])
    const outcomes = new Set(answers.map(({ body }) => body.code ?? 'done'))
    outcomes.delete('done')
    expect(['block_has_allocations', 'block_has_children']).toContain([...outcomes][0])
    expect(outcomes.size).toBe(1)
  })
})
