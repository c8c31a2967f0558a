import { beforeEach, describe, expect, test, vi } from 'vitest'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { InterfaceConfiguration } from '../../src/resources/host-configuration/schema.ts'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { createInterface } from '../helpers/interfaces.ts'

const api = useApi()
const mac_address = '52:54:00:00:00:01'
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'

let network_id: string
let four: Block
let six: Block
let nic: Interface
beforeEach(async () => {
  const network = { name: 'web', mtu: 1450 }
  network_id = expectStatus(201, await api.post('/v2/networks', network)).id
  const settings = { gateway_ip: '10.0.0.1', dns_nameservers: ['10.0.0.2', '2001:db8::2'] }
  four = await api.createBlock('10.0.0.0/24', { network_id, ...settings })
  six = await api.createBlock('2001:db8::/64', { network_id, gateway_ip: 'fe80::1' })
  nic = await createInterface(api, {
    network_id,
    mac_address,
    device_id: 'vm',
    name: 'eth0',
    families: [4, 6],
  })
})

const configurationOf = async ({ id }: { id: string }) =>
  expectStatus(
    200,
    await api.get(`/v2/interfaces/${id}/configuration`),
  ) as unknown as InterfaceConfiguration
const set = async (path: string, value: unknown) =>
  expectStatus(200, await api.put(`/v2/${path}`, { value }))
const optionsOf = ({ subnets }: InterfaceConfiguration, place: number) =>
  subnets[place]?.options.map(({ name, value, source, derived_from }) => [
    name,
    value,
    source.type,
    derived_from,
  ])

