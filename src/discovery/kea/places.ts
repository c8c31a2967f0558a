import { type IpVersion, parseAddress } from '../../ip/address.ts'
import type { DiscoveryConfig } from '../config.ts'
import { DiscoveryError, type Served } from '../driver.ts'
import type { Place } from './configuration.ts'

/** Networks that one pair of Keas serves, and where it listens. */
export type Group = {
  /** Null for the namespace of the process. */
  readonly namespace: string | null
  readonly places: readonly Place[]
  /** Own addresses to which relays send. */
  readonly relay_listen: readonly string[]
}

/**
 * The networks that are served, by network namespace.
 *
 * @throws {DiscoveryError} if it cannot be known where relays of a network send
 */
export function groupPlaces(config: DiscoveryConfig, served: Served): Group[] {
  const listening = [...new Set(config.relay_listen.map(({ namespace }) => namespace ?? null))]
  const groups = new Map<string | null, { places: Place[] }>()
  for (const one of config.networks) {
    const entry = served.get(one.id)
    const namespace = one.namespace ?? (one.interface === undefined ? (listening[0] ?? null) : null)
    if (one.interface === undefined && one.namespace === undefined && listening.length > 1) {
      const names = listening.map(name => name ?? 'that of the process').join(', ')
      throw new DiscoveryError(
        `networks: say the namespace of ${one.id}; relays are heard in several: ${names}`,
      )
    }
    const group = groups.get(namespace) ?? { places: [] }
    groups.set(namespace, group)
    if (entry) {
      const { network } = entry
      group.places.push({ network, interface: one.interface ?? null, relays: one.relays })
    }
  }
  return [...groups].map(([namespace, { places }]) => ({
    namespace,
    places,
    relay_listen: config.relay_listen
      .filter(one => (one.namespace ?? null) === namespace)
      .map(({ address }) => address),
  }))
}

/** Whether all machines of a network come by an interface, and none by a relay that says its subnet. */
export const isDirect = (config: DiscoveryConfig, network_id: string): boolean => {
  const place = config.networks.find(({ id }) => id === network_id)
  return place?.interface !== undefined && place.relays.length === 0
}

export const hasSubnets = ({ places }: Pick<Group, 'places'>, version: IpVersion): boolean =>
  places.some(({ network }) => network.subnets.some(subnet => subnet.version === version))

/** The one relay of a network, where there is but one: DHCPv4 leases of Kea do not say which it was. */
export function onlyRelay(config: DiscoveryConfig, network_id: string, version: IpVersion) {
  const place = config.networks.find(({ id }) => id === network_id)
  const addresses = new Set((place?.relays ?? []).map(({ address }) => address))
  const ofVersion = [...addresses].filter(text => parseAddress(text)?.version === version)
  return ofVersion.length === 1 ? (ofVersion[0] ?? null) : null
}
