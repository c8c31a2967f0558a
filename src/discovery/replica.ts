import { isDeepStrictEqual } from 'node:util'
import type { ServedHost, ServedNetwork } from '../dhcp/served.ts'
import type { Change, Served } from './driver.ts'

type Entry = { network: ServedNetwork; readonly hosts: Map<string, ServedHost> }

/** What the API says about the networks that are served, as far as it is known here. */
export type Replica = {
  readonly served: Served
  /** Takes over a change; false if it makes no difference. */
  apply(change: Change): boolean
  /** The network that a block is a subnet of. */
  networkOfBlock(block_id: string): string | null
  /** The network that a host is on. */
  networkOfHost(host_id: string): string | null
  hostCount(): number
}

export function createReplica(): Replica {
  const entries = new Map<string, Entry>()
  const byBlock = new Map<string, string>()
  /** Interfaces alone: a client may be on several networks, and its addresses say on which. */
  const byHost = new Map<string, string>()

  const forgetBlocks = ({ id, subnets }: ServedNetwork) => {
    for (const { block_id } of subnets) {
      if (byBlock.get(block_id) === id) byBlock.delete(block_id)
    }
  }

  return {
    served: entries,
    networkOfBlock: id => byBlock.get(id) ?? null,
    networkOfHost: id => byHost.get(id) ?? null,
    hostCount: () => [...entries.values()].reduce((sum, { hosts }) => sum + hosts.size, 0),
    apply(change) {
      switch (change.type) {
        case 'network': {
          const { network } = change
          const entry = entries.get(network.id)
          if (entry && isDeepStrictEqual(entry.network, network)) return false
          if (entry) {
            forgetBlocks(entry.network)
            entry.network = network
          } else entries.set(network.id, { network, hosts: new Map() })
          for (const { block_id } of network.subnets) byBlock.set(block_id, network.id)
          return true
        }
        case 'network_gone': {
          const entry = entries.get(change.network_id)
          if (!entry) return false
          forgetBlocks(entry.network)
          for (const id of entry.hosts.keys()) {
            if (byHost.get(id) === change.network_id) byHost.delete(id)
          }
          return entries.delete(change.network_id)
        }
        case 'host': {
          const { host, network_id } = change
          const hosts = entries.get(network_id)?.hosts
          if (!hosts || isDeepStrictEqual(hosts.get(host.id), host)) return false
          hosts.set(host.id, host)
          if (host.type === 'interface') byHost.set(host.id, network_id)
          return true
        }
        case 'host_gone': {
          const { network_id, host_id } = change
          if (byHost.get(host_id) === network_id) byHost.delete(host_id)
          return entries.get(network_id)?.hosts.delete(host_id) ?? false
        }
      }
    },
  }
}
