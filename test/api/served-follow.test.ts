import { beforeEach, expect, test } from 'vitest'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { expectStatus, useApi } from '../helpers/api.ts'
import { createInterface, interfacesOf, putInterfaces } from '../helpers/interfaces.ts'
import { v1Body, v1Of } from '../helpers/melange-v1.ts'
import { policiesOf } from '../helpers/policies.ts'
import { ServedCopy } from '../helpers/served-copy.ts'

// Whoever follows the events as docs/guides/dhcp-api.md says it knows all that is served.

const api = useApi()
const policies = policiesOf(api)
const v1 = () => v1Of(api)

let network: string
let other: string
let top: Block
let four: Block
let six: Block
let nic: Interface
let copy: ServedCopy

beforeEach(async () => {
  const make = async (name: string) =>
    expectStatus(201, await api.post('/v2/networks', { name, project_id: 'red' })).id
  network = await make('web')
  other = await make('db')
  top = await api.createBlock('10.0.0.0/8')
  ;[four] = (await api.cut(top, { cidrs: ['10.0.0.0/24'], network_id: network })) as [Block]
  six = await api.createBlock('2001:db8::/64', { network_id: network })
  await api.createBlock('10.200.0.0/24', { parent_id: top.id, network_id: other })
  nic = await createInterface(api, {
    network_id: network,
    mac_address: '52:54:00:00:00:01',
    families: [4, 6],
  })
  await set(`interfaces/${nic.id}`, 'host-name', 'web-1')
  copy = await new ServedCopy(api, [network, other]).open()
})

const set = async (place: string, option: string, value: unknown, version = 4) =>
  expectStatus(200, await api.put(`/v2/${place}/dhcp-options/${version}/${option}`, { value }))
const patch = async (path: string, payload: object) =>
  expectStatus(200, await api.patch(`/v2/${path}`, payload))
const gone = async (path: string) =>
  expect((await api.delete(`/v2/${path}`)).status).toBeLessThan(300)
const allocate = async (request: object) => {
  const asked = { project_id: 'red', ...request }
  const [one] = expectStatus(201, await api.post('/v2/allocations', asked)).allocations
  return one?.id ?? ''
}
const ofClient = (owner_id: string, more: object = {}) =>
  allocate({ block_id: four.id, owner_type: 'dhcp_client', owner_id, ...more })
const fresh = async () => (await new ServedCopy(api, [network, other]).open()).content()

/** What changes what is served: all of it is seen by events, and each step is seen. */
async function expectSeen(what: string, change: () => Promise<unknown>): Promise<void> {
  const before = copy.content()
  await change()
  const types = await copy.follow()
  expect([what, copy.content()]).toEqual([what, await fresh()])
  expect([what, types, copy.content()]).not.toEqual([what, types, before])
}

test('what changes of a network is seen', async () => {
  await expectSeen('name and MTU', () => patch(`networks/${network}`, { name: 'www', mtu: 1400 }))
  await expectSeen('gateway', () => patch(`blocks/${four.id}`, { gateway_ip: '10.0.0.200' }))
  await expectSeen('size', () => patch(`blocks/${four.id}`, { cidr: '10.0.0.0/23' }))
  const route = { destination: '192.0.2.0/24', gateway: '10.0.0.9' }
  let id = ''
  await expectSeen('route', async () => {
    id = expectStatus(201, await api.post(`/v2/blocks/${four.id}/routes`, route)).id
  })
  const changed = { gateway: '10.0.0.8' }
  await expectSeen('its change', () => patch(`blocks/${four.id}/routes/${id}`, changed))
  await expectSeen('its end', () => gone(`blocks/${four.id}/routes/${id}`))
  const places = [
    'address-scopes/public',
    `blocks/${top.id}`,
    `networks/${network}`,
    `blocks/${four.id}`,
  ]
  for (const [n, place] of places.entries()) {
    const server = [`192.0.2.${n}`]
    await expectSeen(`option of ${place}`, () => set(place, 'ntp-servers', server))
  }
  for (const place of places.toReversed()) {
    await expectSeen(`no option of ${place}`, () => gone(`${place}/dhcp-options/4/ntp-servers`))
  }
})

