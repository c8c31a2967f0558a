import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ClientNames } from '../../dhcp/client-names.ts'
import type { IpVersion } from '../../ip/address.ts'
import { DiscoveryError, type DriverContext } from '../driver.ts'
import { describe, type Json } from './configuration.ts'
import { createFedServer } from './fed-server.ts'
import { interfacesOf } from './interfaces.ts'
import { type LeaseWatch, watchLeases } from './lease-watch.ts'
import { type Group, groupPlaces, hasSubnets } from './places.ts'
import type { Freed, HostKey, Reservations } from './reservations.ts'
import { createRunServer } from './run-server.ts'
import type { KeaServer } from './server.ts'
import type { SubnetIds } from './subnet-ids.ts'
import { helpUnknownClients, type UnknownClients } from './unknown-clients.ts'

/** All Keas that are fed or run. */
export type Fleet = {
  /** Lets each serve the subnets that are served now; `lifetimes` are those of single hosts. */
  configure(lifetimes: ReadonlySet<number>): Promise<void>
  /** Ends leases of these addresses that are not of who has them now. */
  review(places: readonly Freed[]): Promise<void>
  problems(): readonly string[]
  stop(): Promise<void>
}

export type FleetOptions = {
  readonly context: DriverContext
  readonly ids: SubnetIds
  readonly reservations: Reservations
  /** The database as Kea is told of it. */
  readonly database: Json
  /** A Kea has forgotten what it was told. */
  readonly onLost: () => void
  readonly onHost: (network_id: string, host_id: string) => void
}

type Member = {
  readonly server: KeaServer
  /** The networks of the namespace, as they were when it was configured. */
  group: Group
  /** Whether its leases were not yet compared with what is served. */
  isNew: boolean
  watch: LeaseWatch | null
  unknown: UnknownClients | null
}

const versions = [4, 6] as const

