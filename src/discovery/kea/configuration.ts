import { hash } from 'node:crypto'
import type { ServedNetwork, ServedSubnet } from '../../dhcp/served.ts'
import { formatAddress, type IpVersion, parseAddress } from '../../ip/address.ts'
import { type Boot, bootOf, codes4, optionsIn, type RawOption, toldBy } from './options.ts'
import type { SubnetIds } from './subnet-ids.ts'

// What Kea's configuration says of networks. All that Melange puts there is marked as its own.

/** A network, and where its machines are. */
export type Place = {
  readonly network: ServedNetwork
  readonly interface: string | null
  readonly relays: readonly { readonly address: string; readonly circuit_id?: string }[]
}

/** A part of a configuration; its names are Kea's. */
export type Json = { readonly [name: string]: unknown }

/** What is Melange's in a configuration. */
export type Ours = {
  readonly classes: readonly Json[]
  readonly subnets: readonly Json[]
  readonly shared: readonly Json[]
  /** Whether unknown clients get addresses in any of the subnets. */
  readonly is_open: boolean
}

export type Settings = {
  readonly ids: SubnetIds
  readonly lease_seconds: number
  readonly rapid_commit: boolean
  /** Times of leases that single hosts have. */
  readonly lifetimes: ReadonlySet<number>
}

/** How names of client classes begin that are Melange's. */
export const classPrefix = 'melange-'
export const lifetimeClass = (seconds: number) => `${classPrefix}lease-${seconds}`

/** Times of leases that end with a hold: none of them is longer than it, or half as long. */
export const holdLifetimes: readonly number[] = Array.from({ length: 23 }, (_, n) => 8 * 2 ** n)

/** RFC 2131 §4.4.5; RFC 8415 §14.2 and §21.4: a share of the lifetime. */
const shares = {
  4: { 't1-percent': 0.5, 't2-percent': 0.875 },
  6: { 't1-percent': 0.5, 't2-percent': 0.8 },
}
const preferredShare = 0.625
const forever = 0xffffffff

const lifetimesOf = (version: IpVersion, seconds: number): Json => ({
  'valid-lifetime': seconds,
  ...(version === 6 && {
    'preferred-lifetime': seconds === forever ? forever : Math.floor(seconds * preferredShare),
  }),
})

/**
 * How long leases of a subnet last. In a shared network Kea gives no host a time of its own, so that
 * all have that of the unknown ones.
 */
export function leaseSeconds(network: ServedNetwork, subnet: ServedSubnet, usual: number): number {
  const { version, options, unknown_clients } = subnet
  const seconds = (version === 4 ? toldBy(4, options).lease_seconds : null) ?? usual
  const isShared = subnetsOf(network, version).length > 1
  return isShared ? Math.min(seconds, unknown_clients?.lease_seconds ?? seconds) : seconds
}

const subnetsOf = ({ subnets }: ServedNetwork, version: IpVersion) =>
  subnets.filter(subnet => subnet.version === version)

/** What serves the subnets of these networks of one IP version. */
export function describe(version: IpVersion, places: readonly Place[], settings: Settings): Ours {
  const classes: Json[] = []
  const subnets: Json[] = []
  const shared: Json[] = []
  for (const place of places) {
    const own = subnetsOf(place.network, version)
    if (own.length === 0) continue
    const where = describePlace(version, place, classes)
    const described = own.map(subnet => describeSubnet(place.network, subnet, settings, classes))
    const [only] = described
    // Kea gives leases of a time of their own to hosts only where no network is shared.
    if (only && described.length === 1) subnets.push({ ...only, ...where })
    else {
      const name = `${classPrefix}${place.network.id}`
      shared.push({
        name,
        ...where,
        'user-context': { melange: { network: place.network.id } },
        [`subnet${version}`]: described,
      })
    }
  }
  const lifetimes = [...new Set([...holdLifetimes, ...settings.lifetimes])]
  const ofLifetimes = lifetimes.map(seconds => ({
    name: lifetimeClass(seconds),
    ...lifetimesOf(version, seconds),
  }))
  const all = places.flatMap(({ network }) => subnetsOf(network, version))
  const is_open = all.some(({ unknown_clients }) => unknown_clients !== null)
  return { classes: [...ofLifetimes, ...classes], subnets, shared, is_open }
}

/** By which interface and relays machines come; where a relay says the circuit, by a class. */
function describePlace(version: IpVersion, place: Place, classes: Json[]): Json {
  const relays = place.relays.filter(({ address }) => parseAddress(address)?.version === version)
  const addresses = [...new Set(relays.map(({ address }) => canonical(address)))]
  const where = {
    ...(place.interface !== null && { interface: place.interface }),
    ...(addresses.length > 0 && { relay: { 'ip-addresses': addresses } }),
  }
  if (!relays.some(({ circuit_id }) => circuit_id !== undefined)) return where
  const name = `${classPrefix}via-${digest(place.network.id)}`
  const ways = relays.map(({ address, circuit_id }) => {
    const { isDirect: _, ...test } = relayTests[version]
    const at = test.address(canonical(address))
    return circuit_id === undefined ? at : `(${at} and ${test.circuit(hexOf(circuit_id))})`
  })
  if (place.interface !== null) ways.push(relayTests[version].isDirect)
  classes.push({ name, test: ways.join(' or ') })
  return { ...where, 'client-class': name }
}

