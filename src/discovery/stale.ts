import { clientOwner } from '../dhcp/served.ts'
import type { ApiEvent } from './api.ts'
import type { Replica } from './replica.ts'

/** What has to be read again. */
export type Stale = {
  readonly networks: ReadonlySet<string>
  /** Networks of which all hosts are. */
  readonly whole: ReadonlySet<string>
  /** Ids of hosts by that of their network. */
  readonly hosts: ReadonlyMap<string, ReadonlySet<string>>
}

/**
 * What events may have changed of the networks `wanted`; docs/guides/dhcp-api.md has the list. Events
 * say what to read, and not what is: so it does not matter how often, and in which order they are seen.
 */
export function staleAfter(
  events: readonly ApiEvent[],
  replica: Pick<Replica, 'networkOfBlock' | 'networkOfHost'>,
  wanted: ReadonlySet<string>,
): Stale {
  const networks = new Set<string>()
  const whole = new Set<string>()
  const hosts = new Map<string, Set<string>>()
  const addNetwork = (id: string | null) => {
    if (id !== null && wanted.has(id)) networks.add(id)
  }
  const addAll = () => {
    for (const id of wanted) networks.add(id)
  }
  const addHost = (network_id: string | null, host_id: string | null) => {
    if (network_id === null || host_id === null || !wanted.has(network_id)) return
    hosts.set(network_id, (hosts.get(network_id) ?? new Set()).add(host_id))
  }
  const addInterface = (id: string | null, { network_id, block_id }: Places) => {
    if (id === null) return
    const known = replica.networkOfHost(id)
    addHost(known, id)
    if (network_id !== known) addHost(network_id, id)
    if (known === null && block_id !== null) addHost(replica.networkOfBlock(block_id), id)
  }

  for (const { type, object_id, data } of events) {
    const [kind = '', verb = ''] = type.split('.')
    const said = (name: string) => (typeof data[name] === 'string' ? data[name] : null)
    const places = { network_id: said('network_id'), block_id: said('block_id') }
    if (verb.startsWith('threshold')) continue
    switch (kind) {
      case 'network':
        addNetwork(object_id)
        break
      case 'block': {
        const known = replica.networkOfBlock(object_id)
        addNetwork(known)
        addNetwork(places.network_id)
        const { network_id } = places
        if (verb !== 'updated') break // One that goes has none below it.
        // It may be above others, which inherit from it.
        if (network_id === null) addAll()
        // What comes to a network may bring its hosts along.
        else if (network_id !== known && wanted.has(network_id)) whole.add(network_id)
        break
      }
      case 'block_route':
        if (places.block_id !== null) addNetwork(replica.networkOfBlock(places.block_id))
        break
      case 'address_scope':
        if (verb === 'updated') addAll()
        break
      case 'policy':
        addAll()
        break
      case 'dhcp_option': {
        const { type: on, id } = attachedTo(data)
        if (on === 'interface') addInterface(id, none)
        else if (on === 'network') addNetwork(id)
        else addAll()
        break
      }
      case 'interface':
        addInterface(object_id, places)
        break
      case 'mac':
        addInterface(said('interface_id'), places)
        break
      case 'allocation':
      case 'lease': {
        const owner = said('owner_id')
        if (said('owner_type') === 'interface') addInterface(owner, places)
        else if (said('owner_type') === clientOwner && places.block_id !== null) {
          addHost(replica.networkOfBlock(places.block_id), owner)
        }
      }
    }
  }
  return { networks, whole, hosts }
}

type Places = { readonly network_id: string | null; readonly block_id: string | null }
const none: Places = { network_id: null, block_id: null }

function attachedTo({ attached_to }: ApiEvent['data']): { type: string; id: string | null } {
  const { type, id } = (attached_to ?? {}) as { readonly type?: unknown; readonly id?: unknown }
  return { type: String(type), id: typeof id === 'string' ? id : null }
}
