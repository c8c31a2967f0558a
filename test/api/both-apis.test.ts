import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import type { AllowedAddress, Interface } from '../../src/resources/interfaces/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'
import { addressesOf, createInterface, interfacesOf, putInterfaces } from '../helpers/interfaces.ts'
import { createMacRange } from '../helpers/macs.ts'
import { v1Body, v1Of } from '../helpers/melange-v1.ts'

// An object is one thing, whichever API made it: here it is made through the one, and seen, changed
// and ended through the other.

const api = useApi()
const clock = useClock(api)
const [red, blue] = networks
const v1 = () => v1Of(api)

const blocks = { red: '', blue: '', none: '' }

beforeEach(async () => {
  await api.createNetworks()
  for (const [name, cidr, network_id] of [
    ['red', '10.0.0.0/28', red],
    ['blue', '10.1.0.0/28', blue],
    ['none', '10.2.0.0/28', null],
  ] as const) {
    const ip_block = { type: 'private', cidr, network_id }
    const made = await v1().new.post('tenants/red/ip_blocks', { ip_block })
    blocks[name] = v1Body(201, made).ip_block.id
  }
})

const newestEvent = async () => (await api.get('/v2/events?after=latest')).body.cursor
const eventsSince = async (cursor: string) =>
  (await api.get(`/v2/events?after=${cursor}`)).body.events
const typesSince = async (cursor: string) => (await eventsSince(cursor)).map(({ type }) => type)
const show = async (id: string) =>
  expectStatus(200, await api.get(`/v2/interfaces/${id}`)) as unknown as Interface
const periodsOf = async (id: string) =>
  (
    (await api.get(`/v2/interface-history?interface_id=${id}`)).body as unknown as {
      periods: object[]
    }
  ).periods
const allowedOf = async (query: string) =>
  ((await api.get(`/v2/${query}`)).body as unknown as { allowed_addresses: AllowedAddress[] })
    .allowed_addresses

type Asked = { name?: string; block?: keyof typeof blocks; address?: string; mac_address?: string }

/** An address of a block for an interface, through v1.0. */
const ask = ({ name, block = 'red', ...more }: Asked) =>
  v1().new.post(`tenants/red/ip_blocks/${blocks[block]}/ip_addresses`, {
    ip_address: { interface_id: name, ...more },
  })

/** The one interface that v2 finds by a name. */
async function named(name: string): Promise<Interface> {
  const { body } = await api.get(`/v2/interfaces?name=${name}`)
  const { interfaces } = body as unknown as { interfaces: Interface[] }
  expect(interfaces).toHaveLength(1)
  return interfaces[0] as Interface
}

