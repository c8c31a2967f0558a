import { expect, test } from 'vitest'
import type { ServedNetwork } from '../../dhcp/served.ts'
import { parseAddress } from '../../ip/address.ts'
import { configurationText, filesIn, type Place } from './configuration.ts'
import { subnetLines, subnetsOf } from './subnets.ts'

const usual = { gateway_ip: null, options: [], boot_files: [], unknown_clients: null }
const network: ServedNetwork = {
  id: 'n',
  project_id: null,
  name: 'x\ndhcp-option=3,10.0.0.66',
  mtu: 1400,
  subnets: [
    {
      ...usual,
      block_id: '20000000-0000-4000-8000-000000000001',
      cidr: '10.0.0.0/23',
      version: 4,
      options: [
        { code: 1, value: '255.255.254.0' },
        { code: 3, value: ['10.0.0.1'] },
        { code: 51, value: 60 },
      ],
    },
    {
      ...usual,
      block_id: '20000000-0000-4000-8000-000000000002',
      cidr: 'fd00::/64',
      version: 6,
      gateway_ip: 'fd00::1',
    },
    { ...usual, block_id: '20000000-0000-4000-8000-000000000003', cidr: 'fd01::/48', version: 6 },
  ],
}
const subnets = subnetsOf(network, 0xffff_ffff)
const address = (text: string) => {
  const parsed = parseAddress(text)
  if (!parsed) throw new Error(text)
  return { ...parsed, text }
}

const place: Place = {
  interfaces: [
    {
      name: 'eth1',
      addresses: [address('192.0.2.1'), address('fd00::1')],
      subnets,
      mtu: network.mtu,
    },
  ],
  listen: [],
  relays: [{ address: '10.9.0.1', subnets: subnets.filter(({ version }) => version === 4) }],
  subnets,
}
const dnsmasq = {
  program: 'dnsmasq',
  router_advertisements: true,
  slaac: true,
  dns_port: 0,
  dns_servers: [],
}

test('what dnsmasq is to do, and what it would say by itself and is not to', () => {
  const text = configurationText(place, filesIn('/s'), { dnsmasq, rapid_commit: false })
  expect(text.split('\n').filter(line => !line.startsWith('dhcp-match='))).toEqual([
    '# Written by Melange, which writes it again.',
    ...['user=root', 'log-facility=-', 'log-dhcp', 'pid-file=/s/pid'],
    ...['bind-interfaces', 'except-interface=lo', 'no-hosts', 'no-resolv', 'no-poll'],
    ...['interface=eth1', 'port=0', 'dhcp-authoritative', 'no-ping', 'dhcp-lease-max=100000000'],
    ...['leasefile-ro', 'dhcp-script=/s/script', 'dhcp-hostsfile=/s/hosts'],
    ...['dhcp-hostsdir=/s/hosts.d', 'dhcp-optsfile=/s/options', 'dhcp-optsdir=/s/options.d'],
    ...['dhcp-ignore-names', 'dhcp-ignore=tag:dhcpv6,tag:!known'],
    ...['dhcp-option=3', 'dhcp-option=28', 'dhcp-option=6'],
    'dhcp-range=set:b20000000000040008000000000000001,10.0.0.0,static,255.255.254.0,120',
    'dhcp-range=tag:known,set:b20000000000040008000000000000002,fd00::,static,slaac,64,infinite',
    'shared-network=eth1,10.0.0.0',
    'shared-network=10.9.0.1,10.0.0.0',
    ...['enable-ra', 'ra-param=eth1,mtu:1400,0,1800', ''],
  ])
})

test('DNS and two messages instead of four only where they are wanted', () => {
  const settings = { ...dnsmasq, dns_port: 53, dns_servers: ['192.0.2.53'] }
  const text = configurationText(place, filesIn('/s'), { dnsmasq: settings, rapid_commit: true })
  expect(text).toContain('\nport=53\nhostsdir=/s/names.d\nserver=192.0.2.53\n')
  expect(text).toContain('\ndhcp-rapid-commit\n')
  expect(text).not.toContain('dhcp-option=6')
})

test('a subnet tells its options to hosts that have none of their own', () => {
  const [first] = subnets
  if (!first) throw new Error('no subnet')
  expect(subnetLines(first)).toEqual({
    lines: ['tag:b20000000000040008000000000000001,tag:known,tag:!own,3,10.0.0.1'],
    unsaid: [],
  })
})
