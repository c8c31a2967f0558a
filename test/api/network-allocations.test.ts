import { describe, expect, test } from 'vitest'
import { newId } from '../../src/ids.ts'
import { allocateEach } from '../../src/resources/allocations/allocator-store.ts'
import type { AllocationRequest } from '../../src/resources/allocations/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { policiesOf } from '../helpers/policies.ts'

const api = useApi()
const [network_id] = networks
const policies = policiesOf(api)

/** What a request to the network is answered. */
const ask = (request: Partial<AllocationRequest> = {}) =>
  api.post('/v2/allocations', { network_id, project_id: 'red', ...request })
const take = async (request: Partial<AllocationRequest> = {}) => {
  const { allocations } = expectStatus(201, await ask(request))
  return allocations.map(({ address }) => address)
}
/** What the allocator wants to be told beside. */
const nobody = {
  ...{ address: null, fallback: false, prefix_length: null, contiguous: false },
  ...{ owner_type: null, owner_id: null, name: '', tags: [] },
}

describe('a network', () => {
  test('gives addresses of both IP versions in one answer, IPv4 first', async () => {
    await api.createNetworks()
    await api.createBlock('192.0.2.0/28', { network_id })
    await api.createBlock('2001:db8::/64', { network_id })
    expect(await take({ families: [6, 4] })).toEqual(['192.0.2.1', '2001:db8::1'])
    expect(await take()).toEqual(['192.0.2.2'])
  })
})

test('a request beside those to networks is told why it was refused', async () => {
  await api.createNetworks()
  await api.createBlock('192.0.2.0/28', { network_id })
  const parent = await api.createBlock('10.0.0.0/16')
  await api.cut(parent, { prefix_length: 24 })
  const wish = { ...nobody, ids: [newId()], project_id: 'red' }
  const outcomes = await allocateEach(api.db, [
    { ...wish, network_id, families: [4] },
    { ...wish, block_id: parent.id },
    { ...wish, block_id: newId() },
  ])
  expect(outcomes).toMatchObject([
    { allocations: [{ address: '192.0.2.1' }] },
    { code: 'block_has_children' },
    { code: 'block_not_found' },
  ])
})

describe('a purpose', () => {
  const kept = { purposes: [{ purpose: 'vip', offsets: [{ from: 1, to: 2 }] }] }
  const subnets = async () => {
    await api.createNetworks()
    const plain = await api.createBlock('192.0.2.0/29', { network_id, priority: 1 })
    const ruled = await policies.createRuled('198.51.100.0/29', kept, { network_id, priority: 2 })
    return { plain, ruled }
  }

  test('is served by the subnets that keep ranges for it, and by no others', async () => {
    await subnets()
    const vip = { purpose: 'vip' }
    expect(await take(vip)).toEqual(['198.51.100.1'])
    expect(await take({ purpose: 'other' })).toEqual(['192.0.2.1'])
    expect(await take(vip)).toEqual(['198.51.100.2'])
    expectProblem(await ask(vip), 'network_full', { status: 409 })
    expect(await take({ count: 5 })).toHaveLength(5)
    expect(await take({ count: 4 })).toEqual([3, 4, 5, 6].map(host => `198.51.100.${host}`))
    expectProblem(await ask(), 'network_full')
  })

  test('is served so beside requests without it', async () => {
    const { plain, ruled } = await subnets()
    const wish = { ...nobody, network_id, families: [4], project_id: 'red' }
    const outcomes = await allocateEach(api.db, [
      { ...wish, ids: [newId()] },
      { ...wish, ids: [newId()], purpose: 'vip' },
    ])
    expect(outcomes).toMatchObject([
      { allocations: [{ block_id: plain.id }] },
      { allocations: [{ block_id: ruled.id, address: '198.51.100.1' }] },
    ])
    // Without the policy its subnet serves all, and no purpose is told from another.
    await policies.attach(`/v2/blocks/${ruled.id}`, null)
    expect(await take({ purpose: 'vip' })).toEqual(['192.0.2.2'])
  })
})

test('more subnets than are looked at together are no reason to refuse what one has', async () => {
  await api.createNetworks()
  const policy_id = (await policies.create({ purposes: [{ purpose: 'vip', first: 8 }] })).id
  for (let n = 0; n < 20; n++) {
    await api.createBlock(`10.0.${n}.0/29`, { network_id, ...(n < 18 && { policy_id }) })
  }
  expect(await take()).toEqual(['10.0.18.1'])
  expect(await take({ count: 6 })).toEqual([1, 2, 3, 4, 5, 6].map(host => `10.0.19.${host}`))
  expectProblem(await ask({ count: 6 }), 'network_full')
})

test('an address of a network is that of the subnet in which it lies', async () => {
  await api.createNetworks()
  const subnet = await api.createBlock('192.0.2.0/29', { network_id })
  const { allocations } = expectStatus(201, await ask({ address: '192.0.2.5' }))
  expect(allocations).toMatchObject([{ address: '192.0.2.5', block_id: subnet.id }])
  expectProblem(await ask({ address: '192.0.2.9' }), 'address_outside_block', {
    detail: `No subnet of network ${network_id} holds 192.0.2.9.`,
  })
  const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'
  for (const wish of [{}, { address: '192.0.2.6' }, { families: [4, 6] as (4 | 6)[] }]) {
    expectProblem(await ask({ ...wish, network_id: nowhere }), 'network_not_found', { status: 404 })
  }
})

