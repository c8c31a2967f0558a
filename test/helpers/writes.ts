import pg from 'pg'
import { Type } from 'typebox'
import { type Database, rows } from '../../src/db/database.ts'
import { Sql } from '../../src/db/sql.ts'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { type Api, expectStatus } from './api.ts'
import { report, reportOf } from './leases.ts'
import { createMacRange } from './macs.ts'

/** A request that changes something, and what has to be there for it to be carried out. */
export type Write = {
  readonly method: 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  readonly url: string
  readonly payload?: object
  /** A member of the answer that only the first one has; in those that repeat it, it is null. */
  readonly toldOnce?: string
}

let made = 0
/** Top-level blocks of tests do not overlap. */
const nextCidr = () => `10.${made++ % 256}.0.0/16`

const newScope = async (api: Api) =>
  expectStatus(
    201,
    await api.post('/v2/address-scopes', { project_id: 'red', name: `scope-${made++}` }),
  )
const newNetwork = async (api: Api) =>
  expectStatus(201, await api.post('/v2/networks', { name: 'network' }))
const newPolicy = async (api: Api) =>
  expectStatus(201, await api.post('/v2/policies', { name: `policy-${made++}` }))
const newBlock = (api: Api) => api.createBlock(nextCidr())
const newRoute = async (api: Api) => {
  const url = `/v2/blocks/${(await newBlock(api)).id}/routes`
  const payload = { destination: '192.0.2.0/24', gateway: '10.0.0.1' }
  return `${url}/${expectStatus(201, await api.post(url, payload)).id}`
}
/** The writes of the DHCP options of what `create` makes, and tells the path of. */
const writesOfOptions = (noun: string, create: (api: Api) => Promise<string>) => {
  const newOption = async (api: Api) => {
    const url = `${await create(api)}/dhcp-options/4/mtu`
    expectStatus(200, await api.put(url, { value: 1500 }))
    return url
  }
  return {
    [`set${noun}DhcpOption`]: async (api: Api) =>
      ({ method: 'PUT', url: await newOption(api), payload: { value: 1400 } }) as const,
    [`delete${noun}DhcpOption`]: async (api: Api) =>
      ({ method: 'DELETE', url: await newOption(api) }) as const,
  }
}
/** A project that has limits of its own. */
const newQuota = async (api: Api) => {
  const url = `/v2/quotas/project-${made++}`
  expectStatus(200, await api.put(url, { allocations: 1 }))
  return url
}
const newAllocation = async (api: Api) => api.allocateOne(await newBlock(api))
const newFloatingIp = async (api: Api) => {
  const payload = { block_id: (await newBlock(api)).id, project_id: 'red' }
  return expectStatus(201, await api.post('/v2/floating-ips', payload))
}
/** An allocation in a private address scope, which a floating IP can point at. */
const newPrivateAllocation = async (api: Api) => {
  const { id: scope_id } = await newScope(api)
  return api.allocateOne(await api.createBlock(nextCidr(), { scope_id }))
}
const newPair = async (api: Api) => ({
  inside_local_id: (await newPrivateAllocation(api)).id,
  inside_global_id: (await newAllocation(api)).id,
})
const newHold = async (api: Api) =>
  api.allocateOne(await newBlock(api), { owner_id: 'vm', lifetime_seconds: 600 })
