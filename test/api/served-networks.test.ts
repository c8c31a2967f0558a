import { beforeEach, describe, expect, test } from 'vitest'
import type { ServedHost, ServedNetwork } from '../../src/dhcp/served.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { createInterface } from '../helpers/interfaces.ts'
import { policiesOf } from '../helpers/policies.ts'

const api = useApi()
const policies = policiesOf(api)
const mac_address = '52:54:00:00:00:01'
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'

let network_id: string
let four: Block
let six: Block
beforeEach(async () => {
  const network = { name: 'web', mtu: 1450, project_id: 'red' }
  network_id = expectStatus(201, await api.post('/v2/networks', network)).id
  const settings = { gateway_ip: '10.0.0.1', dns_nameservers: ['10.0.0.2', '2001:db8::2'] }
  four = await api.createBlock('10.0.0.0/24', { network_id, ...settings })
  six = await api.createBlock('2001:db8::/64', { network_id, gateway_ip: 'fe80::1' })
})

const path = () => `/v2/networks/${network_id}/dhcp`
const served = async () => expectStatus(200, await api.get(path())) as unknown as ServedNetwork
const pageOf = (answer: Answer) =>
  expectStatus(200, answer) as unknown as { hosts: ServedHost[]; next_marker: string | null }
const hosts = async (query = '') => pageOf(await api.get(`${path()}/hosts?${query}`)).hosts
const set = async (place: string, value: unknown) =>
  expectStatus(200, await api.put(`/v2/${place}`, { value }))
const allocate = async (request: object) =>
  expectStatus(201, await api.post('/v2/allocations', { project_id: 'red', ...request }))
    .allocations

describe('a served network', () => {
  test('has the subnets that give out addresses, and what is in force there', async () => {
    const top = await api.createBlock('10.1.0.0/16')
    const [leaf] = await api.cut(top, { cidrs: ['10.1.1.0/24'], network_id })
    await set(`networks/${network_id}/dhcp-options/4/ntp-servers`, ['192.0.2.3'])
    const { subnets, ...network } = await served()
    expect(network).toEqual({ id: network_id, project_id: 'red', name: 'web', mtu: 1450 })
    expect(subnets.map(one => one.block_id)).toEqual([four.id, six.id, leaf?.id].toSorted())
    const found = subnets.find(one => one.block_id === four.id)
    expect(found).toEqual({
      block_id: four.id,
      cidr: '10.0.0.0/24',
      version: 4,
      gateway_ip: '10.0.0.1',
      options: [
        { code: 1, value: '255.255.255.0' },
        { code: 3, value: ['10.0.0.1'] },
        { code: 6, value: ['10.0.0.2'] },
        { code: 26, value: 1450 },
        { code: 42, value: ['192.0.2.3'] },
      ],
      boot_files: [],
      unknown_clients: null,
    })
  })

  test('tells what unknown clients get, and what machines boot from, by the nearest policy', async () => {
    const subnet = async (id = four.id) => {
      const found = (await served()).subnets.find(one => one.block_id === id)
      return found && [found.unknown_clients, found.boot_files]
    }
    const boot_files = [
      { architectures: [7, 9], server: null, file: 'ipxe.efi' },
      { architectures: [0], server: '192.0.2.1', file: 'undionly.kpxe' },
    ]
    const far = await policies.create({
      unknown_clients: { lease_seconds: 600, purpose: 'guests' },
      boot_files,
    })
    await policies.attach('/v2/address-scopes/public', far)
    const gift = { project_id: 'red', lease_seconds: 600, purpose: 'guests' }
    expect(await subnet()).toEqual([gift, boot_files])
    expect(await subnet(six.id)).toEqual([gift, boot_files])
    const rules = { unknown_clients: { lease_seconds: 60 }, boot_files: [] }
    const near = await policies.create(rules, 'near')
    await policies.attach(`/v2/blocks/${four.id}`, near)
    expect(await subnet()).toEqual([{ project_id: 'red', lease_seconds: 60, purpose: null }, []])
    expect(await subnet(six.id)).toEqual([gift, boot_files])
    await policies.change(near, { rules: { unknown_clients: null } })
    expect(await subnet()).toEqual([null, boot_files])
    const project_id = 'guests'
    const unknown_clients = { lease_seconds: 60, project_id }
    await policies.change(near, { rules: { unknown_clients } })
    expect(await subnet()).toEqual([
      { ...gift, project_id, lease_seconds: 60, purpose: null },
      boot_files,
    ])
    const effective = expectStatus(200, await api.get(`/v2/blocks/${four.id}/rules`))
    expect(effective).toMatchObject({
      unknown_clients: { value: unknown_clients, source: { policy_id: near.id } },
      boot_files: { value: boot_files, source: { policy_id: far.id } },
    })
  })

  test('gives unknown clients addresses of its project, else of that of the block, else none', async () => {
    const policy_id = (await policies.create({ unknown_clients: { lease_seconds: 60 } })).id
    const shared = expectStatus(201, await api.post('/v2/networks', { policy_id })).id
    await api.createBlock('10.8.0.0/24', { network_id: shared, project_id: 'blue' })
    await api.createBlock('10.9.0.0/24', { network_id: shared })
    const { subnets } = expectStatus(
      200,
      await api.get(`/v2/networks/${shared}/dhcp`),
    ) as unknown as ServedNetwork
    const whose = subnets.map(one => [one.cidr, one.unknown_clients?.project_id])
    expect(Object.fromEntries(whose)).toEqual({ '10.8.0.0/24': 'blue', '10.9.0.0/24': undefined })
  })

  test('bears an entity tag of its content', async () => {
    const { headers } = await api.get(path())
    const again = { 'if-none-match': String(headers.etag) }
    expect((await api.request('GET', path(), undefined, again)).status).toBe(304)
    await set(`blocks/${four.id}/dhcp-options/4/mtu`, 1400)
    expect((await api.request('GET', path(), undefined, again)).status).toBe(200)
  })

  test('is not there if the network is not', async () => {
    for (const url of [`/v2/networks/${nowhere}/dhcp`, `/v2/networks/${nowhere}/dhcp/hosts`]) {
      expectProblem(await api.get(url), 'network_not_found')
    }
  })
})