describe('an interface made through v0.1 or v1.0', () => {
  test('is one of v2 by its own id, with MAC, addresses, events, quota and history', async () => {
    await createMacRange(api)
    const id = randomUUID()
    const cursor = await newestEvent()
    const before = await clock.now()
    await clock.advance(60)
    const network = { id: red, tenant_id: 'red' }
    const asked = { interface: { id, tenant_id: 'red', device_id: 'vm-1', network } }
    v1Body(201, await v1().old.post('interfaces', asked))
    const made = await show(id)
    expect(made).toMatchObject({
      project_id: 'red',
      device_id: 'vm-1',
      network_id: red,
      name: id,
      mac_address: '52:54:00:00:00:00',
      generation: 1,
    })
    expect(addressesOf(made)).toEqual(['10.0.0.0'])
    expect(await typesSince(cursor)).toEqual([
      'allocation.created',
      'mac.created',
      'interface.created',
    ])
    const held = await clock.advance(60)
    await clock.advance(60)
    v1Body(200, await v1().old.delete(`interfaces/${id}`))
    expectProblem(await api.get(`/v2/interfaces/${id}`), 'interface_not_found')
    expect((await typesSince(cursor)).slice(3).toSorted()).toEqual([
      'allocation.released',
      'interface.deleted',
      'mac.released',
    ])
    expect(await periodsOf(id)).toMatchObject([
      { device_id: 'vm-1', network_id: red, mac_address: '52:54:00:00:00:00' },
    ])
    const holders = async (at: string) =>
      (await api.get(`/v2/allocations?address=10.0.0.0&at=${at}`)).body.allocations
    expect(await holders(before)).toEqual([])
    expect(await holders(held)).toMatchObject([{ owner_id: id, project_id: 'red', name: id }])
    const at = `/v2/interface-history?device_id=vm-1&at=${held}`
    expect((await api.get(at)).body).toMatchObject({ periods: [{ interface_id: id }] })
  })

  test('ends for it when v2 deletes it', async () => {
    v1Body(201, await ask({ name: 'vif-1' }))
    const { id } = await named('vif-1')
    expectStatus(204, await api.delete(`/v2/interfaces/${id}`))
    v1Body(404, await v1().old.get('tenants/red/interfaces/vif-1'))
    const path = `tenants/red/ip_blocks/${blocks.red}/ip_addresses`
    expect(v1Body(200, await v1().new.get(path))).toEqual({ ip_addresses: [] })
    v1Body(404, await v1().new.get(`${path}/10.0.0.0`))
    const again = v1Body(201, await ask({ name: 'vif-1' }))
    expect(again.ip_address).toMatchObject({ interface_id: 'vif-1', address: '10.0.0.1' })
  })

  test('counts against the quota of its project', async () => {
    expectStatus(200, await api.put('/v2/quotas/red', { interfaces: 2 }))
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, n) => ask({ name: `vif-${n}` })),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 201, 409, 409, 409, 409])
    expectProblem(
      await api.post('/v2/interfaces', { project_id: 'red', network_id: red }),
      'quota_exceeded',
    )
    v1Body(201, await ask({ name: (await firstName()) ?? '' }))
  })

  /** What one of the interfaces of v0.1 is called. */
  const firstName = async () =>
    (
      v1Body(200, await v1().new.get('tenants/red/allocated_ip_addresses')).ip_addresses as {
        interface_id: string
      }[]
    )[0]?.interface_id

  test('is on no network until it gets an address, and follows its addresses', async () => {
    await createMacRange(api)
    v1Body(201, await v1().old.post('interfaces', { interface: { id: 'vif-1', tenant_id: 'red' } }))
    const { id, network_id, mac_address } = await named('vif-1')
    expect(network_id).toBeNull()
    const path = `/v2/interfaces/${id}`
    const without = [
      await api.post(`${path}/addresses`, { families: [4] }),
      await api.post(`${path}/allowed-addresses`, { address: '10.0.0.9' }),
    ]
    for (const answer of without) {
      expectProblem(answer, 'interface_without_network', { status: 409 })
    }
    const macs = async () =>
      ((await api.get(`/v2/macs?interface_id=${id}`)).body as unknown as { macs: object[] }).macs

    await clock.advance(60)
    const first = v1Body(201, await ask({ name: 'vif-1' })).ip_address
    expect(await show(id)).toMatchObject({ network_id: red, mac_address, generation: 2 })
    expect(await macs()).toMatchObject([{ network_id: red, address: mac_address }])
    expectStatus(201, await api.post(`${path}/allowed-addresses`, { address: '10.0.0.9' }))
    v1Body(422, await ask({ name: 'vif-1', block: 'blue' }))
    v1Body(422, await ask({ name: 'vif-1', block: 'none' }))
    await clock.advance(60)
    const cursor = await newestEvent()
    v1Body(
      200,
      await v1().new.delete(`tenants/red/ip_blocks/${blocks.red}/ip_addresses/${first.address}`),
    )
    v1Body(201, await ask({ name: 'vif-1', block: 'blue' }))
    expect(await typesSince(cursor)).toEqual([
      'allocation.released',
      'allocation.created',
      'allowed_address.deleted',
      'mac.released',
      'mac.created',
      'interface.updated',
    ])
    expect(await show(id)).toMatchObject({ network_id: blue, mac_address, generation: 3 })
    expect(await macs()).toMatchObject([{ network_id: blue, address: mac_address }])
    expect(await allowedOf(`interfaces/${id}/allowed-addresses`)).toEqual([])
    expect(await periodsOf(id)).toMatchObject([
      { network_id: null, mac_address },
      { network_id: red, mac_address },
      { network_id: blue, mac_address, ended_at: null },
    ])
  })

  test('does not come to a network on which somebody has its MAC', async () => {
    const mac_address = '02:00:00:00:00:01'
    v1Body(201, await ask({ name: 'vif-1', block: 'none', mac_address }))
    await createInterface(api, { mac_address })
    const { id } = await named('vif-1')
    const before = await show(id)
    v1Body(400, await ask({ name: 'vif-1' }))
    expect(await show(id)).toEqual(before)
    v1Body(201, await ask({ name: 'vif-1', block: 'blue' }))
    expect(await show(id)).toMatchObject({ network_id: blue, mac_address })
  })

  test('is told why where the body names nobody as its tenant', async () => {
    for (const tenant_id of [null, '']) {
      const path = `tenants/red/networks/${red}/interfaces/vif-1/ip_allocations`
      const refused = v1Body(400, await v1().old.post(path, { network: { tenant_id } }))
      expect(JSON.stringify(refused)).toContain("'tenant_id'")
    }
    expect(interfacesOf(await api.get('/v2/interfaces'))).toEqual([])
  })

  test('may spell its MAC in short', async () => {
    const asked = ask({ name: 'vif-1', mac_address: 'ae:1:2:3:4:5' })
    v1Body(201, await asked)
    expect(await named('vif-1')).toMatchObject({ mac_address: 'ae:01:02:03:04:05' })
  })

  test('has no MAC that anyone has on any network', async () => {
    const mac_address = '02:00:00:00:00:01'
    await createInterface(api, { mac_address, network_id: blue })
    v1Body(400, await ask({ name: 'vif-1', mac_address }))
    const answers = await Promise.all(
      (['red', 'blue', 'none'] as const).map((block, n) =>
        ask({ name: `vif-${n}`, block, mac_address: '02:00:00:00:00:02' }),
      ),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 400, 400])
  })

  test('without a name serves its tenant, and has none', async () => {
    const given = await Promise.all(
      Array.from({ length: 5 }, async () => v1Body(201, await ask({})).ip_address.interface_id),
    )
    expect(new Set(given).size).toBe(1)
    const [id] = given
    expect(await show(id)).toMatchObject({ name: '', network_id: red, generation: 5 })
    v1Body(404, await v1().old.get(`tenants/red/interfaces/${id}`))
    v1Body(404, await v1().old.delete(`interfaces/${id}`))
    await createInterface(api, { mac_address: null })
    expect(v1Body(201, await ask({})).ip_address.interface_id).toBe(id)
    expectStatus(200, await api.patch(`/v2/interfaces/${id}`, { device_id: 'vm-1' }))
    v1Body(200, await v1().new.get(`instances/vm-1/interfaces/${id}`))
  })

  test('stays where there are no more MACs, and v2 sees it without one', async () => {
    await createMacRange(api, { prefix: '52:54:00:00:00:00/48' })
    const create = (id: string) =>
      v1().old.post('interfaces', { interface: { id, tenant_id: 'red' } })
    v1Body(201, await create('vif-1'))
    const cursor = await newestEvent()
    v1Body(422, await create('vif-2'))
    expect(await named('vif-2')).toMatchObject({ mac_address: null, network_id: null })
    expect(await typesSince(cursor)).toEqual(['interface.created'])
  })

  test('of many who make it at once, one does', async () => {
    const create = () =>
      v1().old.post('interfaces', { interface: { id: 'vif-1', tenant_id: 'red' } })
    const answers = await Promise.all(Array.from({ length: 5 }, create))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 400, 400, 400, 400])
    const taken = randomUUID()
    await createInterface(api, { id: taken, mac_address: null })
    const same = { interface: { id: taken, tenant_id: 'red' } }
    v1Body(400, await v1().old.post('interfaces', same))
  })
})

