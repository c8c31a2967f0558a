import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { CloudInitNetwork } from '../../src/host/cloud-init.ts'
import type { NetworkData } from '../../src/host/network-data.ts'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import {
  convert,
  expectsCloudInit,
  type Renderer,
  readNetworkData,
  renderers,
} from '../helpers/cloud-init.ts'
import { cleanUp, ServerProcess, temporaryFolder } from '../helpers/server-process.ts'

/** What is asked for, and has to come out of cloud-init again. */
const nics = [
  {
    name: 'eth0',
    mac: '52:54:00:0a:0b:01',
    four: { cidr: '10.40.0.0/22', address: '10.40.1.7', gateway: '10.40.0.1', dns: '10.40.0.2' },
    six: {
      cidr: '2001:db8:40::/64',
      address: '2001:db8:40::7',
      gateway: 'fe80::1',
      dns: '2001:db8:40::2',
    },
    mtu: 1450,
    search: 'web.example',
    routes: [
      { destination: '192.0.2.0/24', gateway: '10.40.0.254' },
      { destination: '2001:db8:99::/48', gateway: '2001:db8:40::fe' },
    ],
  },
  {
    name: 'eth1',
    mac: '52:54:00:0a:0b:02',
    four: { cidr: '10.41.0.0/24', address: '10.41.0.7', gateway: null, dns: '10.41.0.2' },
    six: {
      cidr: '2001:db8:41::/56',
      address: '2001:db8:41::7',
      gateway: null,
      dns: '2001:db8:41::2',
    },
    mtu: 9000,
    search: 'store.example',
    routes: [{ destination: '198.51.100.128/25', gateway: '10.41.0.254' }],
  },
] as const
type Nic = (typeof nics)[number]
const names = Object.fromEntries(nics.map(({ mac, name }) => [mac, name]))
const cidrOf = ({ cidr, address }: Nic['four'] | Nic['six']) => `${address}/${cidr.split('/')[1]}`
const masks = { '22': '255.255.252.0', '24': '255.255.255.0', '25': '255.255.255.128' }
const maskOf = (cidr: string) => masks[cidr.split('/')[1] as keyof typeof masks]
const isSix = ({ destination }: { destination: string }) => destination.includes(':')

