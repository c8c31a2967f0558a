import { closeSync, fdatasync, mkdtempSync, openSync, write } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import type { ServedHost, ServedNetwork } from '../../src/dhcp/served.ts'
import { DiscoveryConfig } from '../../src/discovery/config.ts'
import {
  type Automatic,
  clientIdOf,
  type DriverContext,
  type LeaseNews,
  type Leases,
} from '../../src/discovery/driver.ts'

// What a driver of `melange dhcp` is given, without the API behind it.

type Served = Map<string, { network: ServedNetwork; hosts: Map<string, ServedHost> }>

export type WorldOfDhcp = {
  readonly config: Readonly<Record<string, unknown>>
  readonly networks: readonly {
    readonly network: ServedNetwork
    readonly hosts: readonly ServedHost[]
  }[]
}

/** Automatic addresses by counting from an address on, for each network. */
type Pool = Readonly<Record<string, { readonly block_id: string; readonly first: string }>>

export function servedOf(networks: WorldOfDhcp['networks']): Served {
  return new Map(
    networks.map(({ network, hosts }) => [
      network.id,
      { network, hosts: new Map(hosts.map(host => [host.id, host])) },
    ]),
  )
}

export function configOf(more: Readonly<Record<string, unknown>>) {
  const value = Value.Default(DiscoveryConfig, { api: { url: 'http://127.0.0.1' }, ...more })
  const [problem] = Value.Errors(DiscoveryConfig, value)
  if (problem) throw new Error(`${problem.instancePath} ${problem.message}`)
  return { ...(value as DiscoveryConfig), token: 'none' }
}

/** Leases that are kept in memory, and in a file if there is one: the group of a tick is one write. */
export function createLeases(file?: string): Leases & { readonly news: LeaseNews[]; end(): void } {
  const news: LeaseNews[] = []
  const fd = file === undefined ? null : openSync(file, 'a')
  const write_ = promisify(write) as (fd: number, text: string) => Promise<unknown>
  const sync = promisify(fdatasync)
  let lines: string[] = []
  let next: Promise<void> | null = null
  let last: Promise<void> = Promise.resolve()
  const flush = async () => {
    await last
    await new Promise(resolve => setImmediate(resolve))
    const text = lines.join('')
    lines = []
    next = null
    last = (async () => {
      if (fd === null) return
      await write_(fd, text)
      await sync(fd)
    })()
    await last
  }
  return {
    news,
    record(one) {
      if (fd === null) {
        news.push(one)
        return Promise.resolve()
      }
      lines.push(`${JSON.stringify(one)}\n`)
      next ??= flush()
      return next
    },
    end: () => void (fd !== null && closeSync(fd)),
  }
}

/** Allocates as the API does, from addresses that are counted. */
export function createAutomatic(served: Served, pools: Pool): Automatic {
  const counts = new Map<string, number>()
  const put = (network_id: string, host: ServedHost) => {
    served.get(network_id)?.hosts.set(host.id, host)
    return host
  }
  const until = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString()
  return {
    async allocate({ network_id, version, client, lease_seconds }) {
      const pool = pools[`${network_id} ${version}`]
      const id = clientIdOf(client)
      if (!pool || id === null) return 'refused'
      const expires_at = until(lease_seconds ?? 3600)
      const known = served.get(network_id)?.hosts.get(id)
      if (known) {
        const addresses = known.addresses.map(one => ({ ...one, expires_at }))
        return put(network_id, { ...known, addresses })
      }
      const count = counts.get(network_id) ?? 0
      counts.set(network_id, count + 1)
      const parts = pool.first.split(version === 4 ? '.' : ':')
      const lowest = Number.parseInt(parts.pop() ?? '', version === 4 ? 10 : 16) + count
      const address = [...parts, lowest.toString(version === 4 ? 10 : 16)].join(
        version === 4 ? '.' : ':',
      )
      return put(network_id, {
        id,
        type: 'client',
        ...client,
        host_name: null,
        addresses: [
          {
            allocation_id: crypto.randomUUID(),
            block_id: pool.block_id,
            address,
            expires_at,
            withheld_until: null,
          },
        ],
        options: [],
      })
    },
    async renew({ network_id, host_id, allocation_id, lease_seconds }) {
      const host = served.get(network_id)?.hosts.get(host_id)
      if (!host?.addresses.some(one => one.allocation_id === allocation_id)) return 'refused'
      const expires_at = until(lease_seconds)
      return put(network_id, {
        ...host,
        addresses: host.addresses.map(one =>
          one.allocation_id === allocation_id ? { ...one, expires_at } : one,
        ),
      })
    },
  }
}

/** A context for a driver, with what stands in for the API. */
export function contextOf(
  { config, networks }: WorldOfDhcp,
  { pools = {}, level = 'silent', file }: { pools?: Pool; level?: string; file?: string } = {},
) {
  const served = servedOf(networks)
  const leases = createLeases(file)
  const context: DriverContext = {
    config: configOf({ networks: networks.map(({ network: { id } }) => ({ id })), ...config }),
    served,
    leases,
    automatic: createAutomatic(served, pools),
    log: pino({ level }),
    registry: new Registry(),
    folder: mkdtempSync(join(tmpdir(), 'melange-dhcp-')),
  }
  return { context, served, leases }
}