test('policies that come, change and go are seen', async () => {
  const rules = { unknown_clients: { lease_seconds: 60 } }
  const boot = { boot_files: [{ architectures: [7], file: 'a.efi' }] }
  const near = await policies.create(boot, 'near')
  const far = await policies.create(rules, 'far')
  await copy.follow()
  for (const [place, policy] of [
    ['address-scopes/public', far],
    [`blocks/${top.id}`, near],
    [`networks/${network}`, far],
    [`blocks/${four.id}`, near],
  ] as const) {
    const attach = (policy_id: string | null) => () => patch(place, { policy_id })
    await expectSeen(`policy of ${place}`, attach(policy.id))
    await expectSeen(`its rules on ${place}`, () =>
      policies.change(policy, {
        rules: { unknown_clients: { lease_seconds: 90 }, boot_files: [] },
      }),
    )
    await expectSeen(`no rules on ${place}`, () => policies.change(policy, { rules: {} }))
    await policies.change(policy, { rules: policy === far ? rules : boot })
    await copy.follow()
    await expectSeen(`no policy of ${place}`, attach(null))
  }
})

test('subnets that come and go are seen', async () => {
  let id = ''
  await expectSeen('a block', async () => {
    id = (await api.createBlock('10.1.0.0/24', { parent_id: top.id, network_id: network })).id
  })
  let half = ''
  await expectSeen('its first child, which takes its place', async () => {
    half = (await api.createBlock('10.1.0.0/25', { parent_id: id })).id
  })
  await expectSeen('that is gone', () => gone(`blocks/${half}`))
  await expectSeen('the block is gone', () => gone(`blocks/${id}`))
  await api.createBlock('10.2.1.0/24', { parent_id: top.id, network_id: network })
  await copy.follow()
  const policy = await policies.create({ unknown_clients: { lease_seconds: 60 } })
  await expectSeen('one between', () =>
    api.createBlock('10.2.0.0/16', {
      parent_id: top.id,
      policy_id: policy.id,
      adopt_children: true,
    } as object),
  )
  await set(`blocks/${six.id}`, 'dns-servers', ['2001:db8::53'], 6)
  await copy.follow()
  await expectSeen('one with options is gone', async () => {
    for (const { allocation_id, block_id } of nic.addresses) {
      if (block_id === six.id) await gone(`interfaces/${nic.id}/addresses/${allocation_id}`)
    }
    await gone(`blocks/${six.id}`)
  })
  await expectSeen('a network is gone', async () => {
    const { blocks } = (await api.get(`/v2/blocks?network_id=${other}`)).body
    for (const { id } of blocks) await gone(`blocks/${id}`)
    await gone(`networks/${other}`)
  })
})

test('what changes of an interface is seen', async () => {
  const more = { network_id: network, mac_address: '52:54:00:00:00:02' }
  let made = nic
  await expectSeen('a new one', async () => {
    made = await createInterface(api, { ...more, families: [4] })
  })
  await expectSeen('its names', () =>
    patch(`interfaces/${made.id}`, { client_id: '01aa', duid: '0004aa', iaid: 1 }),
  )
  const path = `interfaces/${made.id}`
  await expectSeen('an address', () => api.post(`/v2/${path}/addresses`, { families: [6] }))
  const owner = { owner_type: 'interface', owner_id: made.id }
  let id = ''
  await expectSeen('one that was allocated', async () => {
    id = await allocate({ block_id: four.id, ...owner, lifetime_seconds: 600 })
  })
  const renewed = { lifetime_seconds: 900 }
  await expectSeen('renewed', () => api.post(`/v2/allocations/${id}/renew`, renewed))
  await expectSeen('confirmed', () => api.post(`/v2/allocations/${id}/confirm`, {}))
  await expectSeen('named', () => patch(`allocations/${id}`, { name: 'db-7' }))
  await expectSeen('released', () => gone(`allocations/${id}`))
  const pool = await api.createBlock('2001:db8:f000::/40')
  await copy.follow()
  await expectSeen('a prefix of a block of no network', () =>
    allocate({ block_id: pool.id, prefix_length: 56, ...owner }),
  )
  await expectSeen('an option', () => set(path, 'mtu', 1300))
  await expectSeen('of it and the subnet', () => set(`blocks/${four.id}`, 'time-offset', 7))
  await expectSeen('of it and the scope', () =>
    set('address-scopes/public', 'smtp-servers', ['192.0.2.1']),
  )
  await expectSeen('no option', () => gone(`${path}/dhcp-options/4/mtu`))
  await expectSeen('its end', () => gone(path))
  await expectSeen('those of a device', async () => {
    interfacesOf(
      await putInterfaces(api, 'vm', [
        { network_id: network, mac_address: '52:54:00:00:00:03', families: [4] },
        { network_id: other, mac_address: '52:54:00:00:00:03', families: [4] },
      ]),
    )
  })
  await expectSeen('others', () =>
    putInterfaces(api, 'vm', [
      { network_id: other, mac_address: '52:54:00:00:00:03', families: [4], client_id: '01bb' },
    ]),
  )
})

