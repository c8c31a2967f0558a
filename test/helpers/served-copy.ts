import type { ServedHost, ServedNetwork } from '../../src/dhcp/served.ts'
import type { ApiEvent } from '../../src/discovery/api.ts'
import { type Reader, reread, takeAll } from '../../src/discovery/follow.ts'
import { createReplica } from '../../src/discovery/replica.ts'
import { staleAfter } from '../../src/discovery/stale.ts'
import { type Api, expectStatus } from './api.ts'

/** What is served on some networks, kept up by events as a server for machines does it. */
export class ServedCopy {
  readonly #replica = createReplica()
  readonly #api: Api
  readonly #ids: readonly string[]
  readonly #reader: Reader
  #cursor = ''

  constructor(api: Api, ids: readonly string[]) {
    this.#api = api
    this.#ids = ids
    const readHosts = async (id: string, query: string) => {
      const answer = await api.get(`/v2/networks/${id}/dhcp/hosts?limit=5000&${query}`)
      if (answer.status === 404) return []
      return (expectStatus(200, answer) as unknown as { hosts: ServedHost[] }).hosts
    }
    this.#reader = {
      replica: this.#replica,
      take: async changes => {
        for (const change of changes) this.#replica.apply(change)
      },
      api: {
        network: async id => {
          const answer = await api.get(`/v2/networks/${id}/dhcp`)
          if (answer.status === 404) return null
          return expectStatus(200, answer) as unknown as ServedNetwork
        },
        async *hosts(id) {
          yield await readHosts(id, '')
        },
        hostsNamed: (id, ids) =>
          readHosts(id, ids.map(one => `id=${encodeURIComponent(one)}`).join('&')),
      },
    }
  }

  /** Reads all of it anew. */
  async open(): Promise<this> {
    this.#cursor = (await this.#api.get('/v2/events?after=latest')).body.cursor
    for (const id of this.#ids) await takeAll(id, this.#reader)
    return this
  }

  /** Reads what the events since the last time are about; tells their types. */
  async follow(): Promise<string[]> {
    const path = `/v2/events?limit=1000&after=${this.#cursor}`
    const { events, cursor } = expectStatus(200, await this.#api.get(path))
    this.#cursor = cursor
    const stale = staleAfter(events as ApiEvent[], this.#replica, new Set(this.#ids))
    for (const change of await reread(stale, this.#reader)) this.#replica.apply(change)
    return events.map(({ type }) => type)
  }

  /** All of it, in one order. */
  content(): unknown {
    return this.#ids.map(id => {
      const known = this.#replica.served.get(id)
      if (!known) return null
      const hosts = [...known.hosts.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
      return { network: known.network, hosts }
    })
  }
}
