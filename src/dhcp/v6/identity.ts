import { optionCodes, type RelayMessage } from './codec.ts'

// Who a client is: its DUID (RFC 8415 §11), and the MAC of the interface that it asks for.

/** The kinds of DUID (RFC 8415 §11.2 to §11.4, RFC 6355). Others are identifiers, too. */
export const duidTypes = { linkLayerTime: 1, enterprise: 2, linkLayer: 3, uuid: 4 } as const

/** A type of two bytes, and 1 to 128 bytes more (RFC 8415 §11.1). */
export const isDuid = (bytes: Buffer): boolean => bytes.length >= 3 && bytes.length <= 130

/** Ethernet, and what else has its addresses (IANA, ARP hardware types). */
const hardwareTypes: readonly number[] = [1, 6]

/** The MAC at a place as 12 hexadecimal digits; null if it is that of a group, or all zeros. */
function macAt(bytes: Buffer, start: number): string | null {
  const mac = bytes.toString('hex', start, start + 6)
  return ((bytes[start] ?? 1) & 1) === 1 || mac === '000000000000' ? null : mac
}

/** The MAC in a DUID-LLT or DUID-LL of Ethernet. */
export function macOfDuid(duid: Buffer): string | null {
  const type = duid.readUInt16BE(0)
  const start = type === duidTypes.linkLayerTime ? 8 : 4
  const hasMac = type === duidTypes.linkLayerTime || type === duidTypes.linkLayer
  if (!hasMac || duid.length !== start + 6) return null
  return hardwareTypes.includes(duid.readUInt16BE(2)) ? macAt(duid, start) : null
}

/** The MAC in a link-local address that is made of one (RFC 4291 §2.5.6, appendix A). */
export function macOfLinkLocal(address: Buffer): string | null {
  const isMade =
    address.length === 16 &&
    address.readUInt32BE(0) === 0xfe80_0000 &&
    address.readUInt32BE(4) === 0 &&
    address.readUInt16BE(11) === 0xfffe
  if (!isMade) return null
  const mac = Buffer.of(
    address.readUInt8(8) ^ 2,
    ...address.subarray(9, 11),
    ...address.subarray(13),
  )
  return macAt(mac, 0)
}

/** The client's MAC as the relay that heard it says (RFC 6939 §4). */
function macOfRelay({ options }: RelayMessage): string | null {
  const data = options.find(({ code }) => code === optionCodes.clientLinkLayerAddress)?.data
  const hasMac = data?.length === 8 && hardwareTypes.includes(data.readUInt16BE(0))
  return hasMac ? macAt(data, 2) : null
}

/**
 * The MAC of the interface that a message left, as seen by others than the client's DHCP: that which
 * the relay next to the client saw on the frame, else that in the link-local address that the message
 * came from, which networks keep machines from forging.
 *
 * A MAC in a DUID counts less (see `findHost`): anybody can write it, and an honest machine has one
 * DUID for all its interfaces, made of the MAC of any of them (RFC 8415 §11.2).
 */
export function seenMac(relay: RelayMessage | undefined, source: Buffer): string | null {
  if (!relay) return macOfLinkLocal(source)
  return macOfRelay(relay) ?? macOfLinkLocal(relay.peerAddress)
}