test('what clients get and lose is seen', async () => {
  const policy_id = (await policies.create({ quarantine_seconds: 600 })).id
  await patch(`blocks/${four.id}`, { policy_id })
  await copy.follow()
  let id = ''
  await expectSeen('an address', async () => {
    id = await ofClient('52:54:00:00:01:01', { lifetime_seconds: 600 })
  })
  await expectSeen('one more', () => ofClient('52:54:00:00:01:01', { block_id: six.id }))
  const renewed = { lifetime_seconds: 900 }
  await expectSeen('renewed', () => api.post(`/v2/allocations/${id}/renew`, renewed))
  await expectSeen('released', () => gone(`allocations/${id}`))
  await expectSeen('given back', () => api.post(`/v2/allocations/${id}/restore`, {}))
  await expectSeen('lapsed', async () => {
    const short = await ofClient('52:54:00:00:01:02', { lifetime_seconds: 1 })
    await copy.follow()
    await expect
      .poll(async () => {
        await ofClient('52:54:00:00:01:03', { lifetime_seconds: 600, one_per_owner: true })
        return (await api.get(`/v2/allocations/${short}`)).body.ended_at
      })
      .not.toBe(null)
  })
})

test('what is done through v1.0 is seen', async () => {
  const ip_block = (name: string, cidr: string) => ({
    ip_block: { type: 'public', cidr, network_id: name },
  })
  const made = v1Body(
    201,
    await v1().new.post('tenants/red/ip_blocks', ip_block(network, '11.77.0.0/24')),
  ).ip_block.id
  const path = `tenants/red/ip_blocks/${made}`
  await copy.follow()
  const owner = { owner_type: 'dhcp_client', owner_id: '52:54:00:00:01:09' }
  await expectSeen('a client there', () => allocate({ block_id: made, ...owner }))
  await expectSeen('gateway', async () =>
    v1Body(200, await v1().new.put(path, { ip_block: { gateway: '11.77.0.1' } })),
  )
  await expectSeen('a route', async () => {
    const ip_route = { destination: '192.0.2.0', netmask: '255.255.255.0', gateway: '11.77.0.9' }
    v1Body(201, await v1().new.post(`${path}/ip_routes`, { ip_route }))
  })
  const mac_address = '02:00:00:00:00:09'
  await expectSeen('an interface with a MAC', async () => {
    const ip_address = { interface_id: 'vif-1', mac_address }
    v1Body(201, await v1().new.post(`${path}/ip_addresses`, { ip_address }))
  })
  await expectSeen('the block in another network', async () =>
    v1Body(200, await v1().new.put(path, { ip_block: { network_id: other } })),
  )
  const half = await api.createBlock('11.77.1.0/25', {
    parent_id: v1Body(
      201,
      await v1().new.post('tenants/red/ip_blocks', ip_block(network, '11.77.1.0/24')),
    ).ip_block.id,
  })
  const above = { ip_block: { network_id: other } }
  v1Body(200, await v1().new.put(`tenants/red/ip_blocks/${half.parent_id}`, above))
  await copy.follow()
  await expectSeen('the last child of a block of another network is gone', () =>
    gone(`blocks/${half.id}`),
  )
  await expectSeen('its end', async () => v1Body(200, await v1().new.delete(path)))
})

test('an address that is declined, and may be told again, is seen', async () => {
  const [held] = nic.addresses
  const lease = {
    id: '01a20a8a-ebc7-7000-b4f1-28a652fa9c11',
    allocation_id: held?.allocation_id,
    network_id: network,
    address: held?.address,
    mac_address: nic.mac_address,
    ...{ client_id: null, duid: null, iaid: null, host_name: null, relay: null },
    state: 'declined',
    ...{ started_at: '2030-01-01T00:00:00Z', told_at: '2030-01-01T00:00:00Z', ends_at: null },
  }
  await expectSeen('declined', async () =>
    expectStatus(200, await api.post('/v2/leases', { server: 'node-1', leases: [lease] })),
  )
  expect(JSON.stringify(copy.content())).toMatch(/"withheld_until":"/)
  await expectSeen('told again', () => gone(`withheld-addresses/${held?.allocation_id}`))
})
