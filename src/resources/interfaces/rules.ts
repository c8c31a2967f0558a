import { IpamError } from '../../errors.ts'
import { canonicalAddress } from '../../fields.ts'
import { formatMac } from '../../ip/mac.ts'
import { readUnicastMac } from '../macs/read-mac.ts'
import type { Interface, InterfaceSpec } from './schema.ts'

/** By what DHCP knows an interface beside its MAC; null is nothing. */
export type KnownBy = Pick<Interface, 'client_id' | 'duid' | 'iaid'>

/** Bytes as a request may write them, in the one spelling that answers use. */
export const canonicalHex = (text: string): string => text.replace(/[:-]/g, '').toLowerCase()

/**
 * By what an interface is known if this is said of one that is known by that. Without a DUID there is no
 * IAID.
 *
 * @throws {IpamError} `invalid_request`
 */
export function readKnownBy(said: Partial<KnownBy>, before: KnownBy = knownByNothing): KnownBy {
  const { client_id = before.client_id, duid = before.duid } = said
  const { iaid = duid === null ? null : before.iaid } = said
  if (iaid !== null && duid === null) {
    throw new IpamError('invalid_request', 'iaid: needs a `duid`', { field: 'iaid' })
  }
  return { client_id: client_id && canonicalHex(client_id), duid: duid && canonicalHex(duid), iaid }
}

const knownByNothing: KnownBy = { client_id: null, duid: null, iaid: null }

export const isKnownBySame = (one: KnownBy, other: KnownBy): boolean =>
  one.client_id === other.client_id && one.duid === other.duid && one.iaid === other.iaid

/** What nobody else on a network may be known by, to be locked as the names of interfaces are. */
export const namesIn = (network_id: string | null, { client_id, duid }: KnownBy): string[] => [
  ...(client_id === null ? [] : [`client-id/${network_id}/${client_id}`]),
  ...(duid === null ? [] : [`duid/${network_id}/${duid}`]),
]

/** An interface as it is wanted; the MAC is undefined where any will do, null where there is none. */
export type WantedInterface = KnownBy & {
  readonly id: string | undefined
  readonly network_id: string
  readonly name: string
  readonly tags: readonly string[]
  readonly mac: string | null | undefined
  readonly mac_range_id: string | undefined
  readonly families: readonly (4 | 6)[]
  readonly addresses: readonly string[]
}

/**
 * What a request wants, each address in its one spelling.
 *
 * @throws {IpamError} `invalid_request`
 */
export function readInterface(spec: InterfaceSpec): WantedInterface {
  const { mac_address } = spec
  return {
    id: spec.id?.toLowerCase(),
    network_id: spec.network_id.toLowerCase(),
    name: spec.name ?? '',
    tags: spec.tags ?? [],
    mac: mac_address && formatMac(readUnicastMac(mac_address, 'mac_address')),
    mac_range_id: spec.mac_range_id?.toLowerCase(),
    ...readKnownBy(spec),
    families: spec.families ?? [],
    addresses: (spec.addresses ?? []).map(one => canonicalAddress(one, 'addresses')),
  }
}

/** An interface that stays, and what of its addresses changes. */
export type KeptInterface = {
  readonly before: Interface
  readonly wanted: WantedInterface
  readonly take: Pick<WantedInterface, 'families' | 'addresses'>
  /** Ids of allocations. */
  readonly release: readonly string[]
}

export type Replacement = {
  /** For each that is wanted, in that order. */
  readonly wanted: readonly (KeptInterface | WantedInterface)[]
  readonly remove: readonly Interface[]
}

export const isKept = (one: KeptInterface | WantedInterface): one is KeptInterface =>
  'before' in one

/**
 * What becomes of the interfaces of a device when it shall have others. Each that is wanted is one
 * that is there, if its network and MAC are right: by its id, or else by its MAC, by what else DHCP
 * knows it by, by its name, or else the first.
 */
export function replace(
  present: readonly Interface[],
  wanted: readonly WantedInterface[],
): Replacement {
  const left = new Set(present)
  const found = new Map<WantedInterface, Interface>()
  const passes: ((one: WantedInterface, there: Interface) => boolean)[] = [
    ({ id }, there) => id === there.id,
    ({ id, mac }, there) =>
      id === undefined && typeof mac === 'string' && mac === there.mac_address,
    ({ id, client_id }, there) =>
      id === undefined && client_id !== null && client_id === there.client_id,
    ({ id, duid, iaid }, there) =>
      id === undefined && duid !== null && duid === there.duid && iaid === there.iaid,
    ({ id, name }, there) => id === undefined && name === there.name,
    ({ id }) => id === undefined,
  ]
  for (const isMeant of passes) {
    for (const one of wanted) {
      if (found.has(one)) continue
      const there = [...left].find(each => isMeant(one, each) && canBe(each, one))
      if (!there) continue
      found.set(one, there)
      left.delete(there)
    }
  }
  return {
    wanted: wanted.map(one => {
      const before = found.get(one)
      return before ? keep(before, one) : one
    }),
    remove: [...left],
  }
}

function canBe(there: Interface, { network_id, mac, mac_range_id }: WantedInterface): boolean {
  return (
    there.network_id === network_id &&
    (mac === undefined ? there.mac_address !== null : there.mac_address === mac) &&
    (mac_range_id === undefined || there.mac_range_id === mac_range_id)
  )
}

function keep(before: Interface, wanted: WantedInterface): KeptInterface {
  const held = new Map(before.addresses.map(one => [one.address, one.allocation_id]))
  const addresses = wanted.addresses.filter(address => !held.delete(address))
  const families = wanted.families.filter(family => {
    const own = [...held.keys()].find(address => address.includes(':') === (family === 6))
    return own === undefined || !held.delete(own)
  })
  return { before, wanted, take: { families, addresses }, release: [...held.values()] }
}
