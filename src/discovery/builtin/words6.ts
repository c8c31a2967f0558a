import type { LeaseRelay } from '../../dhcp/served.ts'
import { isUnspecified } from '../../dhcp/v6/associations.ts'
import {
  isRelay,
  type Message,
  optionCodes,
  type PlainMessage,
  type RelayMessage,
} from '../../dhcp/v6/codec.ts'
import { formatAddress } from '../../ip/address.ts'
import type { ClientNames } from '../driver.ts'
import { hexOf } from './texts.ts'
import { printable } from './words4.ts'

// What clients and relays say of themselves by DHCPv6, for those who read of leases.

export const textOfBytes = (address: Buffer): string =>
  formatAddress({ version: 6, value: BigInt(`0x${address.toString('hex')}`) })

type Named = { readonly duid: Buffer; readonly iaid: number; readonly mac: string | null }

export const namesOf = ({ duid, iaid, mac }: Named): ClientNames => ({
  mac_address: mac === null ? null : (mac.match(/../g)?.join(':') ?? null),
  client_id: null,
  duid: duid.toString('hex'),
  iaid,
})

/** The message of the client, and the relay that is next to it. */
export function unwrap(message: Message): {
  readonly plain: PlainMessage
  readonly nearest: RelayMessage | null
} {
  let nearest: RelayMessage | null = null
  let plain = message
  while (isRelay(plain)) {
    nearest = plain
    plain = plain.message
  }
  return { plain, nearest }
}

const optionIn = (
  { options }: { readonly options: readonly { readonly code: number; readonly data: Buffer }[] },
  code: number,
) => options.find(option => option.code === code)?.data

/** The first label of the client's domain name (RFC 4704 §4). */
export function hostNameOf(plain: PlainMessage): string | null {
  const fqdn = optionIn(plain, optionCodes.clientFqdn)
  return fqdn ? printable(fqdn.subarray(2, 2 + (fqdn[1] ?? 0))) : null
}

const enterpriseBytes = 4

/** Through which relay a client was heard: by its link-address, or else by its peer, the client. */
export function relayOf(nearest: RelayMessage | null): LeaseRelay | null {
  if (!nearest) return null
  const { linkAddress, peerAddress } = nearest
  return {
    address: textOfBytes(isUnspecified(linkAddress, 0) ? peerAddress : linkAddress),
    circuit_id: hexOf(optionIn(nearest, optionCodes.interfaceId), 255),
    remote_id: hexOf(optionIn(nearest, optionCodes.remoteId)?.subarray(enterpriseBytes), 255),
  }
}
