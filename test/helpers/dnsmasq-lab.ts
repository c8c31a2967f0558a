import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import type { ServedHost, ServedNetwork } from '../../src/dhcp/served.ts'
import { DiscoveryConfig } from '../../src/discovery/config.ts'
import { createDnsmasq } from '../../src/discovery/dnsmasq/dnsmasq.ts'
import {
  type Automatic,
  type Change,
  clientIdOf,
  type Driver,
  type LeaseNews,
} from '../../src/discovery/driver.ts'

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })

/** Namespaces of a server and of what is connected with it; they go with `close`. */
export class DnsmasqLab {
  readonly folder = mkdtempSync(join(tmpdir(), 'melange-dnsmasq-'))
  readonly #prefix = `ml-dnsm-${process.pid}`
  readonly #spaces: string[] = []
  readonly #programs: ChildProcess[] = []

  space(name: string): string {
    const space = `${this.#prefix}-${name}`
    ip('netns', 'add', space)
    this.#spaces.push(space)
    const settings = ['accept_dad=0', 'dad_transmits=0', 'router_solicitations=0', 'accept_ra=0']
    const lines = settings.flatMap(setting =>
      ['all', 'default'].map(which => {
        const [key, value] = setting.split('=')
        return `echo ${value} > /proc/sys/net/ipv6/conf/${which}/${key}`
      }),
    )
    this.run(space, 'sh', '-ec', lines.join('\n'))
    ip('-n', space, 'link', 'set', 'lo', 'up')
    return space
  }

  /** Joins two namespaces by a cable; each end has a name, and may have a MAC and addresses. */
  join(...ends: [End, End]) {
    const [one, other] = ends
    const far = ['peer', 'name', other.device, 'netns', other.space]
    ip('link', 'add', one.device, 'netns', one.space, 'type', 'veth', ...far)
    for (const { space, device, mac, addresses = [] } of ends) {
      if (mac !== undefined) this.setMac({ space, device }, mac)
      ip('-n', space, 'link', 'set', device, 'up')
      for (const address of addresses) ip('-n', space, 'addr', 'add', address, 'dev', device)
    }
  }

  setMac({ space, device }: End, mac: string) {
    ip('-n', space, 'link', 'set', device, 'down')
    ip('-n', space, 'link', 'set', device, 'address', mac)
    ip('-n', space, 'link', 'set', device, 'up')
  }

  /** IPv6 has its address a moment after the device is up. */
  async hasLinkLocal({ space, device }: End) {
    const shown = () =>
      String(ip('-n', space, '-6', 'addr', 'show', 'dev', device, 'scope', 'link', '-tentative'))
    await until('there is a link-local address', () => shown().includes('fe80::'))
  }

  /** Puts a machine with an address on the same cable as a device; returns what takes it away. */
  occupy({ space, device }: End, address: string): () => void {
    const other = this.space('other')
    const kind = ['type', 'macvlan', 'mode', 'bridge']
    ip('-n', space, 'link', 'add', 'link', device, 'name', 'mv0', 'netns', other, ...kind)
    ip('-n', other, 'link', 'set', 'mv0', 'up')
    ip('-n', other, 'addr', 'add', address, 'dev', 'mv0')
    return () => ip('-n', other, 'link', 'del', 'mv0')
  }

  run(space: string, ...command: string[]): string {
    const args = ['netns', 'exec', space, ...command]
    return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** Starts a program, whose output is gathered. */
  start(space: string, ...command: string[]): Running {
    const child = spawn('ip', ['netns', 'exec', space, ...command])
    this.#programs.push(child)
    return new Running(child)
  }

  script(name: string, text: string): string {
    const path = join(this.folder, name)
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
    return path
  }

  close() {
    for (const child of this.#programs) child.kill('SIGKILL')
    for (const space of this.#spaces) {
      for (const pid of String(ip('netns', 'pids', space))
        .split('\n')
        .filter(Boolean)) {
        process.kill(Number(pid), 'SIGKILL')
      }
      ip('netns', 'del', space)
    }
    rmSync(this.folder, { recursive: true })
  }
}

export type End = {
  readonly space: string
  readonly device: string
  readonly mac?: string
  readonly addresses?: readonly string[]
}

/** A program and what it has written. */
export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<void>
  output = ''

  constructor(child: ChildProcess) {
    this.child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', part => {
        this.output += part
      })
    }
    this.ended = new Promise(resolve => child.once('close', () => resolve()))
  }

  /** Waits until something has been written; returns what was found. */
  async wrote(pattern: RegExp): Promise<string[]> {
    await until(
      `${pattern}`,
      () => pattern.test(this.output),
      () => this.output,
    )
    return [...(pattern.exec(this.output) ?? [])]
  }
}