/** Ranges of tests do not overlap. */
const nextPrefix = () => `52:54:00:${(made++ % 256).toString(16).padStart(2, '0')}:00:00/32`
const newMacRange = (api: Api) => createMacRange(api, { prefix: nextPrefix() })
const newMac = async (api: Api) => {
  const { id: range_id } = await newMacRange(api)
  return expectStatus(201, await api.post('/v2/macs', { range_id, project_id: 'red' }))
}
const createInterface = async (api: Api, more: object = {}) => {
  const { id: network_id } = await newNetwork(api)
  await api.createBlock(nextCidr(), { network_id })
  const { id: mac_range_id } = await newMacRange(api)
  return { project_id: 'red', network_id, mac_range_id, families: [4], ...more }
}
const newInterface = async (api: Api): Promise<Interface> => {
  const answer = await api.post('/v2/interfaces', await createInterface(api))
  return expectStatus(201, answer) as unknown as Interface
}
const newAllowed = async (api: Api) => {
  const path = `/v2/interfaces/${(await newInterface(api)).id}/allowed-addresses`
  const { id } = expectStatus(201, await api.post(path, { address: '10.255.0.1' }))
  return `${path}/${id}`
}
const createToken = () => ({
  method: 'POST' as const,
  url: '/v2/tokens',
  payload: { name: `token-${made++}`, project_id: 'red', roles: ['member'] },
})
const newToken = async (api: Api) => {
  const { url, payload } = createToken()
  return expectStatus(201, await api.post(url, payload))
}
const createGrant = async (api: Api) => ({
  method: 'POST' as const,
  url: '/v2/grants',
  payload: { block_id: (await newBlock(api)).id, project_id: 'blue' },
})
const newGrant = async (api: Api) => {
  const { url, payload } = await createGrant(api)
  return `/v2/grants/${expectStatus(201, await api.post(url, payload)).id}`
}
/** An allocation that ended, whose address waits. */
const newWaiting = async (api: Api) => {
  const policy = await api.createPolicy(`wait-${made++}`, { quarantine_seconds: 600 })
  const block = await api.createBlock(nextCidr(), { policy_id: policy.id })
  return api.release(await api.allocateOne(block))
}

/**
 * For each operation that writes, a request that it carries out and that finds something else to
 * change, or nothing, when it is carried out again.
 */