describe.skipIf(!expectsCloudInit())('what cloud-init makes of the network of a device', () => {
  let openstack: NetworkData
  let two: CloudInitNetwork
  const made = new Map<string, Interface>()

  beforeAll(async () => {
    const server = await ServerProcess.start({ MELANGE_DATA_DIR: temporaryFolder() })
    const send = async <T = { id: string }>(method: string, path: string, body?: object) => {
      const answer = await server.request<T>(method, `/v2/${path}`, body)
      if (answer.status > 201) throw new Error(JSON.stringify(answer.body))
      return answer.body
    }
    for (const { name, mac, four, six, mtu, search, routes } of nics) {
      const settings = { name, ...(name === 'eth0' && { mtu }) }
      const { id: network_id } = await send('POST', 'networks', settings)
      for (const { cidr, gateway, dns } of [four, six]) {
        const more = { network_id, dns_nameservers: [dns], ...(gateway && { gateway_ip: gateway }) }
        const block = await send('POST', 'blocks', { scope_id: 'public', cidr, ...more })
        const own = routes.filter(route => isSix(route) === cidr.includes(':'))
        for (const route of own) await send('POST', `blocks/${block.id}/routes`, route)
      }
      const options = `networks/${network_id}/dhcp-options`
      await send('PUT', `${options}/4/domain-search`, { value: [search] })
      await send('PUT', `${options}/6/domain-search`, { value: [search] })
      const nic = await send<Interface>('POST', 'interfaces', {
        project_id: 'demo',
        device_id: 'vm',
        network_id,
        name,
        mac_address: mac,
        addresses: [four.address, six.address],
      })
      made.set(mac, nic)
      const value = { value: mtu }
      if (name !== 'eth0') await send('PUT', `interfaces/${nic.id}/dhcp-options/4/mtu`, value)
    }
    openstack = await send('GET', 'devices/vm/network-data')
    two = await send('GET', 'devices/vm/network-data?format=cloud-init')
  })
  afterAll(cleanUp)

  test('network_data.json is what Nova says it is', () => {
    const { links, networks, services } = openstack
    expect(Object.keys(openstack)).toEqual(['links', 'networks', 'services'])
    expect(links.map(({ ethernet_mac_address: mac, vif_id }) => [mac, vif_id])).toEqual(
      [...made].map(([mac, { id }]) => [mac, id]),
    )
    for (const { id, type, mtu } of links) {
      expect([typeof id, type, mtu]).toEqual(['string', 'phy', expect.any(Number)])
    }
    const ids = new Set(links.map(({ id }) => id))
    expect(new Set(networks.map(({ id }) => id)).size).toBe(networks.length)
    expect(networks).toHaveLength(4)
    for (const { link, network_id, type, ip_address, netmask, routes } of networks) {
      expect(ids).toContain(link)
      expect(network_id).toMatch(/^[0-9a-f-]{36}$/)
      const shape = type === 'ipv4' ? /^\d+(\.\d+){3}$/ : /^[0-9a-f:]+$/
      expect(type).toMatch(/^ipv[46]$/)
      const texts = routes.flatMap(route => [route.network, route.netmask, route.gateway])
      for (const text of [ip_address, netmask, ...texts]) expect(text).toMatch(shape)
    }
    const dns = nics.flatMap(({ four, six }) => [four.dns, six.dns])
    expect(services).toEqual(dns.map(address => ({ type: 'dns', address })))
  })

  test('network_data.json is read as it is meant', async () => {
    const { config } = await readNetworkData(openstack, names)
    const physical = config.filter(({ type }: { type: string }) => type === 'physical')
    expect(physical).toMatchObject(
      nics.map(({ name, mac, mtu, four, six, search }) => ({
        name,
        mac_address: mac,
        mtu,
        subnets: [
          {
            type: 'static',
            address: four.address,
            netmask: maskOf(four.cidr),
            dns_nameservers: [four.dns, six.dns],
            dns_search: [search],
          },
          { type: 'static6', address: six.address },
        ],
      })),
    )
  })

  const formats = ['network_data.json', 'yaml'] as const
  const cases = formats.flatMap(kind => renderers.map(renderer => ({ kind, renderer })))
  test.each(cases)('$kind becomes $renderer with all that is known', async each => {
    const document = each.kind === 'yaml' ? two : openstack
    const files = await convert({ document, names, ...each })
    for (const nic of nics) expectRendered[each.renderer](files, nic, each.kind)
  })
})

type Files = ReadonlyMap<string, string>
const fileOf = (files: Files, path: RegExp): string => {
  const found = [...files].filter(([name]) => path.test(name))
  expect(found.map(([name]) => name)).toHaveLength(1)
  return found[0]?.[1] ?? ''
}
/** Each of the lines is one of a text. */
const expectLines = (text: string, lines: readonly string[]) =>
  expect(text.split('\n').map(line => line.trim())).toEqual(expect.arrayContaining([...lines]))
/** cloud-init 22.4 writes the default route of version 2 in IPv6 as one to ::/64, but for netplan. */
const hasIpv6Default = (kind: string) => kind === 'network_data.json'

