import { expect, test } from 'vitest'
import { readLogLine } from './log-lines.ts'

const mac = '02:00:00:00:00:01'

test.each([
  ['dnsmasq-dhcp[7]: read /var/lib/x/hosts', { type: 'read', path: '/var/lib/x/hosts' }],
  [
    `dnsmasq-dhcp[7]: 12 DHCPDISCOVER(eth0) ${mac} no address available`,
    { type: 'refused', version: 4, transaction: '12', client: mac, address: null },
  ],
  [
    `Nov  3 10:00:00 dnsmasq-dhcp[7]: 12 DHCPDISCOVER(eth0) 10.0.0.9 ${mac} no address available`,
    { type: 'refused', version: 4, transaction: '12', client: mac, address: '10.0.0.9' },
  ],
  [
    'dnsmasq-dhcp[7]: 9 DHCPSOLICIT(eth0) 00:04:ab ignored',
    { type: 'refused', version: 6, transaction: '9', client: '0004ab', address: null },
  ],
  [
    'dnsmasq-dhcp[7]: 9 available DHCPv6 subnet: fd00::/64',
    { type: 'subnet', transaction: '9', first: 'fd00::' },
  ],
  [
    'dnsmasq-dhcp[7]: disabling DHCP static address 10.0.0.5 for 10m',
    { type: 'declined', address: '10.0.0.5' },
  ],
  [
    'dnsmasq[7]: bad hex constant at line 3 of /x/hosts',
    { type: 'error', text: 'bad hex constant at line 3 of /x/hosts' },
  ],
  // What clients say stands behind words of dnsmasq's own.
  ['dnsmasq-dhcp[7]: 9 vendor class: disabling DHCP static address 10.0.0.5 for 10m', null],
  [`dnsmasq-dhcp[7]: 9 vendor class: 12 DHCPDISCOVER(eth0) ${mac} no address available`, null],
  [`dnsmasq-dhcp[7]: 12 DHCPDECLINE(eth0) 10.0.0.5 ${mac} read /x/hosts`, null],
  ['dnsmasq-dhcp[7]: 9 vendor class: bad hex constant at line 3 of /x/hosts', null],
  ['dnsmasq-dhcp[7]: 9 client provides name: dnsmasq[7]: read /x/hosts', null],
  [`dnsmasq-dhcp[7]: 12 DHCPACK(eth0) 10.0.0.5 ${mac} web`, null],
])('%s', (line, said) => {
  expect(readLogLine(line)).toEqual(said)
})