/** The relay that is the nearest to the client tells the link. */
const relayTests = {
  4: {
    isDirect: 'pkt4.giaddr == 0.0.0.0',
    address: (address: string) => `pkt4.giaddr == ${address}`,
    circuit: (hex: string) => `relay4[1].hex == 0x${hex}`,
  },
  6: {
    isDirect: 'not relay6[0].option[9].exists',
    address: (address: string) => `relay6[-1].linkaddr == ${address}`,
    circuit: (hex: string) => `relay6[-1].option[18].hex == 0x${hex}`,
  },
}

/** Bytes of a circuit id, which is text, or hex behind `0x`. */
export const hexOf = (circuit_id: string): string =>
  /^0x([0-9a-f]{2})+$/i.test(circuit_id)
    ? circuit_id.slice(2).toLowerCase()
    : Buffer.from(circuit_id).toString('hex')

function canonical(text: string): string {
  const address = parseAddress(text)
  if (!address) throw new RangeError(`not an address: ${text}`)
  return formatAddress(address)
}

export const digest = (text: string): string => hash('sha256', text).slice(0, 16)

const optionData = (version: IpVersion, options: readonly RawOption[]): Json[] =>
  options.map(({ code, hex }) => ({
    code,
    space: `dhcp${version}`,
    'csv-format': false,
    data: hex,
  }))

function describeSubnet(
  network: ServedNetwork,
  subnet: ServedSubnet,
  { ids, lease_seconds, rapid_commit }: Settings,
  classes: Json[],
): Json {
  const { version, block_id, cidr } = subnet
  const id = ids.of(network.id, block_id)
  const told = toldBy(version, optionsIn(network, subnet))
  const common = {
    id,
    subnet: cidr,
    'user-context': { melange: { network: network.id, block: block_id } },
    ...lifetimesOf(version, leaseSeconds(network, subnet, lease_seconds)),
    'calculate-tee-times': true,
    ...shares[version],
    ...(told.renewal_seconds !== null && { 'renew-timer': told.renewal_seconds }),
    ...(told.rebinding_seconds !== null && { 'rebind-timer': told.rebinding_seconds }),
    'reservations-global': false,
    'reservations-in-subnet': true,
    'reservations-out-of-pool': true,
    'store-extended-info': true,
  }
  if (version === 6) {
    const data = optionData(6, told.options)
    return { ...common, 'rapid-commit': rapid_commit, 'option-data': data }
  }
  const own = { ...common, authoritative: true, 'match-client-id': false }
  if (subnet.boot_files.length === 0) {
    const data = optionData(4, [...told.options, ...told.boot.options])
    return { ...own, ...fieldsOf(told.boot), 'option-data': data }
  }
  const boots = bootClasses(id, subnet, told.boot)
  classes.push(...boots)
  return {
    ...own,
    'option-data': optionData(4, told.options),
    'require-client-classes': boots.map(({ name: ofClass }) => ofClass),
  }
}

const fieldsOf = ({ next_server, server_hostname, boot_file_name }: Boot): Json => ({
  ...(next_server !== null && { 'next-server': next_server }),
  ...(server_hostname !== null && { 'server-hostname': server_hostname }),
  ...(boot_file_name !== null && { 'boot-file-name': boot_file_name }),
})

/** At most so many architectures are looked at that a client says of itself. */
const saidMax = 4

/**
 * A class for each file to boot from, and one for all others. What a subnet says itself would count
 * before them, so that it says nothing.
 */
function bootClasses(id: number, { boot_files, options }: ServedSubnet, usual: Boot): Json[] {
  const names = boot_files.map((_, index) => `${classPrefix}boot-${id}-${index}`)
  const server = options.find(({ code }) => code === codes4.tftpServerName)?.value
  const noneOf = (others: readonly string[]) =>
    others.map(name => `not member('${name}')`).join(' and ')
  const described = boot_files.map((boot, index) => {
    const fits = boot.architectures.flatMap(architecture =>
      Array.from({ length: saidMax }, (_, place) => {
        const hex = architecture.toString(16).padStart(4, '0')
        return `substring(option[93].hex, ${place * 2}, 2) == 0x${hex}`
      }),
    )
    const before = names.slice(0, index)
    const isIt = fits.length === 0 ? "'no' == 'architecture'" : fits.join(' or ')
    const told = bootOf(boot.server ?? (server === undefined ? null : String(server)), boot.file)
    const facts = boot.server === null ? { ...told, next_server: usual.next_server } : told
    const test = before.length === 0 ? isIt : `(${isIt}) and ${noneOf(before)}`
    return bootClass(names[index] ?? '', test, facts)
  })
  return [...described, bootClass(`${classPrefix}boot-${id}-usual`, noneOf(names), usual)]
}

const bootClass = (name: string, test: string, boot: Boot) => ({
  name,
  'only-if-required': true,
  test,
  ...fieldsOf(boot),
  'option-data': optionData(4, boot.options),
})
