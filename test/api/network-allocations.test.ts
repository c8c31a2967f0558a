import { describe, expect, test } from 'vitest'
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

describe('a network', () => {
  test('gives addresses of both IP versions in one answer, IPv4 first', async () => {
    await api.createNetworks()
    await api.createBlock('192.0.2.0/28', { network_id })
    await api.createBlock('2001:db8::/64', { network_id })
    expect(await take({ families: [6, 4] })).toEqual(['192.0.2.1', '2001:db8::1'])
    expect(await take()).toEqual(['192.0.2.2'])
  })
})
