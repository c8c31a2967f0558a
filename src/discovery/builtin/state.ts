import type { Logger } from 'pino'
import type { ServedNetwork } from '../../dhcp/served.ts'
import type { Change, Served } from '../driver.ts'
import type { Facts4 } from './facts4.ts'
import type { Facts6 } from './facts6.ts'

/** What is served, as both versions know it. */
export type State = {
  putAll(): void
  put(change: Change): void
  /** Networks and hosts that could not be taken over: a mistake of ours, or of a newer API. */
  problems(): readonly string[]
}

/** More of them are of one cause. */
const problemsMax = 20

export function createState({
  facts,
  served,
  log,
}: {
  readonly facts: readonly (Facts4 | Facts6)[]
  readonly served: Served
  readonly log: Logger
}): State {
  /** Of each network the document that is in force. */
  const known = new Map<string, string>()
  /** By the network, and the host. */
  const broken = new Map<string, string>()

  function attempt(key: string, what: string, work: () => void) {
    try {
      work()
      broken.delete(key)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      broken.set(key, `${what} cannot be served as the API has it: ${reason}`)
      log.error({ err: error }, `${what} cannot be served`)
    }
  }

  function putNetwork(network: ServedNetwork) {
    const { id } = network
    const text = JSON.stringify(network)
    if (known.get(id) === text) return // To make tens of thousands of hosts anew takes a while.
    attempt(id, `network ${id}`, () => {
      known.delete(id)
      for (const one of facts) one.putNetwork(network, served.get(id)?.hosts.values() ?? [])
      known.set(id, text)
    })
  }

  return {
    putAll() {
      for (const { network } of served.values()) putNetwork(network)
    },
    put(change) {
      if (change.type === 'network') return putNetwork(change.network)
      const { network_id } = change
      if (change.type === 'network_gone') {
        known.delete(network_id)
        for (const key of broken.keys()) if (key.startsWith(network_id)) broken.delete(key)
        for (const one of facts) one.dropNetwork(network_id)
      } else if (change.type === 'host') {
        const { host } = change
        attempt(`${network_id} ${host.id}`, `host ${host.id}`, () => {
          for (const one of facts) one.putHost(network_id, host)
        })
      } else {
        broken.delete(`${network_id} ${change.host_id}`)
        for (const one of facts) one.dropHost(network_id, change.host_id)
      }
    },
    problems: () => [...broken.values()].slice(0, problemsMax),
  }
}
