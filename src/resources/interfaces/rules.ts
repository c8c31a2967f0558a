import { canonicalAddress } from '../../fields.ts'
import { formatMac } from '../../ip/mac.ts'
import { readUnicastMac } from '../macs/read-mac.ts'
import type { Interface, InterfaceSpec } from './schema.ts'

/** An interface as it is wanted; the MAC is undefined where any will do, null where there is none. */
export type WantedInterface = {
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
 * that is there, if its network and MAC are right: by its id, or else by its MAC, or else the first.
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
