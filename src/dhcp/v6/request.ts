import { type Association, associationsMax, decodeAssociation } from './associations.ts'
import {
  isRelay,
  type Message,
  messageTypes,
  type Option,
  optionCodes,
  type RelayMessage,
} from './codec.ts'
import { isDuid } from './identity.ts'

// Which messages servers heed, and what is in them (RFC 8415 §16).

/** How a packet came. */
export type Arrival = {
  /** The served interface that it came to. */
  readonly interface: string
  /** The 16 bytes of the address that sent it: a client's, or that of the nearest relay. */
  readonly address: Buffer
  /** Whether it was sent to an address of the server itself, and not to a multicast address. */
  readonly isUnicast: boolean
  /** Whether a relay's word counts here: any machine of a link can claim to be one. */
  readonly trustsRelays: boolean
}

/** A message of a client that is to be answered. */
export type Request = {
  readonly type: number
  readonly transactionId: number
  readonly clientId: Option | null
  readonly associations: readonly Association[]
  /** The codes of the options that the client wants (RFC 8415 §21.7). */
  readonly requested: readonly number[]
  readonly wantsRapidCommit: boolean
  /** Those that handed it on, the last and outermost first. */
  readonly relays: readonly RelayMessage[]
  /** Whether it was sent to the server alone although it was told nothing of the kind. */
  readonly isUnicast: boolean
}

/** Why a message is discarded. */
export type Discard =
  | 'untrusted_relay'
  | 'not_for_servers'
  | 'repeated_option'
  | 'no_client_id'
  | 'bad_client_id'
  | 'no_server_id'
  | 'another_server'
  | 'server_id_not_allowed'
  | 'unicast_not_allowed'
  | 'association_not_allowed'
  | 'bad_association'
  | 'too_many_associations'

type Rule = {
  readonly serverId: 'needed' | 'forbidden' | 'optional'
  readonly clientId: 'needed' | 'optional'
  /** Whether it is discarded if it was sent by unicast (§16), or answered with UseMulticast. */
  readonly isMulticastOnly: boolean
  readonly hasAssociations: boolean
}

const toAll: Rule = {
  serverId: 'forbidden',
  clientId: 'needed',
  isMulticastOnly: true,
  hasAssociations: true,
}
const toOne: Rule = { ...toAll, serverId: 'needed', isMulticastOnly: false }

const rules = new Map<number, Rule>([
  [messageTypes.solicit, toAll], // §16.2
  [messageTypes.request, toOne], // §16.4
  [messageTypes.confirm, toAll], // §16.5
  [messageTypes.renew, toOne], // §16.6
  [messageTypes.rebind, toAll], // §16.7
  [messageTypes.decline, toOne], // §16.8
  [messageTypes.release, toOne], // §16.9
  [
    messageTypes.informationRequest, // §16.12
    { serverId: 'optional', clientId: 'optional', isMulticastOnly: true, hasAssociations: false },
  ],
])

/** How many wanted options are heeded. */
const requestedMax = 256

/** What a client asks, or why it is not to be heard. `duid` is the server's own. */
export function readRequest(message: Message, arrival: Arrival, duid: Buffer): Request | Discard {
  const relays: RelayMessage[] = []
  let plain = message
  while (isRelay(plain)) {
    if (plain.type !== messageTypes.relayForward) return 'not_for_servers' // §16.14
    relays.push(plain)
    plain = plain.message
  }
  if (relays.length > 0 && !arrival.trustsRelays) return 'untrusted_relay'
  const rule = rules.get(plain.type)
  if (!rule) return 'not_for_servers' // §16.3, §16.10, §16.11
  const isUnicast = relays.length === 0 && arrival.isUnicast
  if (isUnicast && rule.isMulticastOnly) return 'unicast_not_allowed'

  let clientId: Option | null = null
  let serverId: Buffer | null = null
  let requested: number[] | null = null
  let wantsRapidCommit = false
  const associations: Association[] = []
  for (const option of plain.options) {
    switch (option.code) {
      case optionCodes.clientId:
        if (clientId) return 'repeated_option'
        clientId = option
        break
      case optionCodes.serverId:
        if (serverId) return 'repeated_option'
        serverId = option.data
        break
      case optionCodes.requested:
        requested ??= readCodes(option.data)
        break
      case optionCodes.rapidCommit:
        wantsRapidCommit = true
        break
      case optionCodes.iaNa:
      case optionCodes.iaTa:
      case optionCodes.iaPd: {
        if (!rule.hasAssociations) return 'association_not_allowed'
        if (associations.length === associationsMax) return 'too_many_associations'
        const association = decodeAssociation(option)
        if (!association) return 'bad_association'
        const { code, iaid } = association
        if (associations.some(one => one.code === code && one.iaid === iaid)) {
          return 'bad_association' // §12: the identifiers of a client are unique.
        }
        associations.push(association)
      }
    }
  }
  if (!clientId && rule.clientId === 'needed') return 'no_client_id'
  if (clientId && !isDuid(clientId.data)) return 'bad_client_id'
  if (!serverId && rule.serverId === 'needed') return 'no_server_id'
  if (serverId && rule.serverId === 'forbidden') return 'server_id_not_allowed'
  if (serverId && !serverId.equals(duid)) return 'another_server'
  const { type, transactionId } = plain
  return {
    type,
    transactionId,
    clientId,
    associations,
    requested: requested ?? [],
    wantsRapidCommit,
    relays,
    isUnicast,
  }
}

function readCodes(data: Buffer): number[] {
  const codes: number[] = []
  const end = Math.min(data.length - 1, 2 * requestedMax)
  for (let at = 0; at < end; at += 2) codes.push(data.readUInt16BE(at))
  return codes
}
