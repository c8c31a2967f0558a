import { createBindings } from '../../dhcp/v4/bindings.ts'
import { BindingTable } from '../../dhcp/v6/binding-table.ts'
import { serverOf } from '../../dhcp/v6/engine.ts'
import type { CreateDriver } from '../driver.ts'
import { serverDuid } from './duid.ts'
import { createFacts4 } from './facts4.ts'
import { createFacts6 } from './facts6.ts'
import { createFlow4, type Door4 } from './flow4.ts'
import { createFlow6, type Door6 } from './flow6.ts'
import { checkDevices, inheritedSockets } from './inherited.ts'
import { createListener } from './listener.ts'
import { createMetrics } from './metrics.ts'
import type { SocketPlan } from './plan.ts'
import { countDrops } from './socket-drops.ts'
import { createState } from './state.ts'
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
    const { config, served, leases, automatic, log, registry, folder } = context
    const { lease_seconds, rapid_commit, durable_leases } = config
    const wishes = createWishes({ log })
    const metrics = createMetrics({ registry, wishes, drops: () => countDrops(ports) })
    const withheld = createWithheld()
    const relaysOf = (id: string) =>
      config.networks.flatMap(one => (one.id === id ? one.relays : []))
    const ways = { withheld, relaysOf, lease_seconds, rapid_commit }
    const common = { leases, automatic, wishes, metrics, log, durable_leases }
    const bindings4 = createBindings()
    const facts4 = createFacts4({ ...ways, bindings: bindings4 })
    const flow4 = createFlow4({ ...common, bindings: bindings4, facts: facts4 })
    const bindings6 = new BindingTable()
    const facts6 = createFacts6({ ...ways, bindings: bindings6 })
    const server = serverOf(serverDuid(folder))
    const flow6 = createFlow6({ ...common, server, bindings: bindings6, facts: facts6 })

    const doors = new WeakMap<SocketPlan, Door4 & Door6>()
    function doorOf(plan: SocketPlan) {
      const known = doors.get(plan)
      if (known) return known
      const door = {
        link_id: plan.network_id,
        takes_remote: plan.takes_remote,
        is_unicast: plan.is_unicast,
        server: numberOfAddress(plan.server),
        servers: new Set(plan.servers.map(numberOfAddress)),
        send: (bytes: Uint8Array, port: number, address: string) =>
          listener.send(plan.answers_from, bytes, port, address),
      }
      doors.set(plan, door)
      return door
    }

    const inherited = inheritedSockets()
    const cidrsOf = (id: string) => (served.get(id)?.network.subnets ?? []).map(({ cidr }) => cidr)
    const listener = createListener({
      config,
      ports,
      inherited,
      cidrsOf,
      receive(packet, source, plan) {
        const flow = plan.version === 4 ? flow4 : flow6
        try {
          flow.receive(packet, source, doorOf(plan))
        } catch (error) {
          // A packet that shows a mistake of ours must not end the service of all others.
          metrics.packet(plan.version, 'other', 'failed')
          log.error(
            { err: error, packet: packet.toString('hex', 0, 600) },
            'a packet was not understood',
          )
        }
      },
      log,
    })

    const state = createState({ facts: [facts4, facts6], served, log })

    return {
      async start() {
        const names = config.networks.flatMap(one =>
          one.interface !== undefined && inherited.has(one.interface) ? [one.interface] : [],
        )
        await checkDevices(names, ports[4])
        state.putAll()
        await listener.start()
      },
      async apply(changes) {
        for (const change of changes) state.put(change)
        const areOfNetworks = changes.some(({ type }) => type.startsWith('network'))
        if (areOfNetworks) await listener.look()
      },
      problems: () => [...listener.problems(), ...state.problems()],
      stop: listener.stop,
    }
  }
