import type { Answer, Effect } from '../../dhcp/v6/answer.ts'
import type { BindingTable } from '../../dhcp/v6/binding-table.ts'
import { addressBytes } from '../../dhcp/v6/bindings.ts'
import {
  decodeMessage,
  encodeMessage,
  type Message,
  messageTypes,
  type RelayMessage,
} from '../../dhcp/v6/codec.ts'
import { answer, type Server } from '../../dhcp/v6/engine.ts'
import type { Facts6 } from './facts6.ts'
import { createSendWritten, type FlowOptions, type Source } from './flow.ts'
import { createPacketLog } from './packet-log.ts'
import { hostNameOf, namesOf, relayOf, textOfBytes, unwrap } from './words6.ts'

/** Where packets come in, and answers to them go out. */
export type Door6 = {
  /** The network of the interface; null if only relays send there. */
  readonly link_id: string | null
  readonly takes_remote: boolean
  readonly is_unicast: boolean
  send(bytes: Uint8Array, port: number, address: string): void
}

export type Flow6 = {
  receive(packet: Uint8Array, source: Source, door: Door6): void
}

type Flow6Options = FlowOptions<BindingTable, Facts6> & { readonly server: Server }

/** A packet on its way. */
type Case = {
  readonly message: Message
  readonly type: string
  readonly source: Source
  readonly door: Door6
  /** By `performance.now()`. */
  readonly came_at: number
}

type Wanted = Extract<Effect, { readonly kind: 'wanted' }>
type Prolong = Extract<Effect, { readonly kind: 'prolong' }>
type Told = Exclude<Effect, Wanted | Prolong>

/** How many addresses one message of an unknown client gets at most. */
const allocationsMax = 4
/** How long an address is held that is only offered. */
const offerSeconds = 120

const typeNames = new Map(
  Object.entries(messageTypes).map(([name, type]) => [type as number, name]),
)

/** What happens from a DHCPv6 packet to its answer. */
export function createFlow6(options: Flow6Options): Flow6 {
  const { server, bindings, facts, leases, automatic, wishes, metrics, log, durable_leases } =
    options
  const logPacket = createPacketLog(log)
  const sendWritten = createSendWritten(log)

  function note({ message, type, source }: Case, result: string) {
    metrics.packet(6, type, result)
    logPacket(() => {
      const { plain, nearest } = unwrap(message)
      const { transactionId } = plain
      return { type, result, transactionId, relay: relayOf(nearest), from: source.address }
    })
  }

  function settle(one: Case, isRepeated: boolean) {
    const { message, door, source } = one
    const now = Date.now() / 1000
    const zone = source.address.indexOf('%')
    const arrival = {
      interface: door.link_id ?? '',
      address: addressBytes(zone < 0 ? source.address : source.address.slice(0, zone)),
      isUnicast: door.is_unicast,
      trustsRelays: door.takes_remote,
    }
    const given = answer(message, arrival, { server, bindings, now, isRepeated })
    const wanted = given.effects.filter(effect => effect.kind === 'wanted')
    const prolong = given.effects.filter(effect => effect.kind === 'prolong')
    if (wanted.length + prolong.length > 0) return wish(one, wanted, prolong)
    const { plain, nearest } = unwrap(message)
    const told = given.effects as readonly Told[]
    const written = told.map(effect => carryOut({ effect, now, plain, nearest }))
    const { reply } = given
    if (!reply) return note(one, given.reason ?? 'nothing')
    if (!durable_leases || written.length === 0) return send(one, reply)
    if (!sendWritten(Promise.all(written), () => send(one, reply))) note(one, 'overloaded')
  }

  function send(one: Case, reply: NonNullable<Answer['reply']>) {
    const { door, source, came_at } = one
    door.send(encodeMessage(reply.message), reply.port ?? source.port, source.address)
    note(one, 'answered')
    metrics.seconds[6].observe((performance.now() - came_at) / 1000)
  }

  /** Changes the bindings at once, and tells of it. */
  function carryOut({
    effect,
    now,
    plain,
    nearest,
  }: {
    readonly effect: Told
    readonly now: number
    readonly plain: Parameters<typeof hostNameOf>[0]
    readonly nearest: RelayMessage | null
  }): Promise<void> {
    const { link, host, lease, kind } = effect
    if (kind === 'declined') facts.withhold(link.id, host, lease, now)
    if (kind === 'released' && host.isAutomatic) facts.dropHost(link.id, host.id)
    const at = Math.round(now * 1000)
    const until = kind === 'leased' ? effect.validUntil : now
    return leases.record({
      allocation_id: lease.allocationId,
      network_id: link.id,
      address: lease.text,
      ...namesOf(effect),
      host_name: hostNameOf(plain),
      relay: relayOf(nearest),
      state: kind === 'leased' ? 'bound' : kind,
      at,
      ends_at: until === null ? null : Math.round(until * 1000),
    })
  }

  function wish(one: Case, wanted: readonly Wanted[], prolong: readonly Prolong[]) {
    const [first] = [...wanted, ...prolong]
    if (!first) return
    const taken = wishes.wish({
      kind: wanted.length > 0 ? 'allocate' : 'renew',
      network_id: first.link.id,
      client: `6 ${first.duid.toString('latin1')}`,
      async make() {
        for (const each of wanted.slice(0, allocationsMax)) await allocate(one, each)
        for (const each of prolong) await renew(each)
      },
      answer: () => settle(one, true),
    })
    if (!taken) note(one, 'overloaded')
  }

  async function allocate({ message }: Case, { link, duid, iaid, named, isFinal }: Wanted) {
    const seconds = facts.automaticSeconds(link.id)
    const liked = named.find(address => link.isOnLink(address))
    const host = await automatic.allocate({
      network_id: link.id,
      version: 6,
      client: { ...namesOf({ duid, iaid, mac: null }) },
      block_id: null,
      address: liked ? textOfBytes(liked) : null,
      host_name: hostNameOf(unwrap(message).plain),
      lease_seconds: isFinal ? seconds : Math.min(offerSeconds, seconds),
    })
    if (typeof host !== 'string') facts.putHost(link.id, host)
  }

  async function renew({ link, host: { id }, lease, seconds }: Prolong) {
    const host = await automatic.renew({
      network_id: link.id,
      host_id: id,
      allocation_id: lease.allocationId,
      lease_seconds: seconds,
    })
    if (host === 'refused') facts.dropHost(link.id, id)
    else if (host !== 'unavailable') facts.putHost(link.id, host)
  }

  return {
    receive(packet, source, door) {
      const came_at = performance.now()
      const message = decodeMessage(packet)
      if ('malformed' in message) return metrics.packet(6, 'other', 'malformed')
      const type = typeNames.get(unwrap(message).plain.type) ?? 'other'
      settle({ message, type, source, door, came_at }, false)
    },
  }
}