describe('an interface made through v2', () => {
  test('has its id as its name, and gets addresses of its network', async () => {
    const made = await createInterface(api, { device_id: 'vm-1', mac_address: null })
    const one = v1Body(200, await v1().old.get(`tenants/red/interfaces/${made.id}`)).interface
    expect(one).toMatchObject({ id: made.id, device_id: 'vm-1', tenant_id: 'red' })
    v1Body(422, await ask({ name: made.id, block: 'blue' }))
    v1Body(422, await ask({ name: made.id, block: 'none' }))
    const cursor = await newestEvent()
    expect(v1Body(201, await ask({ name: made.id })).ip_address).toMatchObject({
      interface_id: made.id,
      used_by_device: 'vm-1',
    })
    expect(await typesSince(cursor)).toEqual(['allocation.created', 'interface.updated'])
    expect(await show(made.id)).toMatchObject({ generation: 2, network_id: red })
    const path = `tenants/red/networks/${red}/interfaces/${made.id}/ip_allocations`
    v1Body(200, await v1().old.delete(path))
    expect(await show(made.id)).toMatchObject({ generation: 3, addresses: [] })
    v1Body(422, await ask({ name: made.id, block: 'blue' }))
    v1Body(200, await v1().old.delete(`interfaces/${made.id}`))
    expectProblem(await api.get(`/v2/interfaces/${made.id}`), 'interface_not_found')
  })

  test('is one of its device here and there, wherever it goes', async () => {
    const made = await createInterface(api, {
      device_id: 'vm-1',
      mac_address: null,
      families: [4],
    })
    v1Body(201, await ask({ name: 'vif-1' }))
    const other = await named('vif-1')
    const idsOf = async (device: string) =>
      v1Body(200, await v1().new.get(`instances/${device}/interfaces`)).instance.interfaces.map(
        ({ id }: { id: string }) => id,
      )
    expect(await idsOf('vm-1')).toEqual([made.id])
    for (const { id } of [made, other]) {
      expectStatus(200, await api.patch(`/v2/interfaces/${id}`, { device_id: 'vm-2' }))
    }
    expect(await idsOf('vm-1')).toEqual([])
    expect(await idsOf('vm-2')).toEqual([made.id, 'vif-1'])
    v1Body(200, await v1().new.delete('instances/vm-2/interfaces'))
    expect(interfacesOf(await api.get('/v2/devices/vm-2/interfaces'))).toEqual([])
  })

  test('takes the place of one that is on no network, and gives way to what v1.0 puts there', async () => {
    const path = 'instances/vm-1/interfaces'
    v1Body(200, await v1().new.post(path, { interface: { tenant_id: 'red' } }))
    const specs = [{ mac_address: null, families: [4 as const] }]
    const [made] = interfacesOf(await putInterfaces(api, 'vm-1', specs))
    expect(made).toMatchObject({ network_id: red })
    const shown = v1Body(200, await v1().new.get(path)).instance.interfaces
    expect(shown).toMatchObject([{ id: made?.id, ip_addresses: [{ address: '10.0.0.0' }] }])
    const network = { id: blue, tenant_id: 'red' }
    const instance = { tenant_id: 'red', interfaces: [{ network }, { network }] }
    v1Body(200, await v1().new.put(path, { instance }))
    const now = interfacesOf(await api.get('/v2/devices/vm-1/interfaces'))
    expect(now.map(addressesOf)).toEqual([['10.1.0.0'], ['10.1.0.1']])
    expect(now).toMatchObject([{ network_id: blue }, { network_id: blue }])
  })
})

