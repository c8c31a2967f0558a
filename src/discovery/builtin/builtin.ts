import type { ServedNetwork } from '../../dhcp/served.ts'
import { createBindings } from '../../dhcp/v4/bindings.ts'
import type { Change, CreateDriver } from '../driver.ts'
import { createFacts4 } from './facts4.ts'
import { createFlow4, type Door4 } from './flow4.ts'
import { inheritedSockets } from './inherited.ts'
import { createListener } from './listener.ts'
import { createMetrics } from './metrics.ts'
import type { SocketPlan } from './plan.ts'
import { countDrops } from './socket-drops.ts'
import { numberOfAddress } from './texts.ts'
import { createWishes } from './wishes.ts'
import { createWithheld } from './withheld.ts'

/** Where servers listen (RFC 2131 §4.1, RFC 8415 §7.2). */
const usualPorts = { 4: 67, 6: 547 } as const

/** Answers machines itself, by DHCPv4 and DHCPv6. */
export const createBuiltin: CreateDriver = context => createBuiltinAt(usualPorts)(context)

/** The same at other ports. */
export const createBuiltinAt =
  (ports: Readonly<Record<4 | 6, number>>): CreateDriver =>
  context => {
    const { config, served, leases, automatic, log, registry } = context
    const { lease_seconds, rapid_commit, durable_leases } = config
    const wishes = createWishes({ log })
    const metrics = createMetrics({ registry, wishes, drops: () => countDrops(ports) })
    const withheld = createWithheld()
    const relaysOf = (id: string) => config.networks.find(one => one.id === id)?.relays ?? []
    const bindings = createBindings()
    const facts = createFacts4({ bindings, withheld, relaysOf, lease_seconds, rapid_commit })
    const common = { leases, automatic, wishes, metrics, log, durable_leases }
    const flow = createFlow4({ ...common, bindings, facts })

    const doors = new WeakMap<SocketPlan, Door4>()
    function doorOf(plan: SocketPlan): Door4 {
      const known = doors.get(plan)
      if (known) return known
      const door: Door4 = {
        link_id: plan.network_id,
        takes_remote: plan.takes_remote,
        is_unicast: plan.is_unicast,
        server: numberOfAddress(plan.server),
        servers: new Set(plan.servers.map(numberOfAddress)),
        send: (bytes, port, address) => listener.send(plan.answers_from, bytes, port, address),
      }
      doors.set(plan, door)
      return door
    }

    const versionsOf = (id: string) =>
      new Set(served.get(id)?.network.subnets.map(({ version }) => version))
    const listener = createListener({
      config,
      ports,
      inherited: inheritedSockets(),
      versionsOf,
      receive: (packet, source, plan) => flow.receive(packet, source, doorOf(plan)),
      log,
    })

    const putNetwork = (network: ServedNetwork) =>
      facts.putNetwork(network, served.get(network.id)?.hosts.values() ?? [])

    function put(change: Change) {
      switch (change.type) {
        case 'network':
          return putNetwork(change.network)
        case 'network_gone':
          return facts.dropNetwork(change.network_id)
        case 'host':
          return facts.putHost(change.network_id, change.host)
        default:
          return facts.dropHost(change.network_id, change.host_id)
      }
    }

    return {
      async start() {
        for (const { network } of served.values()) putNetwork(network)
        await listener.start()
      },
      async apply(changes) {
        for (const change of changes) put(change)
        const areOfNetworks = changes.some(({ type }) => type.startsWith('network'))
        if (areOfNetworks) await listener.look()
      },
      problems: listener.problems,
      stop: listener.stop,
    }
  }
