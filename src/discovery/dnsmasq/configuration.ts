import type { DiscoveryConfig } from '../config.ts'
import { architectureTag } from './option-lines.ts'
import { firstOf, known, leaseText, maskOf, type Subnet } from './subnets.ts'

/** The files of one dnsmasq. */
export const filesIn = (folder: string) => ({
  configuration: `${folder}/dnsmasq.conf`,
  pid: `${folder}/pid`,
  hosts: `${folder}/hosts`,
  options: `${folder}/options`,
  /** Where files come that are read at once. */
  newHosts: `${folder}/hosts.d`,
  newOptions: `${folder}/options.d`,
  names: `${folder}/names.d`,
  script: `${folder}/script`,
  /** What dnsmasq begins with. */
  leases: `${folder}/leases`,
  /** What the script writes. */
  events: `${folder}/events`,
})
export type Files = ReturnType<typeof filesIn>

/** An address of an interface. */
export type LocalAddress = {
  readonly version: 4 | 6
  readonly value: bigint
  readonly text: string
}

export type Place = {
  readonly interfaces: readonly {
    readonly name: string
    readonly addresses: readonly LocalAddress[]
    readonly subnets: readonly Subnet[]
    readonly mtu: number | null
  }[]
  /** Own addresses to which relays send. */
  readonly listen: readonly string[]
  /** Relays, with the subnets of those who come from them. */
  readonly relays: readonly { readonly address: string; readonly subnets: readonly Subnet[] }[]
  readonly subnets: readonly Subnet[]
}

/** All architectures that are registered (RFC 4578 §2.1), with room for more. */
const architecturesMax = 64
const routerSeconds = 1800

/** What a dnsmasq cannot learn while it runs. */
export function configurationText(
  place: Place,
  files: Files,
  { dnsmasq, rapid_commit }: Pick<DiscoveryConfig, 'dnsmasq' | 'rapid_commit'>,
): string {
  const { interfaces, listen, relays, subnets } = place
  const { dns_port, dns_servers } = dnsmasq
  const announces =
    dnsmasq.router_advertisements &&
    interfaces.some(one => one.subnets.some(({ version }) => version === 6))
  const lines = [
    '# Written by Melange, which writes it again.',
    ...['user=root', 'log-facility=-', 'log-dhcp', `pid-file=${files.pid}`],
    ...['bind-interfaces', 'except-interface=lo', 'no-hosts', 'no-resolv', 'no-poll'],
    ...interfaces.map(({ name }) => `interface=${name}`),
    ...listen.map(address => `listen-address=${address}`),
    `port=${dns_port}`,
    ...(dns_port === 0
      ? []
      : [`hostsdir=${files.names}`, ...dns_servers.map(one => `server=${one}`)]),
    ...['dhcp-authoritative', 'no-ping', 'dhcp-lease-max=100000000', 'leasefile-ro'],
    `dhcp-script=${files.script}`,
    ...[`dhcp-hostsfile=${files.hosts}`, `dhcp-hostsdir=${files.newHosts}`],
    ...[`dhcp-optsfile=${files.options}`, `dhcp-optsdir=${files.newOptions}`],
    ...(rapid_commit ? ['dhcp-rapid-commit'] : []),
    // Names are said by those who have them; who is unknown hears nothing by DHCPv6.
    'dhcp-ignore-names',
    `dhcp-ignore=tag:dhcpv6,tag:!${known}`,
    // What dnsmasq would say by itself: itself as router and DNS server, and the broadcast address.
    ...['dhcp-option=3', 'dhcp-option=28', ...(dns_port === 0 ? ['dhcp-option=6'] : [])],
    ...Array.from({ length: architecturesMax }, (_, architecture) => architecture).map(
      one => `dhcp-match=set:${architectureTag(one)},option:client-arch,${one}`,
    ),
    ...subnets.map(rangeOf),
    ...interfaces.flatMap(sharedSubnets),
    ...relays.flatMap(({ address, subnets: own }) =>
      own.map(subnet => `shared-network=${address},${firstOf(subnet)}`),
    ),
    ...(announces ? ['enable-ra', ...interfaces.flatMap(announcement)] : []),
  ]
  return `${lines.join('\n')}\n`

  function rangeOf(subnet: Subnet): string {
    const { version, prefix, tag, lease_seconds } = subnet
    const time = leaseText(lease_seconds)
    if (version === 4) {
      return `dhcp-range=set:${tag},${firstOf(subnet)},static,${maskOf(prefix)},${time}`
    }
    // Who is unknown could else keep what it says it has (Rebind).
    const only = `tag:${known},set:${tag}`
    const slaac = dnsmasq.slaac && prefix.length === 64 ? 'slaac,' : ''
    return `dhcp-range=${only},${firstOf(subnet)},static,${slaac}${prefix.length},${time}`
  }
}

/** dnsmasq serves the subnets of the addresses of an interface; of others it has to be told. */
function sharedSubnets({ name, addresses, subnets }: Place['interfaces'][number]): string[] {
  const isOwn = ({ prefix: { version, first, length } }: Subnet) =>
    addresses.some(address => {
      const shift = BigInt((version === 4 ? 32 : 128) - length)
      return address.version === version && address.value >> shift === first >> shift
    })
  return subnets
    .filter(subnet => !isOwn(subnet))
    .map(subnet => `shared-network=${name},${firstOf(subnet)}`)
}

/** Whoever has the address of the gateway is a router, too. */
function announcement({ name, addresses, subnets, mtu }: Place['interfaces'][number]): string[] {
  const gateways = subnets.flatMap(({ version, gateway_ip }) => (version === 6 ? [gateway_ip] : []))
  if (gateways.length === 0) return []
  const isRouter = addresses.some(({ text }) => gateways.includes(text))
  const size = mtu === null ? '' : `mtu:${mtu},`
  return [`ra-param=${name},${size}0,${isRouter ? routerSeconds : 0}`]
}
