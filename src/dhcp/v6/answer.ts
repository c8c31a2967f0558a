import type { Host, Lease, Link } from './bindings.ts'
import {
  encodedLength,
  type Message,
  messageBytesMax,
  messageTypes,
  type Option,
  optionCodes,
  optionsLength,
  type RelayMessage,
} from './codec.ts'
import type { Discard, Request } from './request.ts'

/** What is to happen beside an answer, told by whom. */
type Told = {
  readonly link: Link
  readonly duid: Buffer
  readonly iaid: number
  /** The client's MAC as others saw it. Where it is null only the client says who it is. */
  readonly mac: string | null
}

export type Effect = Told &
  (
    | {
        /** A lease is given or extended, until a time in seconds since 1970; null is for ever. */
        readonly kind: 'leased'
        readonly host: Host
        readonly lease: Lease
        readonly validUntil: number | null
      }
    | { readonly kind: 'released' | 'declined'; readonly host: Host; readonly lease: Lease }
    | {
        /**
         * The allocation of an automatic host is to last for so many seconds from now. Once the
         * bindings say so, or it cannot be, the engine is to be asked again.
         */
        readonly kind: 'prolong'
        readonly host: Host
        readonly lease: Lease
        readonly seconds: number
      }
    | {
        /**
         * An unknown client needs an address. Once the bindings have a host for it, or there is none
         * for it, the engine is to be asked again.
         */
        readonly kind: 'wanted'
        /** Whether the client will use it without asking again. */
        readonly isFinal: boolean
        /** The 16 bytes of each address that it would like. */
        readonly named: readonly Buffer[]
      }
  )

/** Why a message that is in order gets no answer. */
export type Silence =
  | 'unknown_link'
  | 'unknown_client'
  | 'allocation_wanted'
  | 'nothing_to_confirm'
  | 'too_long'

export type Answer = {
  /**
   * To the address that the message came from; null for none. No port is that from which it came
   * (RFC 8357 §5.2).
   */
  readonly reply: { readonly message: Message; readonly port: number | null } | null
  /** Why there is no reply. */
  readonly reason: Discard | Silence | null
  readonly effects: readonly Effect[]
}

export const nothing = (reason: Discard | Silence, effects: readonly Effect[] = []): Answer => ({
  reply: null,
  reason,
  effects,
})

/** Of clients and of relays (RFC 8415 §7.2). */
const ports = { client: 546, relay: 547 }

/** A reply on the way that its request came (RFC 8415 §18.3.10, §19.3). */
export function send(
  { transactionId, relays }: Request,
  type: number,
  options: readonly Option[],
  effects: readonly Effect[] = [],
): Answer {
  let message: Message = { type, transactionId, options }
  for (const relay of relays.toReversed()) {
    const { hopCount, linkAddress, peerAddress } = relay
    message = {
      type: messageTypes.relayReply,
      hopCount,
      linkAddress,
      peerAddress,
      options: echoed(relay),
      message,
    }
  }
  if (encodedLength(message) > messageBytesMax) return nothing('too_long')
  const [nearest] = relays
  const saysPort = nearest?.options.some(({ code }) => code === optionCodes.relayPort)
  const usual = nearest ? ports.relay : ports.client
  return { reply: { message, port: saysPort ? null : usual }, reason: null, effects }
}

/**
 * What a relay gets back: its Interface-Id (RFC 8415 §21.18), the port of the relay before it (RFC
 * 8357 §5.2), and what it asks for (RFC 4994 §4).
 */
function echoed({ options }: RelayMessage): Option[] {
  const wanted = new Set<number>([optionCodes.interfaceId, optionCodes.relayPort])
  for (const { code, data } of options) {
    if (code !== optionCodes.echoRequest) continue
    for (let at = 0; at + 1 < data.length; at += 2) wanted.add(data.readUInt16BE(at))
  }
  return options.filter(({ code }) => wanted.has(code))
}

/** RFC 8415 §21.13. */
const statusOption = (status: number, text: string): Option => ({
  code: optionCodes.status,
  data: Buffer.concat([Buffer.of(0, status), Buffer.from(text)]),
})

export const statuses = {
  success: statusOption(0, 'done'),
  noAddresses: statusOption(2, 'no address for this association'),
  noBinding: statusOption(3, 'this association is not known'),
  notOnLink: statusOption(4, 'an address is not of this link'),
  useMulticast: statusOption(5, 'send this to ff02::1:2'),
  noPrefixes: statusOption(6, 'no prefix for this association'),
}

/** How many bytes of configured options an answer has at most. */
const configuredBytesMax = 32_768

/** What is configured of the options that a client wants, each once, in its order (RFC 8415 §21.7). */
export function wantedOptions(
  requested: readonly number[],
  configured: ReadonlyMap<number, readonly Option[]>,
): Option[] {
  const found: Option[] = []
  const seen = new Set<number>()
  let length = 0
  for (const code of requested) {
    const instances = configured.get(code)
    // A preference goes with advertisements, asked or not.
    if (!instances || seen.has(code) || code === optionCodes.preference) continue
    seen.add(code)
    length += optionsLength(instances)
    if (length > configuredBytesMax) break
    found.push(...instances)
  }
  return found
}