describe('the configuration of an interface', () => {
  test('is all that a host needs, and tells where it comes from', async () => {
    const route = { destination: '192.0.2.0/24', gateway: '10.0.0.9', metric: 5 }
    expectStatus(201, await api.post(`/v2/blocks/${four.id}/routes`, route))
    await set('address-scopes/public/dhcp-options/4/ntp-servers', ['192.0.2.3'])
    await set(`networks/${network_id}/dhcp-options/6/domain-search`, ['example.com'])
    await set(`interfaces/${nic.id}/dhcp-options/6/dns-servers`, ['2001:db8::53'])
    await set(`interfaces/${nic.id}/dhcp-options/4/domain-name`, 'example.org')
    const found = await configurationOf(nic)
    const own = (id: string, derived_from: string) => ({
      source: { type: 'block', id },
      derived_from,
    })
    const on = (type: string, id: string) => ({ source: { type, id }, derived_from: null })
    const [a, b] = nic.addresses
    expect(found).toEqual({
      interface_id: nic.id,
      device_id: 'vm',
      project_id: 'red',
      network_id,
      name: 'eth0',
      mac_address,
      mtu: { value: 1450, source: { type: 'network', id: network_id }, derived_from: 'mtu' },
      subnets: [
        {
          block_id: four.id,
          network_id,
          cidr: '10.0.0.0/24',
          version: 4,
          prefix_length: { value: 24, ...own(four.id, 'cidr') },
          addresses: [{ allocation_id: a?.allocation_id, address: '10.0.0.2' }],
          gateway: { value: '10.0.0.1', ...own(four.id, 'gateway_ip') },
          routes: { value: [route], ...own(four.id, 'routes') },
          name_servers: { value: ['10.0.0.2'], ...own(four.id, 'dns_nameservers') },
          search_domains: { value: ['example.org'], ...on('interface', nic.id) },
          ntp_servers: { value: ['192.0.2.3'], ...on('address_scope', publicScopeId) },
          options: expect.any(Array),
        },
        {
          block_id: six.id,
          network_id,
          cidr: '2001:db8::/64',
          version: 6,
          prefix_length: { value: 64, ...own(six.id, 'cidr') },
          addresses: [{ allocation_id: b?.allocation_id, address: b?.address }],
          gateway: { value: 'fe80::1', ...own(six.id, 'gateway_ip') },
          routes: null,
          name_servers: { value: ['2001:db8::53'], ...on('interface', nic.id) },
          search_domains: { value: ['example.com'], ...on('network', network_id) },
          ntp_servers: null,
          options: expect.any(Array),
        },
      ],
      prefixes: [],
    })
    expect(optionsOf(found, 0)).toEqual([
      ['subnet-mask', '255.255.255.0', 'block', 'cidr'],
      ['router', ['10.0.0.1'], 'block', 'gateway_ip'],
      ['dns-servers', ['10.0.0.2'], 'block', 'dns_nameservers'],
      ['domain-name', 'example.org', 'interface', null],
      ['mtu', 1450, 'network', 'mtu'],
      ['ntp-servers', ['192.0.2.3'], 'address_scope', null],
      [
        'classless-routes',
        [
          { destination: '0.0.0.0/0', gateway: '10.0.0.1' },
          { destination: '192.0.2.0/24', gateway: '10.0.0.9' },
        ],
        'block',
        'routes',
      ],
    ])
    expect(optionsOf(found, 1)).toEqual([
      ['dns-servers', ['2001:db8::53'], 'interface', null],
      ['domain-search', ['example.com'], 'network', null],
    ])
    const ofBlock = (await api.get(`/v2/blocks/${four.id}/configuration`)).body.options
    const shared = found.subnets[0]?.options.filter(({ source }) => source.type !== 'interface')
    expect(shared).toEqual(ofBlock)
  })

  test('has a value from the nearest: interface, block, parents, network, scope', async () => {
    const top = await api.createBlock('10.1.0.0/16')
    const [leaf] = await api.cut(top, { cidrs: ['10.1.1.0/24'], network_id })
    if (!leaf) throw new Error('no block')
    const other = await createInterface(api, {
      network_id,
      mac_address: null,
      addresses: ['10.1.1.7'],
    })
    expect((await configurationOf(other)).mtu).toMatchObject({ value: 1450, derived_from: 'mtu' })
    const places = [
      ['address_scope', publicScopeId, 'address-scopes/public'],
      ['block', top.id, `blocks/${top.id}`],
      ['network', network_id, `networks/${network_id}`],
      ['block', leaf.id, `blocks/${leaf.id}`],
      ['interface', other.id, `interfaces/${other.id}`],
    ] as const
    for (const [n, [type, id, path]] of places.entries()) {
      await set(`${path}/dhcp-options/4/ntp-servers`, [`192.0.2.${n}`])
      await set(`${path}/dhcp-options/4/mtu`, 1000 + n)
      const { subnets, mtu } = await configurationOf(other)
      const expected = { source: { type, id }, derived_from: null }
      expect(subnets[0]?.ntp_servers).toEqual({ value: [`192.0.2.${n}`], ...expected })
      if (n > 1) expect(mtu).toEqual({ value: 1000 + n, ...expected })
      else expect(mtu).toMatchObject({ value: 1450, derived_from: 'mtu' })
    }
  })

  test('shows delegated prefixes apart', async () => {
    const pool = await api.createBlock('2001:db8:f::/48', { network_id })
    const { id } = await api.allocateOne(pool, {
      prefix_length: 56,
      project_id: 'red',
      owner_type: 'interface',
      owner_id: nic.id,
    })
    const { subnets, prefixes } = await configurationOf(nic)
    expect(prefixes).toEqual([
      { allocation_id: id, block_id: pool.id, prefix: expect.stringMatching(/\/56$/) },
    ])
    expect(subnets).toHaveLength(2)
  })

  test('is there without addresses, and without a MAC', async () => {
    const bare = await createInterface(api, { network_id, mac_address: null })
    expect(await configurationOf(bare)).toMatchObject({
      mac_address: null,
      mtu: { value: 1450, derived_from: 'mtu' },
      subnets: [],
      prefixes: [],
    })
    await set(`interfaces/${bare.id}/dhcp-options/4/mtu`, 1400)
    expect((await configurationOf(bare)).mtu).toMatchObject({ source: { type: 'interface' } })
  })

  test('is that of an interface that there is', async () => {
    const answer = await api.get(`/v2/interfaces/${nowhere}/configuration`)
    expectProblem(answer, 'interface_not_found', { status: 404 })
  })

  test('takes as many statements whatever there is', async () => {
    const count = async (path: string) => {
      const query = vi.spyOn(api.db, 'query')
      expectStatus(200, await api.get(path))
      const { length } = query.mock.calls
      query.mockRestore()
      return length
    }
    const few = await count(`/v2/interfaces/${nic.id}/configuration`)
    const more = Array.from({ length: 30 }, (_, n) => `10.0.0.${n + 100}`)
    expectStatus(201, await api.post(`/v2/interfaces/${nic.id}/addresses`, { addresses: more }))
    for (let n = 0; n < 3; n++) {
      const { id } = expectStatus(201, await api.post('/v2/networks', {}))
      await api.createBlock(`10.${n + 9}.0.0/24`, { network_id: id })
      await createInterface(api, {
        network_id: id,
        mac_address: null,
        device_id: 'vm',
        families: [4],
      })
    }
    expect(await count('/v2/devices/vm/configuration')).toBe(few)
    expect(few).toBeLessThanOrEqual(4)
  })
})

