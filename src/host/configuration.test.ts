import { describe, expect, test } from 'vitest'
import type { OptionSource } from '../dhcp/configuration.ts'
import { allRoutes, configureInterface, type HostBlock, type HostFacts } from './configuration.ts'

const four: HostBlock = {
  id: 'four',
  cidr: '10.0.0.0/22',
  version: 4,
  network_id: 'net',
  gateway_ip: '10.0.0.1',
  dns_nameservers: [],
  routes: [],
}
const six: HostBlock = { ...four, id: 'six', cidr: '2001:db8::/64', version: 6, gateway_ip: null }
const nic = {
  id: 'nic',
  network_id: 'net',
  name: '',
  mac_address: null,
  addresses: [
    { allocation_id: 'a', block_id: 'four', address: '10.0.0.2' },
    { allocation_id: 'b', block_id: 'six', address: '2001:db8::2' },
    { allocation_id: 'c', block_id: 'four', address: '10.0.0.3' },
    { allocation_id: 'd', block_id: 'six', address: '2001:db8:1::/56' },
  ],
}

type Say = readonly [asker: 'block' | 'interface' | 'network', about: string, ...Option]
type Option = readonly [version: 4 | 6, code: number, value: unknown, derived_from?: 'mtu']
const sources = { block: 'block', interface: 'interface', network: 'network' } as const

function facts(blocks: readonly HostBlock[], ...says: Say[]): HostFacts {
  const said = { block: new Map(), interface: new Map(), network: new Map() }
  for (const [asker, about, version, code, value, derived_from = null] of says) {
    const source: OptionSource = { type: sources[asker], id: about }
    const before = said[asker].get(about) ?? []
    said[asker].set(about, [...before, { version, code, value, source, derived_from }])
  }
  return { blocks: new Map(blocks.map(block => [block.id, block])), said }
}
const configured = (...given: Parameters<typeof facts>) => configureInterface(nic, facts(...given))
const first = (...given: Parameters<typeof facts>) => {
  const [subnet] = configured(...given).subnets
  if (!subnet) throw new Error('no subnet')
  return subnet
}

describe('the subnets of an interface', () => {
  test('are those of its addresses, each once, without delegated prefixes', () => {
    const { subnets, prefixes } = configured([four, six])
    const held = subnets.map(({ block, addresses }) => [block.id, addresses])
    expect(held).toEqual([
      [
        'four',
        [
          { allocation_id: 'a', address: '10.0.0.2' },
          { allocation_id: 'c', address: '10.0.0.3' },
        ],
      ],
      ['six', [{ allocation_id: 'b', address: '2001:db8::2' }]],
    ])
    expect(prefixes).toEqual([nic.addresses[3]])
  })

  test('are those that are known', () => {
    expect(configured([six]).subnets.map(({ block }) => block.id)).toEqual(['six'])
  })

  test('get options of their own version alone', () => {
    const says: Say[] = [
      ['interface', 'nic', 4, 6, ['192.0.2.1']],
      ['interface', 'nic', 6, 23, ['2001:db8::53']],
    ]
    const servers = configured([four, six], ...says).subnets.map(one => one.name_servers?.value)
    expect(servers).toEqual([['192.0.2.1'], ['2001:db8::53']])
  })
})

describe('the length of a subnet', () => {
  test.each([
    ['255.255.255.0', 24, 'interface'],
    ['0.0.0.0', 0, 'interface'],
    ['255.255.255.255', 32, 'interface'],
    ['255.0.255.0', 22, 'block'], // No mask, so it is passed over.
    ['0.0.0.255', 22, 'block'],
  ])('with the option subnet-mask %s is %i', (mask, value, type) => {
    const found = first([four], ['interface', 'nic', 4, 1, mask]).prefix_length
    expect(found).toMatchObject({ value, source: { type } })
  })

  test('is that of the block otherwise', () => {
    const source = { type: 'block', id: 'four' }
    expect(first([four]).prefix_length).toEqual({ value: 22, source, derived_from: 'cidr' })
    expect(configured([six]).subnets[0]?.prefix_length.value).toBe(64)
  })
})