/** Waits until something is so; the time bounds a test that fails. */
export async function until(what: string, isSo: () => boolean, more: () => unknown = () => '') {
  const start = Date.now()
  while (!isSo()) {
    if (Date.now() - start > 20_000) throw new Error(`not within 20 s: ${what}\n${more()}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** What the API would be, as far as a driver sees it: networks and hosts, leases, automatic addresses. */
export class DnsmasqWorld {
  readonly served = new Map<string, { network: ServedNetwork; hosts: Map<string, ServedHost> }>()
  readonly leases: LeaseNews[] = []
  readonly renewed: string[] = []
  /** Addresses for unknown clients. */
  readonly free: string[] = []
  readonly driver: Driver

  constructor(settings: object, folder: string) {
    const config = Value.Default(DiscoveryConfig, { api: { url: 'http://unused' }, ...settings })
    this.driver = createDnsmasq({
      config: { ...(config as DiscoveryConfig), token: 'unused' },
      served: this.served,
      leases: {
        record: async news => {
          this.leases.push(news)
        },
      },
      automatic: this.#automatic(),
      log: pino({ level: process.env.LOG ?? 'silent' }),
      registry: new Registry(),
      folder,
    })
  }

  #automatic(): Automatic {
    const put = (network_id: string, host: ServedHost) => {
      this.served.get(network_id)?.hosts.set(host.id, host)
      return host
    }
    return {
      allocate: async ({ network_id, version, client, host_name }) => {
        const id = clientIdOf(client) ?? ''
        const network = this.served.get(network_id)?.network
        const subnet = network?.subnets.find(one => one.version === version)
        const address = this.free.shift()
        if (!subnet || address === undefined) return 'refused'
        const expires_at = new Date(Date.now() + 120_000).toISOString()
        const { block_id } = subnet
        const held = { allocation_id: `of ${id}`, block_id, address, expires_at }
        const addresses = [{ ...held, withheld_until: null }]
        return put(network_id, { id, type: 'client', ...client, host_name, addresses, options: [] })
      },
      renew: async ({ network_id, host_id, lease_seconds }) => {
        const host = this.served.get(network_id)?.hosts.get(host_id)
        if (!host) return 'refused'
        this.renewed.push(host_id)
        const expires_at = new Date(Date.now() + lease_seconds * 1000).toISOString()
        const addresses = host.addresses.map(one => ({ ...one, expires_at }))
        return put(network_id, { ...host, addresses })
      },
    }
  }

  /** Changes what is served, and tells the driver of it. */
  async apply(...changes: Change[]) {
    for (const change of changes) this.take(change)
    await this.driver.apply(changes)
  }

  take(change: Change) {
    const id = change.type === 'network' ? change.network.id : change.network_id
    const hosts = this.served.get(id)?.hosts ?? new Map<string, ServedHost>()
    if (change.type === 'network') this.served.set(id, { network: change.network, hosts })
    else if (change.type === 'network_gone') this.served.delete(id)
    else if (change.type === 'host') hosts.set(change.host.id, change.host)
    else hosts.delete(change.host_id)
  }
}

type Subnet = ServedNetwork['subnets'][number]

export const newSubnet = (number: number, cidr: string, more: Partial<Subnet> = {}): Subnet => ({
  block_id: `20000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  cidr,
  version: cidr.includes(':') ? 6 : 4,
  gateway_ip: null,
  options: [],
  boot_files: [],
  unknown_clients: null,
  ...more,
})

export const newNetwork = (number: number, subnets: readonly Subnet[]): ServedNetwork => ({
  id: `10000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  project_id: null,
  name: `network ${number}`,
  mtu: null,
  subnets: [...subnets],
})

export const macOf = (number: number) =>
  `02:00:00:00:${Buffer.of(number >> 8, number)
    .toString('hex')
    .replace(/(..)/, '$1:')}`

/** An interface with addresses, each with its subnet. */
export const newHost = (
  number: number,
  addresses: readonly (readonly [Subnet, string])[],
  more: Partial<ServedHost> = {},
): ServedHost => ({
  id: `30000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  type: 'interface',
  mac_address: macOf(number),
  client_id: null,
  duid: null,
  iaid: null,
  host_name: `host${number}`,
  addresses: addresses.map(([{ block_id }, address]) => ({
    allocation_id: `allocation of ${address}`,
    block_id,
    address,
    expires_at: null,
    withheld_until: null,
  })),
  options: [],
  ...more,
})