describe('the hosts of a network', () => {
  test('are its interfaces with a MAC, and clients', async () => {
    const nic = await createInterface(api, { network_id, mac_address, families: [4, 6] })
    const bare = await createInterface(api, { network_id, mac_address: '52:54:00:00:00:02' })
    await createInterface(api, { network_id, mac_address: null, families: [4] })
    const owner_id = 'duid:00030001525400000003/7'
    const client = { owner_type: 'dhcp_client', owner_id, lifetime_seconds: 60, name: 'Guest-1' }
    const [held] = await allocate({ block_id: four.id, ...client })
    await allocate({ block_id: four.id, ...client, owner_id: 'no name of a client' })
    const [a, b] = nic.addresses
    const none = { client_id: null, duid: null, iaid: null }
    const common = { expires_at: null, withheld_until: null }
    expect(await hosts()).toEqual([
      {
        id: nic.id,
        type: 'interface',
        mac_address,
        ...none,
        host_name: null,
        addresses: [
          { ...a, ...common },
          { ...b, ...common },
        ],
        options: [],
      },
      {
        id: bare.id,
        type: 'interface',
        mac_address: '52:54:00:00:00:02',
        ...none,
        host_name: null,
        addresses: [],
        options: [],
      },
      {
        id: owner_id,
        type: 'client',
        mac_address: null,
        client_id: null,
        duid: '00030001525400000003',
        iaid: 7,
        host_name: 'guest-1',
        addresses: [
          {
            allocation_id: held?.id,
            block_id: four.id,
            address: held?.address,
            expires_at: held?.expires_at,
            withheld_until: null,
          },
        ],
        options: [],
      },
    ])
  })

  test('come in pages, each once and in one order', async () => {
    for (let n = 1; n <= 3; n++) {
      await createInterface(api, { network_id, mac_address: `52:54:00:00:00:0${n}` })
      const owner = { owner_type: 'dhcp_client', owner_id: `52:54:00:00:01:0${n}` }
      for (const block of [four, six]) await allocate({ block_id: block.id, ...owner })
    }
    const all = await hosts()
    expect(all).toHaveLength(6)
    for (const limit of [1, 2, 3, 4, 6]) {
      const found: ServedHost[] = []
      for (let url: string | undefined = `${path()}/hosts?limit=${limit}`; url; ) {
        const answer: Answer = await api.get(url)
        const page = pageOf(answer)
        expect(page.hosts.length).toBeLessThanOrEqual(limit)
        found.push(...page.hosts)
        url = answer.body.links[0]?.href
      }
      expect(found).toEqual(all)
    }
    const wanted = [all[4], all[1]].map(one => encodeURIComponent(String(one?.id)))
    const query = [...wanted, nowhere, 'nobody'].map(id => `id=${id}`).join('&')
    expect(await hosts(query)).toEqual([all[1], all[4]])
  })
})
