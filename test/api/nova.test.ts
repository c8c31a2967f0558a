import type { Static } from 'typebox'
import { Value } from 'typebox/value'
import { beforeEach, describe, expect, test } from 'vitest'
import { Config } from '../../src/config.ts'
import { type Api, adminToken, useApi } from '../helpers/api.ts'

// What Nova 2011.3 to 2012.1 sent through its Melange client: ten calls, mostly with `.json`, no
// paging, and any status below 400 as success. Requests by the table of calls: a boot, a restart and
// a deletion of an instance of one project on a network that another project owns.

const blocks = 205
const { melange_v1 } = Value.Default(Config, {}) as Static<typeof Config>
const owner = 'provider'
const project = 'tenant-of-the-instance'
const network = 'b8e1a0ba-4d7e-4a1c-9f0a-58a3d4a0f001'
const vif = '5d0b1f0e-7a54-4bfa-a33e-2c9a6e8b0a11'
const instance = '9a3c4f86-0a43-4d2f-8f2e-1f77d0e0c0de'
const mac = '02:16:3E:00:00:0A'

let api: Api

/** As Nova: a content type with or without a body, and no token but that of the proxy. */
async function nova(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) {
  const answer = await api.app.inject({
    method,
    url: `/v0.1/${path}`,
    headers: { 'x-auth-token': adminToken, 'content-type': 'application/json' },
    ...(body && { payload: body }),
  })
  const isJson = answer.payload !== '' && /json/.test(String(answer.headers['content-type']))
  return { status: answer.statusCode, body: isJson ? answer.json() : null }
}

const allocationsOf = (tenant: string, of = network, at = vif) =>
  `ipam/tenants/${tenant}/networks/${of}/interfaces/${at}/ip_allocations.json`

async function createNetwork(): Promise<void> {
  for (const cidr of ['10.0.0.0/24', 'fd00:1::/64']) {
    const ip_block = {
      ...{ cidr, network_id: network, type: 'private' },
      gateway: cidr.startsWith('10') ? '10.0.0.1' : null,
      ...{ dns1: null, dns2: '9.9.9.9' },
    }
    const made = await nova('POST', `ipam/tenants/${owner}/ip_blocks.json`, { ip_block })
    expect(made.status).toBe(201)
  }
}

async function boot() {
  const created = await nova('POST', 'ipam/interfaces.json', {
    interface: { id: vif, tenant_id: project, device_id: instance, mac_address: mac },
  })
  const given = await nova('POST', allocationsOf(owner), {
    network: { mac_address: mac, tenant_id: project },
  })
  return { created, given }
}

