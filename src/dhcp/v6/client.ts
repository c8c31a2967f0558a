import { isUnspecified } from './associations.ts'
import type { Bindings, Host, Link } from './bindings.ts'
import { optionCodes, type RelayMessage } from './codec.ts'
import { macOfDuid, seenMac } from './identity.ts'
import type { Arrival, Request } from './request.ts'

/** Who asks, and where. */
export type Client = {
  readonly link: Link
  /** Null only where a client wants options alone. */
  readonly duid: Buffer | null
  /** As others than itself see it; see `seenMac`. */
  readonly mac: string | null
}

/**
 * The link of a client: that of the innermost relay that tells it (RFC 8415 §13.1): which names it, and
 * its Interface-Id, which is the more exact, or has its link-address. An Interface-Id means something only
 * together with the relay, whose address is what the packet came from, or what the next relay has as
 * its peer. Relays within a link leave the link-address zero (RFC 6221 §6.1); if all did, it is the
 * link of the interface that the packet came to. Where a relay tells a link that is not known, no
 * other will do.
 */
function findLink(
  relays: readonly RelayMessage[],
  arrival: Arrival,
  bindings: Bindings,
): Link | undefined {
  for (let index = relays.length - 1; index >= 0; index--) {
    const { linkAddress, options } = relays[index] as RelayMessage
    const address = relays[index - 1]?.peerAddress ?? arrival.address
    const interfaceId = options.find(({ code }) => code === optionCodes.interfaceId)?.data
    const link = bindings.linkOfRelay({ address, linkAddress, interfaceId })
    if (link) return link
    if (!isUnspecified(linkAddress, 0)) return bindings.linkOfAddress(linkAddress)
  }
  return bindings.linkOfInterface(arrival.interface)
}

/** Who asks; undefined if the link is not served. */
export function findClient(
  { relays, clientId }: Request,
  arrival: Arrival,
  bindings: Bindings,
): Client | undefined {
  const link = findLink(relays, arrival, bindings)
  if (!link) return undefined
  const mac = seenMac(relays.at(-1), arrival.address)
  return { link, duid: clientId?.data ?? null, mac }
}

/**
 * The host that a client is, as to one of its associations. First counts the MAC that others saw;
 * then the identifiers that somebody bound to a host, though a client could claim them; and a MAC that
 * stands in the DUID alone only where nothing was seen.
 */
export function findHost({ link, duid, mac }: Client, iaid: number | null): Host | undefined {
  const seen = mac === null ? undefined : link.hostOfMac(mac)
  if (seen || !duid) return seen
  const bound = link.hostOfClient(duid, iaid)
  if (bound || mac !== null) return bound
  const said = macOfDuid(duid)
  return said === null ? undefined : link.hostOfMac(said)
}