describe('the routes of a subnet', () => {
  const route = { destination: '192.0.2.0/24', gateway: '10.0.0.9', metric: 7 }
  const byDefault = { destination: '0.0.0.0/0', gateway: '10.0.0.5', metric: 3 }

  test('begin with that to the gateway', () => {
    const subnet = first([{ ...four, routes: [route] }])
    expect(subnet.gateway).toMatchObject({ value: '10.0.0.1', derived_from: 'gateway_ip' })
    expect(subnet.routes).toMatchObject({ value: [route], derived_from: 'routes' })
    expect(allRoutes(subnet)).toEqual([{ ...byDefault, gateway: '10.0.0.1', metric: null }, route])
  })

  test('may have a default route of their own, in place of the gateway', () => {
    const subnet = first([{ ...four, routes: [byDefault, route] }])
    expect(subnet.gateway).toBe(null)
    expect(allRoutes(subnet)).toEqual([byDefault, route])
  })

  test('follow the option router', () => {
    const subnet = first([four], ['interface', 'nic', 4, 3, ['10.0.0.7', '10.0.0.8']])
    expect(subnet.gateway).toMatchObject({ value: '10.0.0.7', source: { type: 'interface' } })
  })

  test('are the classless routes that are set, and then routers do not count', () => {
    const set = [{ destination: '198.51.100.0/24', gateway: '10.0.0.4' }]
    const subnet = first([{ ...four, routes: [route] }], ['interface', 'nic', 4, 121, set])
    expect(subnet.gateway).toBe(null)
    expect(allRoutes(subnet)).toEqual([{ ...set[0], metric: null }])
  })

  test('of IPv6 are those of the block', () => {
    const routes = [{ destination: '2001:db8:9::/48', gateway: 'fe80::9', metric: null }]
    const [subnet] = configured([{ ...six, gateway_ip: 'fe80::1', routes }]).subnets
    expect(subnet && allRoutes(subnet)).toEqual([
      { destination: '::/0', gateway: 'fe80::1', metric: null },
      ...routes,
    ])
    const own = [{ destination: '::/0', gateway: 'fe80::2', metric: null }]
    const [other] = configured([{ ...six, gateway_ip: 'fe80::1', routes: own }]).subnets
    expect(other).toMatchObject({ gateway: null, routes: { value: own } })
  })

  test('are none where nobody says any', () => {
    const subnet = first([{ ...four, gateway_ip: null }])
    expect(subnet).toMatchObject({ gateway: null, routes: null })
    expect(allRoutes(subnet)).toEqual([])
  })
})

describe('the servers and domains of a subnet', () => {
  test('are null where nobody says them', () => {
    const nobody = { name_servers: null, search_domains: null, ntp_servers: null }
    expect(first([four])).toMatchObject(nobody)
  })

  test('are options of several names, in this order', () => {
    const name: Say = ['interface', 'nic', 4, 15, 'example.org']
    expect(first([four], name).search_domains?.value).toEqual(['example.org'])
    const list: Say = ['block', 'four', 4, 119, ['a.example', 'b.example']]
    expect(first([four], name, list).search_domains?.value).toEqual(['a.example', 'b.example'])
    const sntp: Say = ['block', 'six', 6, 31, ['2001:db8::1']]
    expect(configured([six], sntp).subnets[0]?.ntp_servers?.value).toEqual(['2001:db8::1'])
    const ntp: Say = ['block', 'six', 6, 56, ['ntp.example']]
    expect(configured([six], sntp, ntp).subnets[0]?.ntp_servers?.value).toEqual(['ntp.example'])
  })
})

describe('the MTU of an interface', () => {
  const ofNetwork: Say = ['network', 'net', 4, 26, 1450, 'mtu']

  test('is that of its subnets, the smallest of several', () => {
    const other = { ...four, id: 'six' }
    const says: Say[] = [
      ['block', 'four', 4, 26, 1400],
      ['block', 'six', 4, 26, 1300],
    ]
    expect(configured([four], says[0] ?? ofNetwork, ofNetwork).mtu?.value).toBe(1400)
    expect(configured([four, other], ...says).mtu).toMatchObject({
      value: 1300,
      source: { id: 'six' },
    })
  })

  test('is what is set on it, else that of its network, without any', () => {
    expect(configured([], ofNetwork).mtu).toMatchObject({ value: 1450, derived_from: 'mtu' })
    const own: Say = ['interface', 'nic', 4, 26, 1400]
    expect(configured([six], own, ofNetwork).mtu?.value).toBe(1400)
    expect(configured([six], ['interface', 'nic', 6, 26, 'cafe']).mtu).toBe(null)
  })

  test('of an interface on no network is that of the network of its addresses', () => {
    const lost = { ...nic, network_id: null }
    expect(configureInterface(lost, facts([six], ofNetwork)).mtu?.value).toBe(1450)
    expect(configureInterface(lost, facts([], ofNetwork)).mtu).toBe(null)
  })
})
