import type { Logger } from 'pino'
import { bindSocket, receiveBytes } from './bind.ts'
import { type Channel, channelOf } from './channel.ts'
import { openElsewhere } from './elsewhere.ts'
import type { Source } from './flow.ts'
import type { SocketPlan } from './plan.ts'

export type Receive = (packet: Buffer, source: Source, plan: SocketPlan) => void

export type SocketsOptions = {
  readonly ports: Readonly<Record<4 | 6, number>>
  readonly log: Logger
  readonly receive: Receive
  /** A packet could not be sent, or a socket is gone: it is time to look again. */
  readonly onTrouble: () => void
}

/** The sockets of this server. */
export type Sockets = {
  /** Opens and closes sockets until those of a plan are open; what could not be opened, and why. */
  follow(plans: readonly SocketPlan[]): Promise<string[]>
  send(key: string, bytes: Uint8Array, port: number, address: string): void
  readonly count: () => number
  close(): void
}

export function createSockets({ ports, log, receive, onTrouble }: SocketsOptions): Sockets {
  const open = new Map<string, { plan: SocketPlan; readonly channel: Channel }>()
  let isNarrow = false

  function adopt(plan: SocketPlan, channel: Channel) {
    const entry = { plan, channel }
    open.set(plan.key, entry)
    channel.listen({
      onPacket: (packet, source) => receive(packet, source, entry.plan),
      onTrouble(error) {
        log.debug({ error: error.message, address: plan.address }, 'a packet was not sent')
        onTrouble()
      },
      onGone() {
        if (open.get(plan.key) !== entry) return
        open.delete(plan.key)
        onTrouble()
      },
    })
    const { room } = channel
    if (room !== null && room < receiveBytes && !isNarrow) {
      isNarrow = true
      const advice = `sysctl net.core.rmem_max=${receiveBytes}`
      log.warn({ bytes: room, advice }, 'the kernel gives sockets little room: bursts may be lost')
    }
  }

  async function openHere(plan: SocketPlan): Promise<string[]> {
    try {
      adopt(plan, channelOf(await bindSocket(plan, ports[plan.version])))
      return []
    } catch (error) {
      if (isSpare(plan)) return []
      return [`cannot listen: ${error instanceof Error ? error.message : error}`]
    }
  }

  async function openThere(namespace: string, plans: readonly SocketPlan[]): Promise<string[]> {
    const outcomes = await openElsewhere(namespace, plans, ports)
    return plans.flatMap((plan, index) => {
      const outcome = outcomes[index] ?? 'nothing was heard of it'
      if (typeof outcome !== 'string') adopt(plan, outcome)
      else if (!isSpare(plan)) return [`cannot listen in ${namespace}: ${outcome}`]
      return []
    })
  }

  return {
    async follow(plans) {
      const wanted = new Map(plans.map(plan => [plan.key, plan]))
      for (const [key, entry] of open) {
        const plan = wanted.get(key)
        if (plan) entry.plan = plan
        else {
          open.delete(key)
          entry.channel.close()
        }
      }
      const missing = plans.filter(({ key }) => !open.has(key))
      const failures = await Promise.all([
        ...missing.filter(({ namespace }) => namespace === null).map(openHere),
        ...[...byNamespace(missing)].map(([namespace, some]) => openThere(namespace, some)),
      ])
      return [...new Set(failures.flat())]
    },
    send: (key, bytes, port, address) => open.get(key)?.channel.send(bytes, port, address),
    count: () => open.size,
    close() {
      for (const { channel } of open.values()) channel.close()
      open.clear()
    },
  }
}

/**
 * At a link-local address clients only hear that they are to send to all (RFC 8415 §18.3.2). While the
 * address is new it cannot be bound to, so it is tried again without a word.
 */
const isSpare = ({ version, is_unicast, takes_remote }: SocketPlan) =>
  version === 6 && is_unicast && !takes_remote

function byNamespace(plans: readonly SocketPlan[]): Map<string, SocketPlan[]> {
  const groups = new Map<string, SocketPlan[]>()
  for (const plan of plans) {
    if (plan.namespace === null) continue
    groups.set(plan.namespace, [...(groups.get(plan.namespace) ?? []), plan])
  }
  return groups
}
