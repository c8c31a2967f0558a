import type { ServedHost, ServedNetwork } from '../../src/dhcp/served.ts'
import { type Api, expectStatus } from './api.ts'

type Event = Awaited<ReturnType<Api['get']>>['body']['events'][number]
type Network = { readonly network: ServedNetwork; readonly hosts: Map<string, ServedHost> }

/** What has to be read again after some events. */
class Concerned {
  readonly networks = new Set<string>()
  /** Of which all hosts are. */
  readonly whole = new Set<string>()
  readonly hosts = new Map<string, Set<string>>()

  host(network_id: string, id: string): void {
    const ids = this.hosts.get(network_id) ?? new Set()
    this.hosts.set(network_id, ids.add(id))
  }
}

/**
 * A copy of what is served on some networks, kept up by events as docs/guides/dhcp-api.md says it, and by
 * nothing else.
 */
export class ServedCopy {
  readonly networks = new Map<string, Network>()
  readonly #api: Api
  readonly #ids: readonly string[]
  #cursor = ''

  constructor(api: Api, ids: readonly string[]) {
    this.#api = api
    this.#ids = ids
  }

  /** Reads all of it anew. */
  async open(): Promise<this> {
    this.#cursor = (await this.#api.get('/v2/events?after=latest')).body.cursor
    for (const id of this.#ids) {
      await this.#readNetwork(id)
      this.#keep(id, await this.#readHosts(id, ''))
    }
    return this
  }

  /** Reads what the events since the last time are about; tells their types. */
  async follow(): Promise<string[]> {
    const path = `/v2/events?limit=1000&after=${this.#cursor}`
    const { events, cursor } = expectStatus(200, await this.#api.get(path))
    this.#cursor = cursor
    const concerned = new Concerned()
    for (const event of events) this.#look(event, concerned)
    for (const id of concerned.networks) await this.#renewNetwork(id, concerned)
    for (const id of concerned.whole) this.#keep(id, await this.#readHosts(id, ''))
    for (const [id, hosts] of concerned.hosts) await this.#renewHosts(id, [...hosts])
    return events.map(({ type }) => type)
  }

  /** All of it, in one order. */
  content(): unknown {
    return this.#ids.map(id => {
      const known = this.networks.get(id)
      if (!known) return null
      const hosts = [...known.hosts.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
      return { network: known.network, hosts }
    })
  }

  #look({ type, object_id, data }: Event, concerned: Concerned): void {
    const facts = data as Readonly<Record<string, unknown>>
    const { network_id, block_id, owner_type, owner_id } = facts as Record<string, string>
    const [kind, verb] = type.split('.')
    const all = () => {
      for (const id of this.#ids) concerned.networks.add(id)
    }
    const known = (id: string | undefined) => id !== undefined && this.#ids.includes(id)
    const networkOf = (id: string | undefined) =>
      [...this.networks.values()].find(({ network }) =>
        network.subnets.some(subnet => subnet.block_id === id),
      )?.network.id
    const hostEverywhere = (id: string) => {
      for (const [network, { hosts }] of this.networks)
        if (hosts.has(id)) concerned.host(network, id)
    }
    const add = (...ids: (string | undefined)[]) => {
      for (const id of ids) if (id !== undefined && known(id)) concerned.networks.add(id)
    }
    if (kind === 'network' && !verb?.startsWith('threshold')) add(object_id)
    if (kind === 'block' && !verb?.startsWith('threshold')) {
      add(network_id ?? undefined, networkOf(object_id))
      if (verb === 'updated' && networkOf(object_id) === undefined) all()
      if (verb === 'updated' && known(network_id) && networkOf(object_id) !== network_id) {
        concerned.whole.add(String(network_id))
      }
    }
    if (kind === 'block_route') add(networkOf(block_id))
    if (type === 'policy.updated' || type === 'address_scope.updated') all()
    if (kind === 'dhcp_option') {
      const on = facts.attached_to as { type: string; id: string }
      if (on.type === 'interface') hostEverywhere(on.id)
      else if (on.type === 'network') add(on.id)
      else if (on.type === 'block' && networkOf(on.id)) add(networkOf(on.id))
      else all()
    }
    if (kind === 'interface') {
      hostEverywhere(object_id)
      if (network_id && known(network_id)) concerned.host(network_id, object_id)
    }
    if (kind === 'allocation') {
      if (owner_type === 'interface' && owner_id) hostEverywhere(owner_id)
      const network = networkOf(block_id)
      if (owner_type === 'dhcp_client' && owner_id && network) concerned.host(network, owner_id)
      for (const [id, { hosts }] of this.networks) {
        for (const host of hosts.values()) {
          const has = host.addresses.some(one => one.allocation_id === object_id)
          if (has) concerned.host(id, host.id)
        }
      }
    }
  }

  async #renewNetwork(id: string, concerned: Concerned): Promise<void> {
    const before = this.networks.get(id)?.network.subnets ?? []
    await this.#readNetwork(id)
    const { network, hosts } = this.networks.get(id) ?? {}
    if (!network || !hosts) return
    const changed = new Set(
      network.subnets
        .filter(
          one =>
            JSON.stringify(before.find(({ block_id }) => block_id === one.block_id)) !==
            JSON.stringify(one),
        )
        .map(({ block_id }) => block_id),
    )
    for (const host of hosts.values()) {
      const { options, addresses, type } = host
      const gone = addresses.some(({ block_id }) =>
        network.subnets.every(one => one.block_id !== block_id),
      )
      const isTold = options.some(({ block_id }) => changed.has(block_id))
      if (isTold || (type === 'client' && gone)) concerned.host(id, host.id)
    }
  }

  async #readNetwork(id: string): Promise<void> {
    const { status, body } = await this.#api.get(`/v2/networks/${id}/dhcp`)
    if (status === 404) {
      this.networks.delete(id)
      return
    }
    expect200(status)
    const network = body as unknown as ServedNetwork
    this.networks.set(id, { network, hosts: this.networks.get(id)?.hosts ?? new Map() })
  }

  #keep(network_id: string, hosts: readonly ServedHost[]): void {
    const known = this.networks.get(network_id)?.hosts
    known?.clear()
    for (const host of hosts) known?.set(host.id, host)
  }

  async #renewHosts(network_id: string, ids: readonly string[]): Promise<void> {
    const known = this.networks.get(network_id)?.hosts
    if (!known) return
    const query = ids.map(id => `id=${encodeURIComponent(id)}`).join('&')
    const found = await this.#readHosts(network_id, query)
    for (const id of ids) known.delete(id)
    for (const host of found) known.set(host.id, host)
  }

  async #readHosts(network_id: string, query: string): Promise<ServedHost[]> {
    const answer = await this.#api.get(`/v2/networks/${network_id}/dhcp/hosts?limit=5000&${query}`)
    if (answer.status === 404) return []
    return (expectStatus(200, answer) as unknown as { hosts: ServedHost[] }).hosts
  }
}

function expect200(status: number): void {
  if (status !== 200) throw new Error(`a served network was answered with ${status}`)
}