describe('the configuration of a device', () => {
  test('is that of its interfaces, or of those of a project', async () => {
    const other = await createInterface(api, {
      network_id,
      mac_address: null,
      device_id: 'vm',
      project_id: 'blue',
    })
    const all = expectStatus(200, await api.get('/v2/devices/vm/configuration'))
    expect(all).toEqual({
      device_id: 'vm',
      interfaces: [await configurationOf(nic), await configurationOf(other)],
    })
    const blue = await api.get('/v2/devices/vm/configuration?project_id=blue')
    expect(blue.body).toMatchObject({ interfaces: [{ interface_id: other.id }] })
    expect((await api.get('/v2/devices/none/configuration')).body).toEqual({
      device_id: 'none',
      interfaces: [],
    })
  })
})

describe('the network data of a device', () => {
  test('is that of OpenStack', async () => {
    const dns = { type: 'dns', address: '10.0.0.2' }
    expect(expectStatus(200, await api.get('/v2/devices/vm/network-data'))).toEqual({
      links: [
        {
          id: 'interface0',
          vif_id: nic.id,
          type: 'phy',
          ethernet_mac_address: mac_address,
          mtu: 1450,
        },
      ],
      networks: [
        {
          id: 'network0',
          link: 'interface0',
          network_id,
          type: 'ipv4',
          ip_address: '10.0.0.2',
          netmask: '255.255.255.0',
          routes: [{ network: '0.0.0.0', netmask: '0.0.0.0', gateway: '10.0.0.1' }],
          dns_nameservers: ['10.0.0.2'],
        },
        {
          id: 'network1',
          link: 'interface0',
          network_id,
          type: 'ipv6',
          ip_address: nic.addresses[1]?.address,
          netmask: 'ffff:ffff:ffff:ffff::',
          routes: [{ network: '::', netmask: '::', gateway: 'fe80::1' }],
        },
      ],
      services: [dns],
    })
  })

  test('is that of cloud-init', async () => {
    const answer = await api.get('/v2/devices/vm/network-data?format=cloud-init')
    expect(expectStatus(200, answer)).toEqual({
      version: 2,
      ethernets: {
        eth0: {
          match: { macaddress: mac_address },
          'set-name': 'eth0',
          mtu: 1450,
          addresses: ['10.0.0.2/24', `${nic.addresses[1]?.address}/64`],
          routes: [
            { to: '0.0.0.0/0', via: '10.0.0.1' },
            { to: '::/0', via: 'fe80::1' },
          ],
          nameservers: { addresses: ['10.0.0.2'] },
        },
      },
    })
  })

  test('is nothing for a device without interfaces', async () => {
    const path = '/v2/devices/none/network-data'
    expect((await api.get(path)).body).toEqual({ links: [], networks: [], services: [] })
    const four = await api.get(`${path}?format=cloud-init`)
    expect(four.body).toEqual({ version: 2, ethernets: {} })
  })

  test('has one of two formats', async () => {
    const answer = await api.get('/v2/devices/vm/network-data?format=xml')
    expectProblem(answer, 'invalid_request', { field: 'format' })
  })
})