export function createFleet(options: FleetOptions): Fleet {
  const { context, ids, reservations, database, onLost, onHost } = options
  const { config, served, folder, log } = context
  const { kea: settings, lease_seconds, rapid_commit } = config
  const members = new Map<string, Member>()
  /** The subnets that are served, by Kea's numbers. */
  let places = new Map<number, { network_id: string; block_id: string }>()
  let unserved: string[] = []

  function createServer(group: Group, version: IpVersion, current: () => Group): KeaServer | null {
    if (settings.run) {
      const { namespace } = group
      return createRunServer({
        version,
        namespace,
        folder: join(folder, `dhcp${version}${namespace === null ? '' : `-${namespace}`}`),
        program: join(settings.programs_folder, `kea-dhcp${version}`),
        hook: findHook(settings.hooks_folder),
        database,
        interfaces: () => interfacesOf(current(), version),
        log,
      })
    }
    const socket = version === 4 ? settings.dhcp4_socket : settings.dhcp6_socket
    const failures_folder = settings.failures_folder ?? null
    return socket === undefined
      ? null
      : createFedServer({ version, socket, database, failures_folder, onLost, log })
  }

  function memberOf(group: Group, version: IpVersion): Member | null {
    const key = `${version} ${group.namespace ?? ''}`
    const known = members.get(key)
    if (known) {
      known.group = group
      return known
    }
    if (!hasSubnets(group, version)) return null
    const server = createServer(group, version, () => members.get(key)?.group ?? group)
    if (!server) return null
    const member = { server, group, isNew: true, watch: null, unknown: null }
    members.set(key, member)
    return member
  }

  /** Begins to read what a Kea writes, once it runs. */
  async function follow(member: Member): Promise<void> {
    const { server } = member
    const { version, failureFiles: paths } = server
    const name = server.name.replaceAll(/[^a-z0-9]+/gi, '-')
    member.watch ??= await watchLeases({
      context,
      server,
      reservations,
      isOurs: id => places.has(id),
      positionFile: join(folder, `leases-${name}.json`),
      onHost,
    })
    // Machines do not wait until the last lease is ended of those that went meanwhile.
    if (member.isNew) void member.watch.reviewAll()
    member.isNew = false
    if (paths.length === 0) return
    const placeOf = (id: number) => places.get(id) ?? null
    member.unknown ??= await helpUnknownClients({
      ...{ context, version, paths, reservations, placeOf, onHost, onRenamed },
    })
  }

  async function onRenamed(key: HostKey, names: ClientNames): Promise<void> {
    for (const place of reservations.addressesOf(key)) {
      for (const { watch } of members.values()) await watch?.yieldTo(names, place)
    }
  }

  /** What one Kea cannot be told, and why. */
  function* complaints(groups: readonly Group[]): Generator<string> {
    for (const group of groups) {
      for (const version of versions) {
        if (hasSubnets(group, version) && !memberOf(group, version)) {
          yield `IPv${version} subnets are not served: kea.dhcp${version}_socket is not set`
        }
      }
      const asksFailures = !settings.run && settings.failures_folder === undefined
      for (const { network } of asksFailures ? group.places : []) {
        if (network.subnets.some(({ unknown_clients }) => unknown_clients)) {
          yield `network ${network.id}: unknown clients get no address: kea.failures_folder is not set`
        }
      }
    }
  }

  return {
    async configure(lifetimes) {
      const groups = settings.run ? groupPlaces(config, served) : [allIn(config, served)]
      for (const group of groups) refuseSame(group)
      unserved = [...complaints(groups)]
      const subnets = [...served.values()].flatMap(({ network }) =>
        network.subnets.map(({ block_id }) => ({ network_id: network.id, block_id })),
      )
      places = new Map(subnets.map(one => [ids.of(one.network_id, one.block_id), one]))
      for (const group of groups) {
        for (const version of versions) {
          const member = memberOf(group, version)
          if (!member) continue
          const how = { ids, lease_seconds, rapid_commit, lifetimes }
          await member.server.configure(describe(version, group.places, how))
          await follow(member)
        }
      }
    },
    async review(freed) {
      for (const { subnet_id, address } of freed) {
        for (const { watch } of members.values()) await watch?.review(subnet_id, address)
      }
    },
    problems: () => [
      ...unserved,
      ...[...members.values()].flatMap(({ server, watch, unknown }) => [
        ...server.problems(),
        ...(watch?.problems() ?? []),
        ...(unknown?.problems() ?? []),
      ]),
    ],
    async stop() {
      for (const { server, watch, unknown } of members.values()) {
        await unknown?.stop()
        await server.stop()
        await watch?.stop()
      }
      members.clear()
    },
  }
}

/** All networks, for the one pair of Keas that is fed. */
const allIn = (config: DriverContext['config'], served: DriverContext['served']): Group => ({
  namespace: null,
  places: config.networks.flatMap(one => {
    const entry = served.get(one.id)
    const { relays } = one
    return entry ? [{ network: entry.network, interface: one.interface ?? null, relays }] : []
  }),
  relay_listen: [],
})

/** Kea takes no CIDR twice. */
function refuseSame({ places, namespace }: Group): void {
  const seen = new Map<string, string>()
  for (const { network } of places) {
    for (const { cidr } of network.subnets) {
      const other = seen.get(cidr)
      if (other !== undefined) {
        const where = namespace === null ? '' : ` in ${namespace}`
        throw new DiscoveryError(
          `networks: ${other} and ${network.id} both have ${cidr}, which one Kea serves once: give them namespaces of their own${where}`,
        )
      }
      seen.set(cidr, network.id)
    }
  }
}

const library = 'libdhcp_lease_cmds.so'

/** The library of commands on leases. */
function findHook(folder: string | undefined): string {
  const debian = '/usr/lib'
  const folders =
    folder !== undefined
      ? [folder]
      : readdirSync(debian).map(architecture => join(debian, architecture, 'kea', 'hooks'))
  const found = folders.map(one => join(one, library)).find(path => existsSync(path))
  if (found) return found
  throw new DiscoveryError(
    `kea.hooks_folder: there is no ${library} in ${folders.at(-1) ?? debian}`,
  )
}
