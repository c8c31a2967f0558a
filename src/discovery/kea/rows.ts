import { hash } from 'node:crypto'
import type { ServedHost, ServedNetwork, ServedSubnet } from '../../dhcp/served.ts'
import { formatAddress, type IpVersion, parseAddress } from '../../ip/address.ts'
import { parsePrefix } from '../../ip/prefix.ts'
import { holdLifetimes, leaseSeconds, lifetimeClass } from './configuration.ts'
import { codes4, optionsIn, type RawOption, type Told, textOption, toldBy } from './options.ts'
import type { SubnetIds } from './subnet-ids.ts'

/** An address, or a prefix, that is told to a host. */
export type Reserved = {
  readonly allocation_id: string
  readonly address: string
  /** Of a delegated prefix its length; else null. */
  readonly prefix_length: number | null
}

/** A reservation: a row of Kea's table `hosts`, with what hangs on it. */
export type HostRow = {
  /** What no two rows share: the subnet, and by what the host is known there. */
  readonly key: string
  readonly subnet_id: number
  readonly reserved: readonly Reserved[]
  /** How long its leases last, if that is not what the subnet says. */
  readonly seconds: number | null
  readonly columns: HostColumns
  /** A digest of the columns. Kea keeps it, and so it is known what is there already. */
  readonly digest: string
}

/** The columns, as `putHosts` takes them. Identifiers and values are hex. */
export type HostColumns = {
  readonly version: IpVersion
  readonly identifier: string
  readonly identifier_type: number
  readonly subnet_id: number
  readonly ipv4: number | null
  readonly class_name: string | null
  readonly next_server: number | null
  readonly server_hostname: string | null
  readonly boot_file_name: string | null
  readonly options: readonly RawOption[]
  readonly reservations: readonly {
    readonly address: string
    readonly prefix_length: number
    readonly type: number
  }[]
}

/** What a host has in Kea now, and when that will be something else though nothing is changed. */
export type HostRows = { readonly rows: readonly HostRow[]; readonly changes_at: number | null }

export type RowSettings = {
  readonly ids: SubnetIds
  readonly lease_seconds: number
  /** Whether all machines come by an interface, and none by a relay that says its subnet. */
  readonly is_direct: boolean
  /** In milliseconds since 1970. */
  readonly now: number
}

/** Kea's types of identifiers, and the longest that it takes. */
const types = { mac: 0, duid: 1, client_id: 3 }
const identifierBytesMax = 128

/** The rows of a host in Kea. */
export function rowsOf(host: ServedHost, network: ServedNetwork, settings: RowSettings): HostRows {
  const { now } = settings
  const times: number[] = []
  const told = host.addresses.filter(({ withheld_until }) => {
    const until = withheld_until === null ? 0 : Date.parse(withheld_until)
    if (until > now) times.push(until)
    return until <= now
  })
  const held = told.filter(({ expires_at }) => expires_at === null || Date.parse(expires_at) > now)
  const first = held.find(({ address }) => parseAddress(address)?.version === 4)
  const rows = network.subnets.flatMap(subnet => {
    const here = held.filter(({ block_id }) => block_id === subnet.block_id)
    // Kea gives one address a subnet, and a client that is heard directly is in all subnets at once.
    const v4 = settings.is_direct ? here.filter(one => one === first) : here.slice(0, 1)
    const chosen = subnet.version === 4 ? v4 : here
    if (chosen.length === 0) return []
    const limit = limitOf({ host, network, subnet, chosen, settings })
    if (limit.changes_at !== null) times.push(limit.changes_at)
    return rowsIn({ host, network, subnet, chosen, settings, seconds: limit.seconds })
  })
  return { rows, changes_at: times.length === 0 ? null : Math.min(...times) }
}

type Address = ServedHost['addresses'][number]

