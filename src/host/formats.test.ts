import { describe, expect, test } from 'vitest'
import { cloudInitNetwork } from './cloud-init.ts'
import { configureInterface, type HostBlock, type Nic } from './configuration.ts'
import { networkData } from './network-data.ts'

const block = (id: string, facts: Partial<HostBlock> = {}): HostBlock => ({
  id,
  cidr: '10.0.0.0/24',
  version: 4,
  network_id: 'net',
  gateway_ip: null,
  dns_nameservers: [],
  routes: [],
  ...facts,
})
type Held = { readonly block: HostBlock; readonly address: string }
const nothing = { block: new Map(), interface: new Map(), network: new Map() }
let made = 0
const interfaceOf = (held: readonly Held[], facts: Partial<Nic> = {}) => {
  const id = `nic-${++made}`
  const addresses = held.map(({ block: { id: block_id }, address }) => {
    return { allocation_id: `${block_id} ${address}`, block_id, address }
  })
  const blocks = new Map(held.map(({ block }) => [block.id, block]))
  const nic = { id, network_id: 'net', name: '', mac_address: `52:54:00:00:00:0${made % 10}` }
  return configureInterface({ ...nic, addresses, ...facts }, { blocks, said: nothing })
}
const ethernetsOf = (...interfaces: ReturnType<typeof interfaceOf>[]) =>
  Object.values(cloudInitNetwork(interfaces).ethernets)
const byDefault = (gateway: string, metric: number | null = null) => {
  return { destination: '0.0.0.0/0', gateway, metric }
}

