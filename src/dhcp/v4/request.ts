import type { Client, Origin, Outcome, Silence } from './answer.ts'
import { type Bindings, type Host, type Link, type Subnet, subnetNear } from './bindings.ts'
import { type Message, uint16At, uint32At } from './codec.ts'
import { codes, messageTypes, operations } from './codes.ts'
import { readSubOptions, subOptions } from './relay-information.ts'

/** What an answer is made from. */
export type Context = {
  readonly origin: Origin
  readonly bindings: Bindings
  /** Milliseconds since 1970. */
  readonly now: number
  /** Of what the engine wanted, when it was asked before. */
  readonly outcome?: Outcome | undefined
}

/** A message of a client, with what the bindings say about it. */
export type Request = Context & {
  readonly message: Message
  readonly type: number
  readonly link: Link
  /** Whether the client is on a link that this server only reaches through routers. */
  readonly is_remote: boolean
  /** The subnet of it where the client's relay is, or that the relay selects. */
  readonly subnet: Subnet | null
  readonly client: Client
  readonly host: Host | null
  /** As what this server answers, and whom the client means. */
  readonly server: number
  readonly asked_server: number | null
  readonly asked_address: number | null
  /** Where relays are to get the answer. */
  readonly relay_port: number | null
}

/** Kinds of messages that are for servers. */
const forServers: ReadonlySet<number> = new Set([
  messageTypes.discover,
  messageTypes.request,
  messageTypes.decline,
  messageTypes.release,
  messageTypes.inform,
])

/** Options that are of no use with any other length (RFC 2132 §9.1, §9.6, §9.7). */
const lengths = [
  [codes.messageType, 1],
  [codes.requestedAddress, 4],
  [codes.serverIdentifier, 4],
] as const

/** Reads what a client wants, and finds out where and who it is. */
export function readRequest(message: Message, context: Context): Request | Silence {
  const { options, giaddr } = message
  if (message.op !== operations.request) return 'not for servers'
  for (const [code, length] of lengths) {
    const value = options.get(code)
    if (value && value.length !== length) return 'malformed'
  }
  const type = options.get(codes.messageType)?.[0]
  if (type === undefined || !forServers.has(type)) return 'not for servers'

  const information = options.get(codes.relayInformation)
  const relayed = information ? readSubOptions(information) : noSubOptions
  if (relayed === null) return 'malformed'
  // What says where a client is counts only from a relay, which clients cannot be (RFC 3046 §2.1).
  const trusted = giaddr === 0 ? noSubOptions : relayed
  const place = placeOf(message, trusted, context)
  if (!place) return 'unknown link'

  const client = { mac: macOf(message), client_id: options.get(codes.clientIdentifier) }
  const { bindings, origin, now, outcome } = context
  // Members one by one: to spread two objects costs more than all else that is done for a packet.
  return {
    origin,
    bindings,
    now,
    outcome,
    message,
    type,
    link: place.link,
    is_remote: place.is_remote,
    subnet: place.subnet,
    client,
    host: bindings.hostOf(place.link, client.mac, client.client_id),
    // RFC 5107: clients are to take the relay for the server.
    server: addressIn(trusted.get(subOptions.serverIdentifierOverride)) ?? origin.server,
    asked_server: addressIn(options.get(codes.serverIdentifier)),
    asked_address: addressIn(options.get(codes.requestedAddress)),
    // RFC 8357 §5.1: such a relay listens at the port from which it sends.
    relay_port: trusted.has(subOptions.sourcePort) ? origin.source.port : null,
  }
}

const noSubOptions: ReadonlyMap<number, Uint8Array> = new Map()

const addressIn = (value: Uint8Array | undefined): number | null =>
  value?.length === 4 ? uint32At(value, 0) : null

/**
 * The link of a client. With a relay: that which names it or its circuit, else that of the address
 * which it selects (RFC 3527, RFC 3011), or of its own address (RFC 2131 §4.3.1). Else that of the interface; but who renews directly may be on another link, which its address says (RFC 2131
 * §4.3.2).
 */
function placeOf(
  { giaddr, ciaddr, options }: Message,
  relayed: ReadonlyMap<number, Uint8Array>,
  { bindings, origin }: Context,
): Pick<Request, 'link' | 'is_remote' | 'subnet'> | null {
  if (giaddr !== 0) {
    if (!origin.takes_remote) return null
    const circuit = relayed.get(subOptions.circuitId)
    // RFC 3527 §3: the relay's word counts before that of a client that speaks for others (RFC 3011).
    const selection = relayed.get(subOptions.linkSelection) ?? options.get(codes.subnetSelection)
    const address = selection ? addressIn(selection) : giaddr
    if (address === null) return null
    const link = bindings.linkOfRelay({ giaddr, circuit, address })
    return link ? { link, is_remote: true, subnet: subnetNear(link, address) } : null
  }
  const own = origin.link_id === null ? null : bindings.link(origin.link_id)
  const isRouted = origin.takes_remote && origin.is_unicast && ciaddr !== 0
  if (!isRouted || (own && subnetNear(own, ciaddr))) {
    return own ? { link: own, is_remote: false, subnet: null } : null
  }
  const other = bindings.linkOfAddress(ciaddr)
  return other ? { link: other, is_remote: true, subnet: null } : null
}

const ethernet = 1

/**
 * An Ethernet address as 48 bits; null for other hardware, groups and zeros, which name no client.
 */
function macOf({ htype, chaddr }: Message): number | null {
  if (htype !== ethernet || chaddr.length !== 6 || (chaddr[0] ?? 0) % 2 === 1) return null
  const mac = uint16At(chaddr, 0) * 2 ** 32 + uint32At(chaddr, 2)
  return mac === 0 ? null : mac
}
