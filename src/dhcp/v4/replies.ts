import type { Answer, Effect } from './answer.ts'
import { type Message, uint16At, uint32Bytes } from './codec.ts'
import { broadcastFlag, codes, infinite, messageTypes, operations, ports } from './codes.ts'
import type { Request } from './request.ts'
import { addOptions, type Boot, bootOf, type Told } from './told.ts'

const broadcast = 0xffff_ffff
const nobody = new Uint8Array(0)

/**
 * A client takes at least 576 bytes, with IP and UDP headers (RFC 2131 §2), or says more (RFC 2132
 * §9.10).
 */
const sizeMin = 576
const headersBytes = 28

function bytesMax({ message, link }: Request): number {
  const said = message.options.get(codes.messageSizeMax)
  const size = said?.length === 2 ? uint16At(said, 0) : sizeMin
  return Math.max(sizeMin, Math.min(size, link.mtu)) - headersBytes
}

type Granted = {
  readonly type: number
  readonly address: number
  readonly told: Told
  /** Null where nothing is leased (RFC 2131 §4.3.5, RFC 8925 §3.3). */
  readonly lease_seconds: number | null
  readonly effects?: readonly Effect[]
}

/** An offer or an acknowledgement (RFC 2131 §4.3.1, table 3). */
export function grant(request: Request, granted: Granted): Answer {
  const { message, type } = request
  const { told, address, lease_seconds, effects = [] } = granted
  const boot = bootOf(told, message.options.get(codes.clientArchitecture))
  const options = startOptions(request, granted.type)
  if (lease_seconds !== null) addTimes(options, told, lease_seconds)
  if (type === messageTypes.discover && granted.type === messageTypes.ack) {
    options.set(codes.rapidCommit, nobody) // RFC 4039 §4.
  }
  addIdentity(options, message)
  // RFC 3011 §2: it comes back as it was, where it counted.
  const selection = message.options.get(codes.subnetSelection)
  if (selection && message.giaddr !== 0) options.set(codes.subnetSelection, selection)
  // UEFI 2.10 §24.7: who boots by HTTP takes only answers that are marked so, too.
  if (boot && boot.file.length > 0 && isHttpClient(message))
    options.set(codes.vendorClass, httpClient)
  const asked = message.options.get(codes.requestList)
  addOptions(options, { told, boot, host_name: request.host?.host_name ?? null, asked })
  return {
    type: 'reply',
    message: replyTo(message, {
      flags: type === messageTypes.inform ? informFlags(message) : message.flags,
      ciaddr: type === messageTypes.inform || message.ciaddr === address ? message.ciaddr : 0,
      yiaddr: address,
      boot,
      options,
    }),
    bytes_max: bytesMax(request),
    to: destination(request, address),
    effects,
  }
}

/** A refusal (RFC 2131 §4.3.2, table 3), with the reason for those who read logs. */
export function refuse(request: Request, reason: string): Answer {
  const { message, is_remote, relay_port } = request
  const options = startOptions(request, messageTypes.nak)
  options.set(codes.text, Uint8Array.from(Buffer.from(reason)))
  addIdentity(options, message)
  // RFC 2131 §4.3.2: the relay is to broadcast it, since the client's address may be wrong. Without
  // a relay it is broadcast (§4.1); only on the other side of a router nobody would hear that.
  const isRelayed = message.giaddr !== 0
  const direct = is_remote
    ? { address: message.ciaddr, port: ports.client }
    : { address: broadcast, port: ports.client }
  return {
    type: 'reply',
    message: replyTo(message, {
      flags: isRelayed ? message.flags | broadcastFlag : message.flags,
      ciaddr: 0,
      yiaddr: 0,
      boot: null,
      options,
    }),
    bytes_max: bytesMax(request),
    to: isRelayed ? { address: message.giaddr, port: relay_port ?? ports.server } : direct,
    effects: [],
  }
}

/** To whom an answer goes (RFC 2131 §4.1). Who has no address yet hears only what goes to all. */
function destination({ message, relay_port, origin, type }: Request, address: number) {
  const { giaddr, ciaddr } = message
  if (giaddr !== 0) return { address: giaddr, port: relay_port ?? ports.server }
  if (type === messageTypes.inform) {
    return { address: ciaddr || origin.source.address, port: ports.client }
  }
  // What is not the client's own address is not written to.
  const isOwn = ciaddr !== 0 && ciaddr === address
  return { address: isOwn ? ciaddr : broadcast, port: ports.client }
}

/** A relay finds no address in the answer to a client that said none, so it is to broadcast it. */
const informFlags = ({ flags, giaddr, ciaddr }: Message) =>
  giaddr !== 0 && ciaddr === 0 ? flags | broadcastFlag : flags

type Reply = Pick<Message, 'flags' | 'ciaddr' | 'yiaddr'> & {
  readonly boot: Boot | null
  readonly options: Map<number, Uint8Array>
}

/** What a relay added comes back as it is (RFC 3046 §2.2). */
function replyTo(message: Message, { flags, ciaddr, yiaddr, boot, options }: Reply): Message {
  const relay = message.options.get(codes.relayInformation)
  if (relay) options.set(codes.relayInformation, relay)
  return {
    op: operations.reply,
    htype: message.htype,
    hops: 0,
    xid: message.xid,
    secs: 0,
    flags,
    ciaddr,
    yiaddr,
    siaddr: boot?.siaddr ?? 0,
    giaddr: message.giaddr,
    chaddr: message.chaddr,
    sname: boot?.sname ?? nobody,
    file: boot?.file ?? nobody,
    options,
  }
}

const typeBytes = Array.from({ length: 9 }, (_, type) => Uint8Array.of(type))

function startOptions({ server }: Request, type: number): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>()
  options.set(codes.messageType, typeBytes[type] ?? nobody)
  options.set(codes.serverIdentifier, uint32Bytes(server))
  return options
}

/** RFC 6842 §3: the client's identifier is in all answers, if it was in what they answer. */
function addIdentity(options: Map<number, Uint8Array>, message: Message) {
  const client_id = message.options.get(codes.clientIdentifier)
  if (client_id) options.set(codes.clientIdentifier, client_id)
}

/**
 * The times of a lease (RFC 2131 §4.4.5): half of it and seven eighths, unless others are set that
 * make sense.
 */
function addTimes(options: Map<number, Uint8Array>, told: Told, lease: number) {
  options.set(codes.leaseTime, uint32Bytes(lease))
  if (lease === infinite) return
  const usualRebinding = Math.floor(lease * 0.875)
  const isBetween = (value: number | null, low: number, high: number) =>
    value !== null && value > low && value < high
  const rebinding = isBetween(told.rebinding_seconds, 0, lease)
    ? Number(told.rebinding_seconds)
    : usualRebinding
  const renewal = isBetween(told.renewal_seconds, 0, rebinding)
    ? Number(told.renewal_seconds)
    : Math.min(Math.floor(lease / 2), rebinding)
  options.set(codes.renewalTime, uint32Bytes(renewal))
  options.set(codes.rebindingTime, uint32Bytes(rebinding))
}

const httpClient = Uint8Array.from(Buffer.from('HTTPClient'))

function isHttpClient({ options }: Message): boolean {
  const said = options.get(codes.vendorClass)
  return said !== undefined && httpClient.every((byte, place) => said[place] === byte)
}