describe('network_data.json', () => {
  test('has a network for each address, and the routes once a subnet', () => {
    const routes = [{ destination: '192.0.2.128/25', gateway: '0.0.0.0', metric: 3 }]
    const four = block('four', { gateway_ip: '10.0.0.1', routes })
    const held = ['10.0.0.2', '10.0.0.3'].map(address => ({ block: four, address }))
    const { networks } = networkData([interfaceOf(held)])
    expect(networks.map(({ id, ip_address, routes }) => [id, ip_address, routes])).toEqual([
      [
        'network0',
        '10.0.0.2',
        [
          { network: '0.0.0.0', netmask: '0.0.0.0', gateway: '10.0.0.1' },
          { network: '192.0.2.128', netmask: '255.255.255.128', gateway: '0.0.0.0' },
        ],
      ],
      ['network1', '10.0.0.3', []],
    ])
  })

  test.each([
    ['2001:db8::/64', 'ffff:ffff:ffff:ffff::'],
    ['2001:db8::/33', 'ffff:ffff:8000::'],
    ['2001:db8::7/128', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['10.0.0.7/32', '255.255.255.255'],
    ['0.0.0.0/0', '0.0.0.0'],
  ])('has for %s the mask %s', (cidr, netmask) => {
    const version = cidr.includes(':') ? 6 : 4
    const held = [{ block: block('b', { cidr, version }), address: cidr.replace(/\/.*/, '') }]
    expect(networkData([interfaceOf(held)]).networks).toMatchObject([
      { type: `ipv${version}`, netmask },
    ])
  })

  test('has all name servers once, those of a link also with its first network', () => {
    const one = block('one', { dns_nameservers: ['10.0.0.53', '10.0.0.54'] })
    const two = block('two', { cidr: '10.0.1.0/24', dns_nameservers: ['10.0.0.54'] })
    const second = { block: two, address: '10.0.1.2' }
    const { networks, services } = networkData([
      interfaceOf([{ block: one, address: '10.0.0.2' }, second]),
      interfaceOf([second]),
    ])
    const dns = (address: string) => ({ type: 'dns', address })
    expect(services).toEqual([dns('10.0.0.53'), dns('10.0.0.54')])
    const servers = networks.map(({ dns_nameservers }) => dns_nameservers)
    expect(servers).toEqual([['10.0.0.53', '10.0.0.54'], undefined, ['10.0.0.54']])
    expect(networks[0]).not.toHaveProperty('dns_search')
  })

  test('leaves out an interface without a MAC, and has one without addresses', () => {
    const held = [{ block: block('b'), address: '10.0.0.2' }]
    const found = networkData([interfaceOf(held, { mac_address: null }), interfaceOf([])])
    expect(found).toMatchObject({ links: [{ id: 'interface0', mtu: null }], networks: [] })
    expect(found.links).toHaveLength(1)
  })

  test('has the network of the address where the interface is on none', () => {
    const idOf = (network_id: string | null) =>
      networkData([
        interfaceOf([{ block: block('b', { network_id }), address: '10.0.0.2' }], {
          network_id: null,
        }),
      ]).networks[0]?.network_id
    expect(idOf('other')).toBe('other')
    expect(idOf(null)).toBe('')
  })
})

describe('network config version 2', () => {
  test.each(['eth0', 'ens3.100', 'a', 'name_of_15bytes'])('calls an interface %s', name => {
    expect(cloudInitNetwork([interfaceOf([], { name })]).ethernets).toMatchObject({
      [name]: { 'set-name': name },
    })
  })

  test.each([
    '',
    'a-name-of-16-byt',
    'web server',
    'eth0:1',
    'a/b',
    '.',
    '..',
    '7',
    'lo',
    'all',
    'default',
    'eth%d',
    'été',
    '-a',
  ])('calls no interface "%s"', name => {
    const found = interfaceOf([], { name })
    const { ethernets } = cloudInitNetwork([found])
    expect(Object.keys(ethernets)).toEqual([found.nic.id])
    expect(ethernets[found.nic.id]).not.toHaveProperty('set-name')
  })

  test('calls no two interfaces the same', () => {
    const twins = [interfaceOf([], { name: 'eth0' }), interfaceOf([], { name: 'eth0' })]
    const { ethernets } = cloudInitNetwork(twins)
    expect(Object.keys(ethernets)).toEqual(twins.map(({ nic }) => nic.id))
  })

  test('leaves out an interface without a MAC', () => {
    const found = [interfaceOf([], { mac_address: null }), interfaceOf([])]
    const macaddress = found[1]?.nic.mac_address
    expect(ethernetsOf(...found)).toEqual([{ match: { macaddress } }])
  })

  test.each([
    ['10.0.0.1', false],
    ['10.0.1.1', true],
    ['0.0.0.0', true],
  ])('says of the gateway %s whether it is on the link: %s', (gateway_ip, isSaid) => {
    const held = [{ block: block('b', { gateway_ip }), address: '10.0.0.2' }]
    const route = { to: '0.0.0.0/0', via: gateway_ip, ...(isSaid && { 'on-link': true }) }
    expect(ethernetsOf(interfaceOf(held))[0]?.routes).toEqual([route])
  })

  test.each([
    ['fe80::1', false],
    ['2001:db8::1', false],
    ['2001:db8:1::1', true],
  ])('says of the IPv6 gateway %s whether it is on the link: %s', (gateway_ip, isSaid) => {
    const six = block('b', { cidr: '2001:db8::/64', version: 6, gateway_ip })
    const route = { to: '::/0', via: gateway_ip, ...(isSaid && { 'on-link': true }) }
    const [ethernet] = ethernetsOf(interfaceOf([{ block: six, address: '2001:db8::2' }]))
    expect(ethernet).toMatchObject({ addresses: ['2001:db8::2/64'], routes: [route] })
  })

  test('prefers of several routes to one place the first', () => {
    const one = block('one', { gateway_ip: '10.0.0.1' })
    const two = block('two', { cidr: '10.0.1.0/24', gateway_ip: '10.0.1.1' })
    const held = [
      { block: one, address: '10.0.0.2' },
      { block: one, address: '10.0.0.3' },
      { block: two, address: '10.0.1.2' },
    ]
    const routes = ethernetsOf(interfaceOf(held), interfaceOf(held.slice(2))).map(
      ethernet => ethernet.routes,
    )
    const to = '0.0.0.0/0'
    expect(routes).toEqual([
      [
        { to, via: '10.0.0.1' },
        { to, via: '10.0.1.1', metric: 2001 },
      ],
      [{ to, via: '10.0.1.1', metric: 2002 }],
    ])
  })

  test('keeps the metrics that are set', () => {
    const routes = [byDefault('10.0.0.1', 50)]
    const other = block('two', { gateway_ip: '10.0.0.1' })
    const found = ethernetsOf(
      interfaceOf([{ block: block('one', { routes }), address: '10.0.0.2' }]),
      interfaceOf([{ block: other, address: '10.0.0.3' }]),
    )
    expect(found.map(ethernet => ethernet.routes?.[0]?.metric)).toEqual([50, undefined])
  })

  test('joins the name servers of the subnets', () => {
    const one = block('one', { dns_nameservers: ['10.0.0.53'] })
    const six = { cidr: '2001:db8::/64', version: 6 } as const
    const two = block('two', { ...six, dns_nameservers: ['10.0.0.53', '2001:db8::53'] })
    const [ethernet] = ethernetsOf(
      interfaceOf([
        { block: one, address: '10.0.0.2' },
        { block: two, address: '2001:db8::2' },
        { block: two, address: '2001:db8:1::/64' },
      ]),
    )
    expect(ethernet?.nameservers).toEqual({ addresses: ['10.0.0.53', '2001:db8::53'] })
    expect(ethernet?.addresses).toEqual(['10.0.0.2/24', '2001:db8::2/64'])
  })
})
