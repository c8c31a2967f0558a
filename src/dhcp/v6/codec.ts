// DHCPv6 messages and their bytes (RFC 8415 §8, §9, §21.1). What options hold is left to who needs it.

/** RFC 8415 §7.3. */
export const messageTypes = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  informationRequest: 11,
  relayForward: 12,
  relayReply: 13,
} as const

/** RFC 8415 §21; of relays RFC 4649, RFC 4994, RFC 6939 and RFC 8357; of names RFC 4704. */
export const optionCodes = {
  clientId: 1,
  serverId: 2,
  iaNa: 3,
  iaTa: 4,
  iaAddress: 5,
  requested: 6,
  preference: 7,
  relayMessage: 9,
  serverUnicast: 12,
  status: 13,
  rapidCommit: 14,
  interfaceId: 18,
  iaPd: 25,
  iaPrefix: 26,
  remoteId: 37,
  clientFqdn: 39,
  echoRequest: 43,
  clientLinkLayerAddress: 79,
  relayPort: 135,
} as const

/** An option; `data` is a view of the packet that it came in. */
export type Option = { readonly code: number; readonly data: Buffer }

/** A message between client and server (RFC 8415 §8). */
export type PlainMessage = {
  readonly type: number
  /** Of 24 bits. */
  readonly transactionId: number
  readonly options: readonly Option[]
}

/** A message between relay and server, with the message that it holds (RFC 8415 §9). */
export type RelayMessage = {
  readonly type: number
  readonly hopCount: number
  /** Addresses as their 16 bytes. */
  readonly linkAddress: Buffer
  readonly peerAddress: Buffer
  /** All but the Relay Message option, which encodes as the last. */
  readonly options: readonly Option[]
  readonly message: Message
}

export type Message = PlainMessage | RelayMessage

/** Why bytes are no message. */
export type Malformed = {
  readonly malformed:
    | 'too_short'
    | 'unknown_type'
    | 'broken_options'
    | 'too_many_options'
    | 'too_many_relays'
    | 'no_relay_message'
    | 'two_relay_messages'
}

export const isRelay = (message: Message): message is RelayMessage => 'message' in message

/** The highest hop count, so that one relay more may have handed a message on (RFC 8415 §7.6, §19.1). */
const hopCountMax = 8

/** Of one message, or in one option. Clients send about ten; this keeps odd packets cheap. */
export const optionsMax = 256

/** What fits in a UDP datagram over IPv6 without jumbograms (RFC 8200 §3, RFC 768). */
export const messageBytesMax = 65_527

const plainHeader = 4
const relayHeader = 34
const optionHeader = 4

/** The message that some bytes are. It takes time in proportion to their number, and never throws. */
export function decodeMessage(bytes: Uint8Array): Message | Malformed {
  const packet = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return decodeAt(packet, 0)
}

function decodeAt(bytes: Buffer, relays: number): Message | Malformed {
  const type = bytes[0]
  if (type === undefined) return { malformed: 'too_short' }
  if (type === messageTypes.relayForward || type === messageTypes.relayReply) {
    return decodeRelay(bytes, type, relays)
  }
  if (type < messageTypes.solicit || type > messageTypes.informationRequest) {
    return { malformed: 'unknown_type' }
  }
  if (bytes.length < plainHeader) return { malformed: 'too_short' }
  const options = decodeOptions(bytes, plainHeader)
  return 'malformed' in options ? options : { type, transactionId: bytes.readUIntBE(1, 3), options }
}

function decodeRelay(bytes: Buffer, type: number, relays: number): Message | Malformed {
  if (bytes.length < relayHeader) return { malformed: 'too_short' }
  const hopCount = bytes.readUInt8(1)
  if (hopCount > hopCountMax || relays > hopCountMax) return { malformed: 'too_many_relays' }
  const all = decodeOptions(bytes, relayHeader)
  if ('malformed' in all) return all
  const [held, ...more] = all.filter(({ code }) => code === optionCodes.relayMessage)
  if (!held) return { malformed: 'no_relay_message' }
  if (more.length > 0) return { malformed: 'two_relay_messages' }
  const message = decodeAt(held.data, relays + 1)
  if ('malformed' in message) return message
  return {
    type,
    hopCount,
    linkAddress: bytes.subarray(2, 18),
    peerAddress: bytes.subarray(18, relayHeader),
    options: all.filter(option => option !== held),
    message,
  }
}

/** The options from a place to the end, in their order (RFC 8415 §21.1). */
export function decodeOptions(bytes: Buffer, start: number): Option[] | Malformed {
  const options: Option[] = []
  for (let at = start; at < bytes.length; ) {
    const data = at + optionHeader
    if (data > bytes.length) return { malformed: 'broken_options' }
    const end = data + bytes.readUInt16BE(at + 2)
    if (end > bytes.length) return { malformed: 'broken_options' }
    if (options.length === optionsMax) return { malformed: 'too_many_options' }
    options.push({ code: bytes.readUInt16BE(at), data: bytes.subarray(data, end) })
    at = end
  }
  return options
}

/** How many bytes some options take. */
export function optionsLength(options: readonly Option[]): number {
  let length = 0
  for (const { data } of options) length += optionHeader + data.length
  return length
}

/** How many bytes a message takes. */
export function encodedLength(message: Message): number {
  const options = optionsLength(message.options)
  return isRelay(message)
    ? relayHeader + options + optionHeader + encodedLength(message.message)
    : plainHeader + options
}

/**
 * The bytes of a message.
 *
 * @throws {RangeError} if it is longer than `messageBytesMax`
 */
export function encodeMessage(message: Message): Buffer {
  const length = encodedLength(message)
  if (length > messageBytesMax) throw new RangeError(`a message of ${length} bytes`)
  const bytes = Buffer.allocUnsafe(length)
  writeMessage(bytes, 0, message)
  return bytes
}

function writeMessage(bytes: Buffer, start: number, message: Message): number {
  bytes[start] = message.type
  if (!isRelay(message)) {
    bytes.writeUIntBE(message.transactionId, start + 1, 3)
    return writeOptions(bytes, start + plainHeader, message.options)
  }
  bytes[start + 1] = message.hopCount
  message.linkAddress.copy(bytes, start + 2)
  message.peerAddress.copy(bytes, start + 18)
  const held = writeOptions(bytes, start + relayHeader, message.options)
  const end = writeMessage(bytes, held + optionHeader, message.message)
  bytes.writeUInt16BE(optionCodes.relayMessage, held)
  bytes.writeUInt16BE(end - held - optionHeader, held + 2)
  return end
}

/** Writes options at a place, and says where they end. */
function writeOptions(bytes: Buffer, start: number, options: readonly Option[]): number {
  let at = start
  for (const { code, data } of options) {
    bytes.writeUInt16BE(code, at)
    bytes.writeUInt16BE(data.length, at + 2)
    data.copy(bytes, at + optionHeader)
    at += optionHeader + data.length
  }
  return at
}