describe('Nova', () => {
  const ours = useApi({ melange_v1: { ...melange_v1, page_size: blocks + 20 } })
  beforeEach(() => {
    api = ours
  })

  test('boots, asks for, restarts and deletes an instance', async () => {
    await createNetwork()
    const { body: listed } = await nova('GET', `ipam/tenants/${owner}/ip_blocks.json`)
    const [v4] = listed.ip_blocks
    expect(listed.ip_blocks).toMatchObject([{ network_id: network }, { network_id: network }])
    expect((await nova('GET', `ipam/tenants/${project}/ip_blocks.json`)).body.ip_blocks).toEqual([])

    const { created, given } = await boot()
    expect(created).toMatchObject({ status: 201, body: { interface: { mac_address: mac } } })
    const [one, other] = given.body.ip_addresses
    expect(given).toMatchObject({ status: 201, body: { ip_addresses: { length: 2 } } })
    expect(one).toMatchObject({ version: 4, address: '10.0.0.0', interface_id: vif })
    expect(one).not.toHaveProperty('used_by_device')
    expect(one.ip_block).toMatchObject({
      ...{ id: v4.id, cidr: '10.0.0.0/24', network_id: network, gateway: '10.0.0.1' },
      ...{ broadcast: '10.0.0.255', netmask: '255.255.255.0', ip_routes: [] },
      ...{ dns1: '8.8.8.8', dns2: '9.9.9.9' },
    })
    expect(other).toMatchObject({ version: 6, ip_block: { netmask: '64' } })

    // A restart asks again, and is given nothing new.
    for (let n = 0; n < 3; n++) {
      expect((await nova('GET', allocationsOf(owner))).body).toEqual(given.body)
    }
    const routes = `ipam/tenants/${owner}/ip_blocks/${v4.id}/ip_routes.json`
    expect((await nova('GET', routes)).body).toEqual({ ip_routes: [] })

    // The filter of `nova list --ip`, in any spelling; there it listed everything.
    const spelled = other.address.replaceAll(/(^|:)0+(?=[0-9a-f])/g, '$1').toUpperCase()
    for (const address of [one.address, other.address, spelled]) {
      const path = `ipam/allocated_ip_addresses.json?address=${encodeURIComponent(address)}`
      const { body } = await nova('GET', path)
      expect(body.ip_addresses).toMatchObject([{ used_by_device: instance }])
    }
    const none = await nova('GET', 'ipam/allocated_ip_addresses.json?address=10.0.0.9')
    expect(none.body).toEqual({ ip_addresses: [] })

    // Its DHCP server asks without the suffix, for the project or for all.
    for (const path of [`ipam/tenants/${project}/`, 'ipam/']) {
      const { body } = await nova('GET', `${path}allocated_ip_addresses`)
      expect(body.ip_addresses.map(({ address }: { address: string }) => address)).toEqual([
        one.address,
        other.address,
      ])
      expect(body.ip_addresses).toMatchObject([{ interface_id: vif }, { interface_id: vif }])
    }

    // Deletion.
    expect(await nova('DELETE', allocationsOf(owner))).toEqual({ status: 200, body: null })
    expect((await nova('GET', allocationsOf(owner))).body).toEqual({ ip_addresses: [] })
    expect((await nova('GET', 'ipam/allocated_ip_addresses')).body).toEqual({ ip_addresses: [] })
    expect(await nova('DELETE', 'ipam/interfaces/unknown.json')).toMatchObject({ status: 404 })
    for (const { id } of listed.ip_blocks) {
      const path = `ipam/tenants/${owner}/ip_blocks/${id}.json`
      expect(await nova('DELETE', path)).toEqual({ status: 200, body: null })
    }
  })

  test('learns from a failure, and only from that, whose a network is', async () => {
    await createNetwork()
    await boot()
    const probes = [
      allocationsOf(project),
      allocationsOf(owner, 'another-network'),
      allocationsOf(owner, network, 'another-vif'),
      `ipam/networks/${network}/interfaces/${vif}/ip_allocations.json`,
      allocationsOf(''),
    ]
    for (const path of probes) {
      expect([path, (await nova('GET', path)).status]).toEqual([path, 404])
      expect([path, (await nova('DELETE', path)).status]).toEqual([path, 404])
    }
    expect((await nova('POST', allocationsOf(''))).status).toBe(404)
    expect((await nova('GET', allocationsOf(owner))).body.ip_addresses).toHaveLength(2)
  })

  test('needs no interface and no body to be given an address', async () => {
    const ip_block = { cidr: '10.0.0.0/30', network_id: network, type: 'private' }
    await nova('POST', `ipam/tenants/${owner}/ip_blocks.json`, { ip_block })
    const given: number[] = []
    for (let n = 0; n < 4; n++) {
      given.push((await nova('POST', allocationsOf(owner, network, `vif-${n}`))).status)
    }
    expect(given).toEqual([201, 201, 201, 422])
    const held = await nova('GET', `ipam/tenants/${owner}/allocated_ip_addresses`)
    expect(held.body.ip_addresses).toHaveLength(3)
  })

  test('sees all blocks at once, for it cannot page', async () => {
    for (let n = 0; n < blocks; n++) {
      const ip_block = { cidr: `10.${n}.0.0/24`, network_id: network, type: 'private' }
      await nova('POST', `ipam/tenants/${owner}/ip_blocks.json`, { ip_block })
    }
    const { body } = await nova('GET', `ipam/tenants/${owner}/ip_blocks.json`)
    expect(body.ip_blocks).toHaveLength(blocks)
    expect(body).not.toHaveProperty('ip_blocks_links')
  }, 90_000)
})

describe('Nova, where deallocated addresses are kept', () => {
  const ours = useApi({ melange_v1: { ...melange_v1, keep_deallocated_ips: true } })
  beforeEach(() => {
    api = ours
  })

  test('deletes an instance whose addresses wait, while the next one is given others', async () => {
    await createNetwork()
    const { given } = await boot()
    expect(await nova('DELETE', allocationsOf(owner))).toEqual({ status: 200, body: null })
    const { body } = await api.get('/v2/quarantine?limit=10')
    const waiting = body.quarantine.map(({ address }) => address).sort()
    expect(waiting).toHaveLength(2)
    expect(waiting[0]).toBe('10.0.0.0')
    await nova('DELETE', `ipam/interfaces/${vif}.json`)
    const again = await boot()
    expect(again.given.body.ip_addresses[0]).toMatchObject({ address: '10.0.0.2' })
    expect(again.given.body.ip_addresses[1].address).not.toBe(given.body.ip_addresses[1].address)
  })
})
