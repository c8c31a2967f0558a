import type { Answer, Effect, Outcome, Wanted } from '../../dhcp/v4/answer.ts'
import type { BindingStore } from '../../dhcp/v4/bindings.ts'
import { decodeMessage, encodeMessage, isMalformed, type Message } from '../../dhcp/v4/codec.ts'
import { codes } from '../../dhcp/v4/codes.ts'
import { answer } from '../../dhcp/v4/engine.ts'
import { clientIdOf, type LeaseNews } from '../driver.ts'
import type { Facts4 } from './facts4.ts'
import { createSendWritten, type FlowOptions, type Source } from './flow.ts'
import { createPacketLog } from './packet-log.ts'
import { hexOf, numberOfAddress, textOfAddress } from './texts.ts'
import { hostNameOf, namesOf, relayOf } from './words4.ts'

/** Where packets come in, and answers to them go out. */
export type Door4 = {
  /** The network of the interface; null if only relays and routers send there. */
  readonly link_id: string | null
  readonly takes_remote: boolean
  readonly is_unicast: boolean
  /** The address under which the server answers there, and all that it has. */
  readonly server: number
  readonly servers: ReadonlySet<number>
  send(bytes: Uint8Array, port: number, address: string): void
}

export type Flow4 = {
  receive(packet: Uint8Array, source: Source, door: Door4): void
}

type Flow4Options = FlowOptions<BindingStore, Facts4>

/** A packet on its way. */
type Case = {
  readonly message: Message
  readonly type: string
  readonly source: Source
  readonly door: Door4
  /** By `performance.now()`. */
  readonly came_at: number
}

const typeNames = ['discover', 'offer', 'request', 'decline', 'ack', 'nak', 'release', 'inform']
const typeOf = ({ options }: Message) =>
  typeNames[(options.get(codes.messageType)?.[0] ?? 0) - 1] ?? 'other'

/** What happens from a DHCPv4 packet to its answer. */
export function createFlow4(options: Flow4Options): Flow4 {
  const { bindings, facts, leases, automatic, wishes, metrics, log, durable_leases } = options
  const logPacket = createPacketLog(log)
  const sendWritten = createSendWritten(log)

  function note({ message, type, source }: Case, result: string) {
    metrics.packet(4, type, result)
    logPacket(() => {
      const { chaddr, xid, giaddr } = message
      const relay = giaddr === 0 ? null : textOfAddress(giaddr)
      return { type, result, client: hexOf(chaddr, 16), xid, relay, from: source.address }
    })
  }

  function settle(one: Case, outcome?: Outcome) {
    const { message, door, source } = one
    const now = Date.now()
    const { link_id, takes_remote, is_unicast, server, servers } = door
    const address = numberOfAddress(source.address)
    const given = answer(message, {
      origin: {
        link_id,
        takes_remote,
        is_unicast,
        source: { address, port: source.port },
        server,
        servers,
      },
      bindings,
      now,
      outcome,
    })
    switch (given.type) {
      case 'wanted':
        return wish(one, given.wanted)
      case 'nothing':
        for (const effect of given.effects) void carryOut(one, effect, now)
        return note(one, given.reason)
      default:
        return reply(one, given, now)
    }
  }

  function reply(one: Case, given: Answer & { readonly type: 'reply' }, now: number) {
    const [effect] = given.effects
    if (!effect) return send(one, given)
    const written = carryOut(one, effect, now)
    if (!durable_leases) return send(one, given)
    if (!sendWritten(written, () => send(one, given))) note(one, 'overloaded')
  }

  function send(one: Case, { message, bytes_max, to }: Answer & { readonly type: 'reply' }) {
    const { bytes, left_out } = encodeMessage(message, { bytes_max })
    one.door.send(
      bytes,
      to.port,
      to.address === broadcast ? broadcastText : textOfAddress(to.address),
    )
    if (left_out.length > 0) log.debug({ left_out }, 'options did not fit into an answer')
    note(one, 'answered')
    metrics.seconds[4].observe((performance.now() - one.came_at) / 1000)
  }

  /** Changes the bindings at once, and tells of it. */
  function carryOut({ message }: Case, effect: Effect, now: number): Promise<void> {
    const { type, link, client, reservation } = effect
    const { allocation_id } = reservation
    if (type === 'declined') facts.withhold(link, effect.host, allocation_id, now)
    if (type === 'released' && effect.host.is_automatic) facts.dropHost(link.id, effect.host.id)
    const news: LeaseNews = {
      allocation_id,
      network_id: link.id,
      address: reservation.text,
      ...namesOf(client),
      host_name: hostNameOf(message),
      relay: relayOf(message),
      state: type === 'leased' ? 'bound' : type,
      at: now,
      ends_at: type === 'leased' ? effect.ends_at : now,
    }
    return leases.record(news)
  }

  function wish(one: Case, wanted: Wanted) {
    const { type, link, client } = wanted
    const taken = wishes.wish({
      kind: type,
      network_id: link.id,
      client: `4 ${clientIdOf(namesOf(client))}`,
      make: () => (type === 'allocate' ? allocate(one, wanted) : renew(wanted)),
      answer: outcome => settle(one, outcome),
    })
    if (!taken) note(one, 'overloaded')
  }

  async function allocate({ message }: Case, wanted: Wanted): Promise<Outcome> {
    const { link, client, subnet, address, seconds } = wanted
    const host = await automatic.allocate({
      network_id: link.id,
      version: 4,
      client: namesOf(client),
      block_id: subnet?.id ?? null,
      address: address === null ? null : textOfAddress(address),
      host_name: hostNameOf(message),
      lease_seconds: seconds,
    })
    if (typeof host === 'string') return host
    const [reservation] = facts.putHost(link.id, host)?.reservations ?? []
    return reservation ? { reservation } : 'refused'
  }

  async function renew({ link, host: known, reservation, seconds }: Wanted): Promise<Outcome> {
    if (!known || !reservation) return 'refused'
    const { allocation_id } = reservation
    const host = await automatic.renew({
      network_id: link.id,
      host_id: known.id,
      allocation_id,
      lease_seconds: seconds,
    })
    if (host === 'unavailable') return host
    if (host === 'refused') {
      facts.dropHost(link.id, known.id)
      return host
    }
    const renewed = facts
      .putHost(link.id, host)
      ?.reservations.find(one => one.allocation_id === allocation_id)
    return renewed ? { reservation: renewed } : 'refused'
  }

  return {
    receive(packet, source, door) {
      const came_at = performance.now()
      const message = decodeMessage(packet)
      if (isMalformed(message)) return metrics.packet(4, 'other', 'malformed')
      const one: Case = { message, type: typeOf(message), source, door, came_at }
      settle(one)
    },
  }
}

const broadcast = 0xffff_ffff
const broadcastText = '255.255.255.255'
