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