const expectRendered: Record<Renderer, (files: Files, nic: Nic, kind: string) => void> = {
  eni(files, { name, mac, four, six, mtu, search, routes }, kind) {
    const rules = fileOf(files, /70-persistent-net\.rules$/)
    expect(rules).toContain(`ATTR{address}=="${mac}", NAME="${name}"`)
    const all = fileOf(files, /interfaces\.d\/50-cloud-init$/)
    const [, text = ''] = new RegExp(`^auto ${name}\n(.*?)(^auto|(?![^]))`, 'ms').exec(all) ?? []
    const search_line = `dns-search ${search}`
    const lines = [`address ${cidrOf(four)}`, `address ${cidrOf(six)}`, `mtu ${mtu}`, search_line]
    expectLines(text, lines)
    expect(text).toMatch(new RegExp(`dns-nameservers .*${four.dns}`))
    expect(text).toContain(six.dns)
    const add = 'post-up route add'
    for (const { destination, gateway } of routes) {
      const family = destination.includes(':') ? '-A inet6' : '-net'
      expectLines(text, [`${add} ${family} ${destination} gw ${gateway} || true`])
    }
    if (four.gateway) expectLines(text, [`${add} default gw ${four.gateway} || true`])
    if (!six.gateway) expect(text).not.toContain('default gw')
    else if (hasIpv6Default(kind)) {
      expectLines(text, [`${add} -A inet6 default gw ${six.gateway} || true`])
    } else expect(text).toContain(`gw ${six.gateway} `)
  },

  netplan(files, { name, mac, four, six, mtu, search, routes }) {
    const { network } = parse(fileOf(files, /netplan\/50-cloud-init\.yaml$/))
    const written = network.ethernets[name]
    expect(written).toMatchObject({
      match: { macaddress: mac },
      'set-name': name,
      mtu,
      addresses: [cidrOf(four), cidrOf(six)],
      nameservers: { search: [search] },
    })
    expect(written.nameservers.addresses.toSorted()).toEqual([four.dns, six.dns].toSorted())
    const expected = [
      ...(four.gateway ? [`0.0.0.0/0 ${four.gateway}`] : []),
      ...(six.gateway ? [`::/0 ${six.gateway}`] : []),
      ...routes.map(({ destination, gateway }) => `${destination} ${gateway}`),
    ]
    const found = written.routes.map(({ to, via }: { to: string; via: string }) => `${to} ${via}`)
    expect(found.toSorted()).toEqual(expected.toSorted())
  },

  networkd(files, { name, mac, four, six, mtu, search, routes }, kind) {
    const text = fileOf(files, new RegExp(`10-cloud-init-${name}\\.network$`))
    expectLines(text, [
      `MACAddress=${mac}`,
      `Name=${name}`,
      `MTUBytes=${mtu}`,
      `Address=${cidrOf(four)}`,
      `Address=${cidrOf(six)}`,
    ])
    for (const dns of [four.dns, six.dns]) expect(text).toMatch(new RegExp(`^DNS=.*${dns}`, 'm'))
    expect(text).toMatch(new RegExp(`^Domains=.*${search}`, 'm'))
    const found = [...text.matchAll(/\[Route\]\nDestination=(\S+)\n\nGateway=(\S+)/g)].map(
      ([, destination, gateway]) => `${destination} ${gateway}`,
    )
    const expected = [
      ...(four.gateway ? [`0.0.0.0/0 ${four.gateway}`] : []),
      ...routes.map(({ destination, gateway }) => `${destination} ${gateway}`),
      ...(six.gateway && hasIpv6Default(kind) ? [`::/0 ${six.gateway}`] : []),
    ]
    expect(found).toEqual(expect.arrayContaining(expected))
    expect(text.match(/^Gateway=/gm) ?? []).toHaveLength(routes.length + (four.gateway ? 2 : 0))
    if (six.gateway) expect(text).toContain(`Gateway=${six.gateway}`)
  },

  sysconfig(files, { name, mac, four, six, mtu, search, routes }, kind) {
    const lines = [
      `DEVICE=${name}`,
      `HWADDR=${mac}`,
      `IPADDR=${four.address}`,
      `NETMASK=${maskOf(four.cidr)}`,
      `IPV6ADDR=${cidrOf(six)}`,
      `MTU=${mtu}`,
      `DOMAIN=${search}`,
    ]
    const text = fileOf(files, new RegExp(`ifcfg-${name}$`))
    expectLines(text, lines)
    for (const dns of [four.dns, six.dns]) expect(text).toMatch(new RegExp(`^DNS\\d=${dns}$`, 'm'))
    if (four.gateway) expectLines(text, [`GATEWAY=${four.gateway}`])
    else expect(text).not.toContain('GATEWAY')
    const six_routes = files.get(`etc/sysconfig/network-scripts/route6-${name}`) ?? ''
    if (six.gateway && hasIpv6Default(kind)) expectLines(text, [`IPV6_DEFAULTGW=${six.gateway}`])
    else if (six.gateway) expect(six_routes).toContain(`via ${six.gateway} `)
    const four_routes = files.get(`etc/sysconfig/network-scripts/route-${name}`) ?? ''
    for (const { destination, gateway } of routes) {
      const [network] = destination.split('/')
      if (isSix({ destination })) expect(six_routes).toContain(`${destination} via ${gateway} `)
      else {
        expectLines(four_routes, [
          `ADDRESS0=${network}`,
          `GATEWAY0=${gateway}`,
          `NETMASK0=${maskOf(destination)}`,
        ])
      }
    }
  },
}
