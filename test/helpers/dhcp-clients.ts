import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatAddress, parseAddress } from '../../src/ip/address.ts'
import type { Space } from './netlab.ts'
import type { Program } from './programs.ts'
import { waitUntil } from './race-load.ts'

/** What a client was told, whatever it calls it. */
export type Told = {
  readonly event: 'bound' | 'renewed' | 'rebound' | 'lost' | 'other'
  readonly address: string | null
  readonly prefix_length: number | null
  /** Of DHCPv6: a delegated prefix. */
  readonly delegated: string | null
  readonly routers: readonly string[]
  readonly dns: readonly string[]
  readonly domain: string | null
  readonly search: readonly string[]
  readonly ntp: readonly string[]
  readonly mtu: number | null
  /** Classless ones, as `destination via gateway`. */
  readonly routes: readonly string[]
  readonly lease_seconds: number | null
  readonly server: string | null
  readonly host_name: string | null
  readonly boot_file: string | null
  readonly tftp_server: string | null
  readonly next_server: string | null
  /** All that it told its script. */
  readonly variables: Readonly<Record<string, string>>
}

/** A running client. */
export class DhcpClient {
  readonly program: Program
  readonly #file: string

  constructor(program: Program, file: string) {
    this.program = program
    this.#file = file
  }