describe('an allowed address', () => {
  const allowedPath = 'tenants/red/interfaces/vif-1/allowed_ips'
  const allow = (ip_address: string) =>
    v1().old.post(allowedPath, { allowed_ip: { ip_address, network_id: red } })
  const shownIn = async () =>
    (v1Body(200, await v1().old.get(allowedPath)).ip_addresses as { address: string }[])
      .map(({ address }) => address)
      .toSorted()

  beforeEach(async () => {
    v1Body(201, await ask({ name: 'vif-1' }))
    v1Body(201, await ask({ name: 'vif-2' }))
  })

  test('of v0.1 is a shared one of v2, with its history', async () => {
    const { id } = await named('vif-1')
    const cursor = await newestEvent()
    v1Body(201, await allow('10.0.0.1'))
    const [allowed] = await allowedOf('allowed-addresses?address=10.0.0.1')
    expect(allowed).toMatchObject({ interface_id: id, network_id: red, role: 'shared' })
    expectStatus(204, await api.delete(`/v2/interfaces/${id}/allowed-addresses/${allowed?.id}`))
    v1Body(404, await v1().old.get(`${allowedPath}/10.0.0.1`))
    v1Body(201, await allow('10.0.0.1'))
    v1Body(400, await allow('10.0.0.1'))
    v1Body(200, await v1().old.delete(`${allowedPath}/10.0.0.1`))
    expect(await typesSince(cursor)).toEqual([
      'allowed_address.created',
      'allowed_address.deleted',
      'allowed_address.created',
      'allowed_address.deleted',
    ])
  })

  test('of v2 is shown, whether somebody holds it or not, and can be taken away', async () => {
    const { id } = await named('vif-1')
    const path = `/v2/interfaces/${id}/allowed-addresses`
    for (const address of ['10.0.0.1', '10.0.0.9', '192.0.2.9', '10.0.0.12/30']) {
      expectStatus(201, await api.post(path, { address }))
    }
    expect(await shownIn()).toEqual(['10.0.0.0', '10.0.0.1', '10.0.0.9'])
    const held = v1Body(200, await v1().old.get(`${allowedPath}/10.0.0.1`)).ip_address
    expect(held).toMatchObject({ interface_id: 'vif-2', used_by_tenant: 'red' })
    const free = v1Body(200, await v1().old.get(`${allowedPath}/10.0.0.9`)).ip_address
    expect(free).toMatchObject({
      interface_id: null,
      used_by_tenant: null,
      ip_block_id: blocks.red,
    })
    v1Body(200, await v1().old.delete(`${allowedPath}/10.0.0.9`))
    expect(await shownIn()).toEqual(['10.0.0.0', '10.0.0.1'])
    expect(await allowedOf('allowed-addresses?address=10.0.0.9')).toEqual([])
  })

  test('that v2 gave to one alone is refused to others', async () => {
    const { id } = await named('vif-2')
    const path = `/v2/interfaces/${id}/allowed-addresses`
    expectStatus(201, await api.post(path, { address: '10.0.0.1' }))
    expect(v1Body(409, await allow('10.0.0.1'))).toMatchObject({
      Conflict: { detail: expect.stringContaining('exclusively') },
    })
  })

  test('is none of an interface of another network, or of none', async () => {
    v1Body(201, await v1().old.post('interfaces', { interface: { id: 'vif-3', tenant_id: 'red' } }))
    const body = { allowed_ip: { ip_address: '10.0.0.1', network_id: red } }
    v1Body(422, await v1().old.post('tenants/red/interfaces/vif-3/allowed_ips', body))
  })
})