describe('the entity tag of what is put together', () => {
  const ask = (url: string, tag: unknown) =>
    api.request('GET', url, undefined, { 'if-none-match': String(tag) })
  const tagOf = ({ headers }: Answer) => headers.etag

  test.each([
    ['interface', () => `/v2/interfaces/${nic.id}/configuration`],
    ['device', () => '/v2/devices/vm/configuration'],
    ['block', () => `/v2/blocks/${four.id}/configuration`],
    ['network data', () => '/v2/devices/vm/network-data'],
    ['cloud-init', () => '/v2/devices/vm/network-data?format=cloud-init'],
  ])('follows its content: %s', async (_, url) => {
    const first = await api.get(url())
    expect(tagOf(await api.get(url()))).toBe(tagOf(first))
    for (const tag of [tagOf(first), `W/${tagOf(first)}`, `"1", ${tagOf(first)}`, '*']) {
      const same = await ask(url(), tag)
      expect(same).toMatchObject({ status: 304, body: null })
      expect(tagOf(same)).toBe(tagOf(first))
    }
    const dns_nameservers = ['10.0.0.3']
    expectStatus(200, await api.patch(`/v2/blocks/${four.id}`, { dns_nameservers }))
    const changed = await ask(url(), tagOf(first))
    expectStatus(200, changed)
    expect(tagOf(changed)).not.toBe(tagOf(first))
    expectProblem(await ask(url(), 'abc'), 'invalid_request', { field: 'if-none-match' })
  })
})

describe('the MTU of a network', () => {
  test('is a number of bytes, or not said', async () => {
    const network = expectStatus(201, await api.post('/v2/networks', {}))
    expect(network.mtu).toBe(null)
    const url = `/v2/networks/${network.id}`
    for (const mtu of [68, 65_535, null]) {
      expect(expectStatus(200, await api.patch(url, { mtu }))).toMatchObject({ mtu })
    }
    for (const mtu of [67, 65_536, 1.5, '1500']) {
      expectProblem(await api.patch(url, { mtu }), 'invalid_request', { field: 'mtu' })
    }
  })

  test('is 1280 or more with IPv6', async () => {
    const facts = { status: 409 }
    const url = `/v2/networks/${network_id}`
    expectProblem(await api.patch(url, { mtu: 1279 }), 'mtu_too_small', facts)
    expectStatus(200, await api.patch(url, { mtu: 1280 }))
    const { id } = expectStatus(201, await api.post('/v2/networks', { mtu: 1279 }))
    const block = { scope_id: 'public', cidr: '2001:db8:9::/64', network_id: id }
    expectProblem(await api.post('/v2/blocks', block), 'mtu_too_small', facts)
    await api.createBlock('10.9.0.0/24', { network_id: id })
    expectStatus(200, await api.patch(`/v2/networks/${id}`, { mtu: null }))
    expectStatus(201, await api.post('/v2/blocks', block))
  })

  test('and an IPv6 block that come at the same time do not miss each other', async () => {
    const { id } = expectStatus(201, await api.post('/v2/networks', {}))
    const [patched, created] = await Promise.all([
      api.patch(`/v2/networks/${id}`, { mtu: 1000 }),
      api.post('/v2/blocks', { scope_id: 'public', cidr: '2001:db8:9::/64', network_id: id }),
    ])
    expect([patched.status, created.status].toSorted()).not.toEqual([200, 201])
    const refused = patched.status === 409 ? patched : created
    expectProblem(refused, 'mtu_too_small')
  })
})