export const writes: Readonly<Record<string, (api: Api) => Promise<Write>>> = {
  createAddressScope: async () => ({
    method: 'POST',
    url: '/v2/address-scopes',
    payload: { project_id: 'red', name: `scope-${made++}` },
  }),
  updateAddressScope: async api => ({
    method: 'PATCH',
    url: `/v2/address-scopes/${(await newScope(api)).id}`,
    payload: { description: 'changed' },
  }),
  deleteAddressScope: async api => ({
    method: 'DELETE',
    url: `/v2/address-scopes/${(await newScope(api)).id}`,
  }),
  createBlock: async () => ({
    method: 'POST',
    url: '/v2/blocks',
    payload: { scope_id: 'public', cidr: nextCidr() },
  }),
  createGrant,
  updateGrant: async api => ({
    method: 'PATCH',
    url: await newGrant(api),
    payload: { allocations_max: 1 },
  }),
  revokeGrant: async api => ({ method: 'DELETE', url: await newGrant(api) }),
  createChildren: async api => ({
    method: 'POST',
    url: `/v2/blocks/${(await newBlock(api)).id}/children`,
    payload: { prefix_length: 24, count: 2 },
  }),
  updateBlock: async api => ({
    method: 'PATCH',
    url: `/v2/blocks/${(await newBlock(api)).id}`,
    payload: { name: 'changed' },
  }),
  deleteBlock: async api => ({ method: 'DELETE', url: `/v2/blocks/${(await newBlock(api)).id}` }),
  createBlockRoute: async api => ({
    method: 'POST',
    url: `/v2/blocks/${(await newBlock(api)).id}/routes`,
    payload: { destination: '192.0.2.0/24', gateway: '10.0.0.1' },
  }),
  updateBlockRoute: async api => ({
    method: 'PATCH',
    url: await newRoute(api),
    payload: { metric: 10 },
  }),
  deleteBlockRoute: async api => ({ method: 'DELETE', url: await newRoute(api) }),
  ...writesOfOptions('AddressScope', async api => `/v2/address-scopes/${(await newScope(api)).id}`),
  ...writesOfOptions('Network', async api => `/v2/networks/${(await newNetwork(api)).id}`),
  ...writesOfOptions('Block', async api => `/v2/blocks/${(await newBlock(api)).id}`),
  ...writesOfOptions('Interface', async api => `/v2/interfaces/${(await newInterface(api)).id}`),
  createNetwork: async () => ({
    method: 'POST',
    url: '/v2/networks',
    payload: { name: `network-${made++}` },
  }),
  updateNetwork: async api => ({
    method: 'PATCH',
    url: `/v2/networks/${(await newNetwork(api)).id}`,
    payload: { name: 'changed' },
  }),
  deleteNetwork: async api => ({
    method: 'DELETE',
    url: `/v2/networks/${(await newNetwork(api)).id}`,
  }),
  createMacRange: async () => ({
    method: 'POST',
    url: '/v2/mac-ranges',
    payload: { prefix: nextPrefix() },
  }),
  updateMacRange: async api => ({
    method: 'PATCH',
    url: `/v2/mac-ranges/${(await newMacRange(api)).id}`,
    payload: { strategy: 'random' },
  }),
  deleteMacRange: async api => ({
    method: 'DELETE',
    url: `/v2/mac-ranges/${(await newMacRange(api)).id}`,
  }),
  createMac: async api => ({
    method: 'POST',
    url: '/v2/macs',
    payload: { range_id: (await newMacRange(api)).id, project_id: 'red' },
  }),
  releaseMac: async api => ({ method: 'DELETE', url: `/v2/macs/${(await newMac(api)).id}` }),
  createInterface: async api => ({
    method: 'POST',
    url: '/v2/interfaces',
    payload: await createInterface(api, { device_id: 'vm' }),
  }),
  updateInterface: async api => ({
    method: 'PATCH',
    url: `/v2/interfaces/${(await newInterface(api)).id}`,
    payload: { device_id: 'vm' },
  }),
  deleteInterface: async api => ({
    method: 'DELETE',
    url: `/v2/interfaces/${(await newInterface(api)).id}`,
  }),
  createInterfaceAddresses: async api => ({
    method: 'POST',
    url: `/v2/interfaces/${(await newInterface(api)).id}/addresses`,
    payload: { families: [4] },
  }),
  releaseInterfaceAddress: async api => {
    const { id, addresses } = await newInterface(api)
    const url = `/v2/interfaces/${id}/addresses/${addresses[0]?.allocation_id}`
    return { method: 'DELETE', url }
  },
  setDeviceInterfaces: async api => {
    const { project_id, ...spec } = await createInterface(api)
    const payload = { project_id, interfaces: [spec, { ...spec, name: 'second' }] }
    return { method: 'PUT', url: '/v2/devices/vm/interfaces', payload }
  },
  createAllowedAddress: async api => ({
    method: 'POST',
    url: `/v2/interfaces/${(await newInterface(api)).id}/allowed-addresses`,
    payload: { address: '10.255.0.2' },
  }),
  updateAllowedAddress: async api => ({
    method: 'PATCH',
    url: await newAllowed(api),
    payload: { role: 'shared' },
  }),
  deleteAllowedAddress: async api => ({ method: 'DELETE', url: await newAllowed(api) }),
  updateQuota: async api => ({ method: 'PUT', url: await newQuota(api), payload: { blocks: 1 } }),
  deleteQuota: async api => ({ method: 'DELETE', url: await newQuota(api) }),
  createPolicy: async () => ({
    method: 'POST',
    url: '/v2/policies',
    payload: { name: `policy-${made++}`, rules: { quarantine_seconds: 60 } },
  }),
  updatePolicy: async api => ({
    method: 'PATCH',
    url: `/v2/policies/${(await newPolicy(api)).id}`,
    payload: { rules: { exclusions: { first: 2 } } },
  }),
  deletePolicy: async api => ({
    method: 'DELETE',
    url: `/v2/policies/${(await newPolicy(api)).id}`,
  }),
  createToken: async () => ({ ...createToken(), toldOnce: 'secret' }),
  revokeToken: async api => ({ method: 'DELETE', url: `/v2/tokens/${(await newToken(api)).id}` }),
  createFloatingIp: async api => {
    const { id: private_allocation_id } = await newPrivateAllocation(api)
    const payload = { block_id: (await newBlock(api)).id, project_id: 'red', private_allocation_id }
    return { method: 'POST', url: '/v2/floating-ips', payload }
  },
  updateFloatingIp: async api => ({
    method: 'PATCH',
    url: `/v2/floating-ips/${(await newFloatingIp(api)).id}`,
    payload: { private_allocation_id: (await newPrivateAllocation(api)).id },
  }),
  deleteFloatingIp: async api => ({
    method: 'DELETE',
    url: `/v2/floating-ips/${(await newFloatingIp(api)).id}`,
  }),
  createNatMapping: async api => ({
    method: 'POST',
    url: '/v2/nat-mappings',
    payload: await newPair(api),
  }),
  deleteNatMapping: async api => {
    const { id } = expectStatus(201, await api.post('/v2/nat-mappings', await newPair(api)))
    return { method: 'DELETE', url: `/v2/nat-mappings/${id}` }
  },
  createAllocationsInBulk: async api => {
    const item = { block_id: (await newBlock(api)).id, project_id: 'red' }
    return {
      method: 'POST',
      url: '/v2/allocations/bulk',
      payload: { items: [item, { ...item, count: 2 }] },
    }
  },
  createAllocations: async api => ({
    method: 'POST',
    url: '/v2/allocations',
    payload: { block_id: (await newBlock(api)).id, project_id: 'red', count: 2 },
  }),
  updateAllocation: async api => ({
    method: 'PATCH',
    url: `/v2/allocations/${(await newAllocation(api)).id}`,
    payload: { name: 'changed' },
  }),
  releaseAllocation: async api => ({
    method: 'DELETE',
    url: `/v2/allocations/${(await newAllocation(api)).id}`,
  }),
  releaseAllocations: async api => {
    const block = await newBlock(api)
    await api.allocate(block, { owner_id: 'vm', count: 3 })
    const payload = { project_id: 'red', owner_id: 'vm', block_id: block.id }
    return { method: 'POST', url: '/v2/allocations/release', payload }
  },
  renewAllocation: async api => ({
    method: 'POST',
    url: `/v2/allocations/${(await newHold(api)).id}/renew`,
    payload: { lifetime_seconds: 600 },
  }),
  confirmAllocation: async api => ({
    method: 'POST',
    url: `/v2/allocations/${(await newHold(api)).id}/confirm`,
    payload: {},
  }),
  renewAllocations: async api => {
    const { project_id, owner_id } = await newHold(api)
    const payload = { project_id, owner_id, lifetime_seconds: 600 }
    return { method: 'POST', url: '/v2/allocations/renew', payload }
  },
  restoreAllocation: async api => ({
    method: 'POST',
    url: `/v2/allocations/${(await newWaiting(api)).id}/restore`,
    payload: { lifetime_seconds: 600 },
  }),
  reportLeases: async api => {
    const { id: network_id } = await newNetwork(api)
    const block = await api.createBlock(nextCidr(), { network_id })
    const lease = reportOf(await api.allocateOne(block), { network_id, state: 'declined' })
    return { method: 'POST', url: '/v2/leases', payload: { server: 'dhcp-1', leases: [lease] } }
  },
  endWithholding: async api => {
    const { id: network_id } = await newNetwork(api)
    const held = await api.allocateOne(await api.createBlock(nextCidr(), { network_id }))
    await report(api, [reportOf(held, { network_id, state: 'declined' })])
    return { method: 'DELETE', url: `/v2/withheld-addresses/${held.id}` }
  },
  endQuarantine: async api => ({
    method: 'DELETE',
    url: `/v2/quarantine/${(await newWaiting(api)).id}`,
  }),
  endQuarantines: async api => ({
    method: 'POST',
    url: '/v2/quarantine/end',
    payload: { allocation_ids: [(await newWaiting(api)).id] },
  }),
}

const Table = Type.Object({ tablename: Type.String() })

/**
 * All that a database holds, table by table; but not when a block was locked last, to change it or
 * to look whether it can be changed.
 */
export async function contentOf(db: Database): Promise<Record<string, unknown>> {
  const tables = await rows(db, Table)`
    select tablename from pg_tables where schemaname = current_schema() order by tablename`
  const contents: Record<string, unknown> = {}
  for (const { tablename } of tables) {
    const table = pg.escapeIdentifier(tablename)
    const text = `select to_jsonb(t) - 'changed_at' as row from ${table} t order by t::text`
    contents[tablename] = await db.query(new Sql([text], []))
  }
  return contents
}
