import { describe, expect, test } from 'vitest'
import { newId } from '../../src/ids.ts'
import { allocateEach } from '../../src/resources/allocations/allocator-store.ts'
import type { AllocationRequest } from '../../src/resources/allocations/schema.ts'
import { expectStatus, networks, useApi } from '../helpers/api.ts'

const api = useApi()
const [network_id] = networks

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