test('one per owner is one, also by a block and its network in one batch', async () => {
  await api.createNetworks()
  const { id: block_id } = await api.createBlock('192.0.2.0/29', { network_id })
  const wish = { ...nobody, project_id: 'red', owner_id: 'vm', one_per_owner: true }
  const outcomes = await allocateEach(api.db, [
    { ...wish, ids: [newId()], network_id, families: [4] },
    { ...wish, ids: [newId()], block_id },
  ])
  expect(outcomes).toMatchObject(['again', { allocations: [{ address: '192.0.2.1' }] }])
  const answers = await Promise.all(
    Array.from({ length: 32 }, (_, n) =>
      ask({
        owner_id: 'vm',
        one_per_owner: true,
        ...(n % 2 && { block_id, network_id: undefined as never }),
      }),
    ),
  )
  const given = answers.map(answer => expectStatus(201, answer).allocations[0]?.address)
  expect(new Set(given)).toEqual(new Set(['192.0.2.1']))
})

describe('the subnet that serves a request', () => {
  const inOrder = async (count: number) => {
    const given: string[] = []
    for (let n = 0; n < count; n++) given.push(...(await take()))
    return given
  }

  test('is the first by priority that has room for all of it', async () => {
    await api.createNetworks()
    await api.createBlock('10.0.0.0/30', { network_id, priority: 5 })
    await api.createBlock('10.0.1.0/30', { network_id, priority: -5 })
    await api.createBlock('10.0.2.0/29', { network_id, tags: ['fast', 'new'] })
    expect(await take({ count: 3 })).toEqual(['10.0.2.1', '10.0.2.2', '10.0.2.3'])
    expect(await inOrder(2)).toEqual(['10.0.1.1', '10.0.1.2'])
    expect(await take({ subnet_tags: ['new'] })).toEqual(['10.0.2.4'])
    expect(await inOrder(4)).toEqual(['10.0.2.5', '10.0.2.6', '10.0.0.1', '10.0.0.2'])
    expectProblem(await ask(), 'network_full', { status: 409 })
    expectProblem(await ask({ subnet_tags: ['old'] }), 'no_subnet', {
      detail: `Network ${network_id} has no IPv4 subnet with the tags old.`,
    })
  })

  test('is the one with the largest free share where the policy spreads', async () => {
    await api.createNetworks()
    const policy = await policies.create({ subnet_selection: 'spread' })
    await policies.attach(`/v2/networks/${network_id}`, policy)
    await api.createBlock('10.0.0.0/28', { network_id })
    await api.createBlock('10.0.1.0/28', { network_id })
    expect(await inOrder(4)).toEqual(['10.0.0.1', '10.0.1.1', '10.0.0.2', '10.0.1.2'])
    await policies.change(policy, { rules: { subnet_selection: 'fill_first' } })
    expect(await inOrder(2)).toEqual(['10.0.0.3', '10.0.0.4'])
  })
})

describe('both IP versions', () => {
  const both = { families: [4, 6] as (4 | 6)[] }
  const freeOf = async () => (await api.get(`/v2/networks/${network_id}/utilisation`)).body

  test('come together or not at all, unless a part will do', async () => {
    await api.createNetworks()
    await api.createBlock('10.0.0.0/30', { network_id })
    expectProblem(await ask(both), 'no_subnet', {
      detail: `Network ${network_id} has no IPv6 subnet.`,
    })
    expect(await freeOf()).toMatchObject({ ipv4: { allocated: '0', free: '2' }, ipv6: null })
    expect(await take({ ...both, partial: true })).toEqual(['10.0.0.1'])
    await api.createBlock('2001:db8::/126', { network_id })
    expect(await take(both)).toEqual(['10.0.0.2', '2001:db8::1'])
    expectProblem(await ask(both), 'network_full')
    expect(await freeOf()).toMatchObject({ ipv6: { allocated: '1', free: '2' } })
    expect(await take({ ...both, partial: true, count: 2 })).toHaveLength(2)
    expectProblem(await ask({ ...both, partial: true }), 'network_full')
  })

  test('come from private and public scopes, `count` of each', async () => {
    await api.createNetworks()
    const scope = { project_id: 'red', name: 'red' }
    const { id: scope_id } = expectStatus(201, await api.post('/v2/address-scopes', scope))
    await api.createBlock('10.0.0.0/29', { network_id, scope_id })
    await api.createBlock('2001:db8::/64', { network_id })
    const dry = await ask({ ...both, count: 2, dry_run: true })
    expect(expectStatus(200, dry)).toMatchObject({ dry_run: true })
    const before = (await api.get('/v2/events')).body.cursor
    expect((await api.get('/v2/allocations')).body.allocations).toEqual([])
    const given = ['10.0.0.1', '10.0.0.2', '2001:db8::1', '2001:db8::2']
    expect(dry.body.allocations.map(({ address }) => address)).toEqual(given)
    expect(await take({ ...both, count: 2 })).toEqual(given)
    expect((await api.get(`/v2/events?after=${before}`)).body.events).toHaveLength(4)
  })
})
