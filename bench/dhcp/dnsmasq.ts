import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addressOf, duidOf, macOf, numbers } from './hosts.ts'
import { type Lab, type Started, segment, serverInterface } from './lab.ts'
import { type DhcpServer, hostsOf, type Population } from './servers.ts'
import type { SizedServer } from './sizes.ts'

export type DnsmasqOptions = {
  readonly version: 4 | 6
  readonly hosts: number
  readonly has_pool: boolean
}

/**
 * Starts dnsmasq in a lab, with no leases. It would have at most 1000 of them, and look for three
 * seconds whether an address is in use: both is set otherwise.
 */
export function startDnsmasq(lab: Lab, options: DnsmasqOptions): Started & { hosts: string } {
  const folder = join(lab.folder, 'dnsmasq')
  rmSync(folder, { recursive: true, force: true })
  const hosts = lab.makeFolder('dnsmasq/hosts')
  chmodSync(folder, 0o755)
  writeHosts(join(hosts, 'first'), options.version, { first: 0, count: options.hosts })
  const { version, has_pool } = options
  const { server, pool } = segment[version]
  const range = {
    4: has_pool
      ? `${pool.join(',')},${segment[4].netmask},1h`
      : `10.96.0.0,static,${segment[4].netmask},1h`,
    6: has_pool ? `${pool.join(',')},64,1h` : `${segment[6].server},static,64,1h`,
  }[version]
  const started = lab.start({
    namespace: lab.servers,
    command: [
      ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--user=root'],
      ...[`--interface=${serverInterface}`, '--bind-interfaces', '--no-ping', '--no-resolv'],
      ...['--quiet-dhcp', '--quiet-dhcp6', '--dhcp-authoritative', '--dhcp-lease-max=1000000'],
      `--dhcp-leasefile=${join(folder, 'leases')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--log-facility=${join(folder, 'log')}`,
      `--dhcp-hostsdir=${hosts}`,
      `--dhcp-range=${range}`,
      ...(version === 4
        ? [`--dhcp-option=option:router,${server}`, `--dhcp-option=option:dns-server,${server}`]
        : [`--dhcp-option=option6:dns-server,[${server}]`]),
    ],
  })
  return { ...started, hosts }
}

/** A file of hosts, which dnsmasq reads when it finds it in the folder. */
export function writeHosts(
  file: string,
  version: 4 | 6,
  { first, count }: { first: number; count: number },
): void {
  const lines = numbers(count).map(n => {
    const host = first + n
    return version === 4
      ? `${macOf(host)},${addressOf(host, 4)},h${host}\n`
      : `id:${duidOf(host)},[${addressOf(host, 6)}],h${host}\n`
  })
  writeFileSync(file, lines.join(''))
}

export function dnsmasqServer({
  lab,
  population,
}: {
  lab: Lab
  population: Population
}): DhcpServer {
  return {
    name: 'dnsmasq',
    takes: load => load.clients !== 'automatic',
    async start(load) {
      const hosts = hostsOf(load, population)
      const started = startDnsmasq(lab, { version: load.version, hosts, has_pool: true })
      return {
        pids: { server: started.child.pid ?? 0 },
        first: 0,
        expects: hosts > 0,
        failure: () => (started.isRunning() ? null : `dnsmasq has ended: ${started.said()}`),
        stop: started.stop,
      }
    },
  }
}

/** dnsmasq with many hosts in a folder, of which it reads new files. */
export function sizedDnsmasq(lab: Lab): SizedServer {
  let hosts = 0
  let folder = ''
  return {
    name: 'dnsmasq',
    keeps: false,
    async prepare(count) {
      hosts = count
    },
    async start() {
      const started = startDnsmasq(lab, { version: 4, hosts, has_pool: false })
      folder = started.hosts
      return {
        pids: { server: started.child.pid ?? 0 },
        first: 0,
        expects: true,
        failure: () => (started.isRunning() ? null : `dnsmasq has ended: ${started.said()}`),
        stop: started.stop,
      }
    },
    async add(client) {
      writeHosts(join(folder, `more-${client}`), 4, { first: client, count: 1 })
    },
  }
}