test('routes, NAT mappings and policies are the same here and there', async () => {
  const route = { destination: '192.0.2.0/24', gateway: '10.0.0.14' }
  expectStatus(201, await api.post(`/v2/blocks/${blocks.red}/routes`, route))
  const routes = `tenants/red/ip_blocks/${blocks.red}/ip_routes`
  const { ip_routes } = v1Body(200, await v1().new.get(routes))
  expect(ip_routes).toMatchObject([route])
  v1Body(200, await v1().new.delete(`${routes}/${ip_routes[0].id}`))
  expect((await api.get(`/v2/blocks/${blocks.red}/routes`)).body).toMatchObject({ routes: [] })

  const ip_block = { type: 'public', cidr: '198.51.100.0/28' }
  const made = await v1().new.post('tenants/red/ip_blocks', { ip_block })
  const public_id = v1Body(201, made).ip_block.id
  const inside = await createInterface(api, { mac_address: null, families: [4] })
  const [global] = expectStatus(
    201,
    await api.post('/v2/allocations', { block_id: public_id, project_id: 'red' }),
  ).allocations
  const local = inside.addresses[0]
  const pair = { inside_local_id: local?.allocation_id, inside_global_id: global?.id }
  expectStatus(201, await api.post('/v2/nat-mappings', pair))
  const nat = `tenants/red/ip_blocks/${blocks.red}/ip_addresses/${local?.address}/inside_globals`
  expect(v1Body(200, await v1().old.get(nat)).ip_addresses).toMatchObject([
    { address: global?.address, ip_block_id: public_id },
  ])
  v1Body(200, await v1().old.delete(nat))
  expect((await api.get('/v2/nat-mappings')).body.nat_mappings).toEqual([])

  const answer = await v1().new.post('tenants/red/policies', { policy: { name: 'p' } })
  const { id: policy_id } = v1Body(201, answer).policy
  expectStatus(200, await api.patch(`/v2/blocks/${blocks.blue}`, { policy_id }))
  const rule = { ip_octet: { octet: 1 } }
  v1Body(201, await v1().new.post(`tenants/red/policies/${policy_id}/unusable_ip_octets`, rule))
  const given = await createInterface(api, { network_id: blue, mac_address: null, families: [4] })
  const next = await createInterface(api, { network_id: blue, mac_address: null, families: [4] })
  expect([given, next].flatMap(addressesOf)).toEqual(['10.1.0.0', '10.1.0.2'])
})

test('an IPv6 block of v1.0 is refused on a network whose MTU is too small for it', async () => {
  const small = expectStatus(200, await api.patch(`/v2/networks/${red}`, { mtu: 1279 }))
  const ip_block = { type: 'private', cidr: 'fd00::/64', network_id: small.id }
  for (const client of [v1().old, v1().new]) {
    const refused = v1Body(409, await client.post('tenants/red/ip_blocks', { ip_block }))
    expect(JSON.stringify(refused)).toMatch(/Conflict.*1280/)
  }
  expectStatus(200, await api.patch(`/v2/networks/${red}`, { mtu: null }))
  v1Body(201, await v1().new.post('tenants/red/ip_blocks', { ip_block }))
})