/** The lifetime of a host's leases, where it is not the usual one: none is longer than a hold. */
function limitOf({ host, network, subnet, chosen, settings }: Omit<Where, 'seconds'>): {
  readonly seconds: number | null
  readonly changes_at: number | null
} {
  const { lease_seconds, now } = settings
  const usual = leaseSeconds(network, subnet, lease_seconds)
  const own = hostTold(host, network, subnet).lease_seconds ?? usual
  const ends = chosen.flatMap(({ expires_at }) => (expires_at ? Date.parse(expires_at) : []))
  if (ends.length === 0) return { seconds: own === usual ? null : own, changes_at: null }
  const end = Math.min(...ends)
  if (host.type === 'client' && subnet.unknown_clients) {
    // The hold of a client that asked is renewed with each of its leases.
    const seconds = Math.min(own, subnet.unknown_clients.lease_seconds)
    return { seconds: seconds === usual ? null : seconds, changes_at: end }
  }
  const choices = [own, ...holdLifetimes.filter(one => one < own).toReversed()]
  const left = (end - now) / 1000
  const fitting = choices.find(one => one < left)
  return fitting === undefined
    ? { seconds: holdLifetimes[0] ?? null, changes_at: end }
    : { seconds: fitting === usual ? null : fitting, changes_at: end - fitting * 1000 }
}

/** All that the host is told there, where it is not what all are told. */
function hostTold(host: ServedHost, network: ServedNetwork, subnet: ServedSubnet): Told {
  return toldBy(subnet.version, optionsIn(network, subnet, host.options))
}

type Where = {
  readonly host: ServedHost
  readonly network: ServedNetwork
  readonly subnet: ServedSubnet
  readonly chosen: readonly Address[]
  readonly settings: RowSettings
  readonly seconds: number | null
}

function rowsIn({ host, network, subnet, chosen, settings, seconds }: Where): HostRow[] {
  const { version } = subnet
  const subnet_id = settings.ids.of(network.id, subnet.block_id)
  const usual = toldBy(version, optionsIn(network, subnet))
  const own = hostTold(host, network, subnet)
  const reserved = chosen.flatMap(({ allocation_id, address }) =>
    readReserved(allocation_id, address),
  )
  const [ipv4] = version === 4 ? reserved : []
  const boot = isSame(own.boot, usual.boot) ? null : own.boot
  const columns: Omit<HostColumns, 'identifier' | 'identifier_type'> = {
    version,
    subnet_id,
    ipv4: ipv4 ? numberOf(ipv4.address) : null,
    class_name: seconds === null ? null : lifetimeClass(seconds),
    next_server: boot?.next_server ? numberOf(boot.next_server) : null,
    server_hostname: boot?.server_hostname ?? null,
    boot_file_name: boot?.boot_file_name ?? null,
    options: [
      ...withName(own.options, version === 4 ? host.host_name : null).filter(
        one => !usual.options.some(({ code, hex }) => code === one.code && hex === one.hex),
      ),
      ...(boot?.options ?? []),
    ],
    reservations:
      version === 4
        ? []
        : reserved.map(({ address, prefix_length }) => ({
            address,
            prefix_length: prefix_length ?? 128,
            type: prefix_length === null ? 0 : 2,
          })),
  }
  return namesIn(host, version).map(([identifier, identifier_type]) => {
    const all = { ...columns, identifier, identifier_type }
    return {
      key: `${subnet_id} ${identifier_type} ${identifier}`,
      subnet_id,
      reserved,
      seconds,
      columns: all,
      digest: hash('sha1', JSON.stringify(all), 'base64url'),
    }
  })
}

/** With the name of the host, if none is set. */
const withName = (options: readonly RawOption[], name: string | null): readonly RawOption[] =>
  name === null || options.some(({ code }) => code === codes4.hostName)
    ? options
    : [...options, textOption(codes4.hostName, name)]

/** By what Kea knows a host: it has no room for longer names, and knows no IAID. */
function namesIn({ mac_address, client_id, duid }: ServedHost, version: IpVersion) {
  const names: [string | null | undefined, number][] = [
    [mac_address?.replaceAll(':', ''), types.mac],
    version === 4 ? [client_id, types.client_id] : [duid, types.duid],
  ]
  return names.flatMap(([hex, type]): [string, number][] =>
    hex && hex.length <= 2 * identifierBytesMax ? [[hex, type]] : [],
  )
}

function readReserved(allocation_id: string, text: string): Reserved[] {
  const address = parseAddress(text)
  if (address) return [{ allocation_id, address: formatAddress(address), prefix_length: null }]
  const prefix = parsePrefix(text)?.prefix
  if (!prefix) return []
  const { version, first, length } = prefix
  const start = formatAddress({ version, value: first })
  return [{ allocation_id, address: start, prefix_length: length }]
}

const numberOf = (text: string): number => Number(parseAddress(text)?.value ?? 0n)

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