  /** All that it has told its script so far. */
  reports(): Told[] {
    const records = readFileSync(this.#file, 'utf8').split('\0\0')
    return records.slice(0, -1).map(readReport)
  }

  /** Waits until it has told so, among its reports from the `from`th on. */
  async tells(event: Told['event'], from = 0): Promise<Told> {
    const find = () =>
      this.reports()
        .slice(from)
        .find(told => told.event === event)
    try {
      await waitUntil(
        `a client tells: ${event}`,
        () => {
          if (find() === undefined && !this.program.isRunning) throw new Error('it has ended')
          return find() !== undefined
        },
        30,
      )
    } catch (cause) {
      throw new Error(`${(cause as Error).message}\n${this.output}`, { cause })
    }
    return find() as Told
  }

  get output(): string {
    return this.program.stdout + this.program.stderr
  }

  /** What dhclient would remember after a restart. */
  remembered(): string {
    return readFileSync(this.#file.replace(/\.reports$/, '.leases'), 'utf8')
  }

  /** Waits until it gives up without an address. */
  async getsNothing(): Promise<void> {
    await this.program.ended
    const told = this.reports().filter(({ event }) => event !== 'other' && event !== 'lost')
    if (told.length > 0) throw new Error(`it was told something: ${JSON.stringify(told)}`)
  }
}

type Start = {
  readonly device?: string
  readonly version?: 4 | 6
  /** More of its arguments. */
  readonly args?: readonly string[]
  /** More lines of its configuration. */
  readonly config?: readonly string[]
  /** What its script does before it ends, as shell. */
  readonly script?: string
  /** Of dhclient: what it remembers, as dhclient.leases(5) has it. */
  readonly leases?: string
}

/** ISC dhclient; with `-P` among `args` it asks for a prefix. It gives up after 4 s. */
export function startDhclient(space: Space, start: Start = {}): DhcpClient {
  const { device = 'eth0', version = 4, args = [], config = [] } = start
  const { file, report, script } = prepare(space, { apply: applyAsDhclient, more: start.script })
  const wanted = [
    ...['subnet-mask', 'broadcast-address', 'routers', 'domain-name', 'domain-name-servers'],
    ...['domain-search', 'host-name', 'interface-mtu', 'ntp-servers', 'tftp-server-name'],
    ...['bootfile-name', 'classless-routes', 'dhcp-renewal-time', 'dhcp-rebinding-time'],
    ...['dhcp6.name-servers', 'dhcp6.domain-search', 'dhcp6.ntp-servers', 'dhcp6.bootfile-url'],
  ]
  const lines = [
    'option classless-routes code 121 = array of unsigned integer 8;',
    'option dhcp6.ntp-servers code 56 = string;',
    'option dhcp6.bootfile-url code 59 = text;',
    `request ${wanted.filter(name => name.startsWith('dhcp6.') === (version === 6)).join(', ')};`,
    'timeout 4; retry 1; initial-interval 1; backoff-cutoff 1;',
    ...config,
  ]
  writeFileSync(`${file}.conf`, `${lines.join('\n')}\n`)
  writeFileSync(`${file}.leases`, start.leases ?? '')
  const files = [
    '-cf',
    `${file}.conf`,
    '-lf',
    `${file}.leases`,
    '-pf',
    `${file}.pid`,
    '-sf',
    script,
  ]
  const flags = [`-${version}`, '-d', '-1', ...files, ...args, device]
  return new DhcpClient(space.start('dhclient', ...flags), report)
}

/** What dhclient was told is what it has on its device; where its script fails it declines (RFC 2131 §3.1). */
const applyAsDhclient = `
case $reason in
  PREINIT | PREINIT6) ip link set "$interface" up ;;
  BOUND | RENEW | REBIND | REBOOT)
    [ "$old_ip_address" = "$new_ip_address" ] || ip -4 addr flush dev "$interface"
    ip addr replace "$new_ip_address/$new_subnet_mask" dev "$interface" ;;
  BOUND6 | RENEW6 | REBIND6)
    [ -z "$new_ip6_address" ] ||
      ip -6 addr replace "$new_ip6_address/$new_ip6_prefixlen" dev "$interface" ;;
  EXPIRE | RELEASE | STOP | FAIL) ip -4 addr flush dev "$interface" ;;
  EXPIRE6 | RELEASE6 | STOP6) ip -6 addr flush dev "$interface" scope global ;;
esac`

/** Ends dhclient by letting another one of the same files release what it has. */
export async function releaseDhclient(space: Space, client: DhcpClient): Promise<void> {
  const command = client.program.child.spawnargs.slice(5)
  const flags = command.filter(flag => flag !== '-1' && flag !== '-d')
  await space.start('dhclient', '-r', ...flags).succeeds()
  await client.program.ended
}

/** BusyBox's udhcpc. It gives up after 3 s. SIGUSR1 lets it renew, SIGUSR2 release. */
export function startUdhcpc(space: Space, start: Start = {}): DhcpClient {
  const { device = 'eth0', args = [] } = start
  const { report, script } = prepare(space, { apply: applyAsUdhcpc, more: start.script })
  const wanted = [
    ...['search', 'staticroutes', 'ntpsrv', 'mtu', 'tftp', 'bootfile', 'hostname', 'domain'],
  ]
  const options = wanted.flatMap(name => ['-O', name])
  const flags = ['-i', device, '-f', '-n', '-t', '3', '-T', '1', '-s', script, ...options]
  return new DhcpClient(space.start('udhcpc', ...flags, ...args), report)
}

const applyAsUdhcpc = `
case $1 in
  bound | renew)
    ip addr replace "$ip/$mask" dev "$interface" ;;
  deconfig)
    ip link set "$interface" up
    ip -4 addr flush dev "$interface" ;;
esac`

/** dhcpcd, which goes about its device by itself, and has /var/lib/dhcpcd and /run to itself. */
export function startDhcpcd(space: Space, start: Start = {}): DhcpClient {
  const { device = 'eth0', version = 4, args = [], config = [] } = start
  const { file, report, script } = prepare(space, { more: start.script })
  const wanted =
    version === 6
      ? ['dhcp6_name_servers', 'dhcp6_domain_search']
      : [
          ...['domain_name_servers', 'domain_name', 'domain_search', 'host_name', 'ntp_servers'],
          ...['interface_mtu', 'classless_static_routes'],
        ]
  const lines = [
    `option ${wanted.join(',')}`,
    'noipv6rs',
    ...(version === 6 ? ['ipv6only'] : []),
    ...config,
  ]
  writeFileSync(`${file}.conf`, `${lines.join('\n')}\n`)
  const mounts =
    'mount -t tmpfs none /var/lib/dhcpcd; mount -t tmpfs none /run; mkdir /run/dhcpcd; exec "$@"'
  const flags = [`-${version}`, '-B', '-d', '-A', '-L', '-f', `${file}.conf`, '-c', script, ...args]
  const command = ['unshare', '-m', 'sh', '-ec', mounts, 'sh', 'dhcpcd', ...flags, device]
  return new DhcpClient(space.start(...command), report)
}

let clients = 0

/** The files of a client: its script, and what that reports, which is one environment after another. */
function prepare(
  space: Space,
  { apply = '', more = '' }: { apply?: string; more?: string | undefined },
) {
  clients += 1
  const file = join(space.lab.folder, `client-${clients}`)
  const report = `${file}.reports`
  const script = `${file}.sh`
  writeFileSync(report, '')
  const lines = [
    '#!/bin/sh',
    'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
    `{ reason="\${reason:-$1}" env -0; printf '\\0'; } >> ${report}.part`,
    apply,
    // Who reads the report finds the address on the device.
    `cat ${report}.part >> ${report}; : > ${report}.part`,
    more,
  ]
  writeFileSync(script, `${lines.join('\n')}\n`, { mode: 0o755 })
  return { file, report, script }
}

const events: Readonly<Record<string, Told['event']>> = {
  BOUND: 'bound',
  REBOOT: 'bound',
  BOUND6: 'bound',
  REBOOT6: 'bound',
  bound: 'bound',
  RENEW: 'renewed',
  RENEW6: 'renewed',
  renew: 'renewed',
  REBIND: 'rebound',
  REBIND6: 'rebound',
  EXPIRE: 'lost',
  EXPIRE6: 'lost',
  NAK: 'lost',
  nak: 'lost',
  leasefail: 'lost',
  FAIL: 'lost',
}

function readReport(record: string): Told {
  const variables = Object.fromEntries(
    record
      .split('\0')
      .filter(line => line.includes('='))
      .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const first = (...names: string[]): string | null => {
    for (const name of names) if (variables[name]) return variables[name] as string
    return null
  }
  const list = (...names: string[]) => first(...names)?.split(/[ ,]+/) ?? []
  const number = (...names: string[]) => {
    const text = first(...names)
    return text === null ? null : Number(text)
  }
  const mask = first('new_subnet_mask', 'subnet')
  const v6 = first('new_ip6_address', 'new_dhcp6_ia_na1_ia_addr1')
  const name = (text: string) => text.replace(/\.$/, '')
  const domain = first('new_domain_name', 'domain')
  return {
    event: events[variables.reason ?? ''] ?? 'other',
    address: v6 === null ? first('new_ip_address', 'ip') : canonical(v6),
    prefix_length: mask === null ? number('new_ip6_prefixlen') : lengthOf(mask),
    delegated: delegatedOf(variables),
    routers: list('new_routers', 'router'),
    dns: list('new_domain_name_servers', 'dns', 'new_dhcp6_name_servers'),
    domain: domain === null ? null : name(domain),
    search: list('new_domain_search', 'search', 'new_dhcp6_domain_search').map(name),
    ntp: list('new_ntp_servers', 'ntpsrv'),
    mtu: number('new_interface_mtu', 'mtu'),
    routes: routesOf(first('new_classless_routes', 'staticroutes', 'new_classless_static_routes')),
    lease_seconds: number(
      ...['new_dhcp_lease_time', 'lease', 'new_max_life', 'new_dhcp6_ia_na1_ia_addr1_vltime'],
    ),
    server: first('new_dhcp_server_identifier', 'serverid'),
    host_name: first('new_host_name', 'hostname'),
    boot_file: first('new_bootfile_name', 'new_filename', 'bootfile', 'boot_file'),
    tftp_server: first('new_tftp_server_name', 'tftp', 'new_server_name', 'sname'),
    next_server: first('new_next_server', 'siaddr'),
    variables,
  }
}

function delegatedOf(variables: Record<string, string | undefined>): string | null {
  if (variables.new_ip6_prefix) {
    const [text = '', length] = variables.new_ip6_prefix.split('/')
    return `${canonical(text)}/${length}`
  }
  const text = variables.new_dhcp6_ia_pd1_prefix1
  return text ? `${canonical(text)}/${variables.new_dhcp6_ia_pd1_prefix1_length}` : null
}

const canonical = (text: string) => {
  const address = parseAddress(text)
  return address === null ? text : formatAddress(address)
}

const lengthOf = (mask: string) =>
  mask
    .split('.')
    .reduce((sum, octet) => sum + (Number(octet).toString(2).match(/1/g) ?? []).length, 0)

/** `192.0.2.0/24 10.0.0.1 …`, or as octets (RFC 3442): length, what counts of the destination, gateway. */
function routesOf(text: string | null): string[] {
  const words = text?.split(/[ ,]+/) ?? []
  if (words.some(word => word.includes('.'))) {
    return words.flatMap((word, n) => (n % 2 === 0 ? [`${word} via ${words[n + 1]}`] : []))
  }
  const routes: string[] = []
  for (let place = 0; place < words.length; ) {
    const length = Number(words[place])
    const counts = Math.ceil(length / 8)
    const destination = [...words.slice(place + 1, place + 1 + counts), '0', '0', '0', '0']
    const gateway = words.slice(place + 1 + counts, place + 5 + counts)
    routes.push(`${destination.slice(0, 4).join('.')}/${length} via ${gateway.join('.')}`)
    place += 5 + counts
  }
  return routes
}
