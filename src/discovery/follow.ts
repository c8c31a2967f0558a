import type { ServedHost } from '../dhcp/served.ts'
import { type Api, type ApiEvent, ApiFailure } from './api.ts'
import type { Change } from './driver.ts'
import { createPauses, sleepUntil } from './pauses.ts'
import type { Replica } from './replica.ts'
import { type Stale, staleAfter } from './stale.ts'

export type FollowOptions = {
  readonly api: Api
  readonly replica: Replica
  /** The networks that are served. */
  readonly wanted: ReadonlySet<string>
  /** Behind what was taken over before; null if all is to be read. */
  readonly cursor: string | null
  /**
   * Takes over changes, all of them before `cursor`, which is null while they are not complete.
   * `events` are those that led to them.
   */
  readonly take: (
    changes: readonly Change[],
    cursor: string | null,
    events: readonly ApiEvent[],
  ) => Promise<void>
  /** The API answered, or did not, and why. */
  readonly onContact: (failure: Error | null) => void
  readonly signal: AbortSignal
}

const waitSeconds = 30
const pausesMilliseconds = { first: 100, longest: 5000 }
/** How many hosts are asked for by their ids at a time, and from how many on all of them are read. */
const namedMax = 200
const namedInAllMax = 4000

/** Follows the API until the signal: reads all there is, then what events say has changed. */
export async function follow(options: FollowOptions): Promise<void> {
  const { api, replica, wanted, take, onContact, signal } = options
  let { cursor } = options
  const pauses = createPauses(pausesMilliseconds)
  // Whoever does not know whether the API answers has it answer at once, and not when something happens.
  let isAnswering = false
  while (!signal.aborted) {
    try {
      if (cursor === null) {
        const from = await api.newestCursor()
        for (const id of wanted) await takeAll(id, options)
        await take([], from, [])
        cursor = from
        onContact(null)
      }
      const page = await api.events(cursor, isAnswering ? waitSeconds : 0, signal)
      isAnswering = true
      onContact(null)
      const changes = await reread(staleAfter(page.events, replica, wanted), options)
      if (page.cursor !== cursor) await take(changes, page.cursor, page.events)
      cursor = page.cursor
      pauses.reset()
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof ApiFailure)) throw error
      isAnswering = false
      // Events are kept for some time only: who was away for longer reads all there is.
      if (error.code === 'events_expired') cursor = null
      else onContact(error)
      await sleepUntil(pauses.next() * (0.5 + Math.random() / 2), signal)
    }
  }
}

/** What it takes to read something, and to take it over. */
export type Reader = Pick<FollowOptions, 'replica' | 'take'> & {
  readonly api: Pick<Api, 'network' | 'hosts' | 'hostsNamed'>
}

/** Reads a network with all its hosts, and takes over what is different, page by page. */
export async function takeAll(id: string, { api, replica, take }: Reader): Promise<void> {
  const network = await api.network(id)
  if (network === null) return take([{ type: 'network_gone', network_id: id }], null, [])
  await take([{ type: 'network', network }], null, [])
  const seen = new Set<string>()
  for await (const page of api.hosts(id)) {
    for (const host of page) seen.add(host.id)
    await take(
      page.map(host => ({ type: 'host', network_id: id, host })),
      null,
      [],
    )
  }
  const gone = [...(replica.served.get(id)?.hosts.keys() ?? [])].filter(one => !seen.has(one))
  await take(
    gone.map(host_id => ({ type: 'host_gone', network_id: id, host_id })),
    null,
    [],
  )
}

/** Reads what is stale; tells the changes, but for those of whole networks, which are taken over. */
export async function reread({ networks, whole, hosts }: Stale, reader: Reader): Promise<Change[]> {
  const { api, replica } = reader
  const changes: Change[] = []
  const named = new Map([...hosts].map(([id, ids]) => [id, new Set(ids)]))
  for (const id of networks) {
    const known = replica.served.get(id)
    const network = await api.network(id)
    if (network === null) changes.push({ type: 'network_gone', network_id: id })
    else if (known) {
      changes.push({ type: 'network', network })
      const ids = named.get(id) ?? new Set()
      const blocks = new Set(network.subnets.map(({ block_id }) => block_id))
      for (const host of known.hosts.values()) if (isTouched(host, blocks)) ids.add(host.id)
      named.set(id, ids)
    } else await takeAll(id, reader)
  }
  for (const id of whole) await takeAll(id, reader)
  for (const [id, ids] of named) {
    if (whole.has(id) || (networks.has(id) && !replica.served.has(id))) continue
    if (ids.size > namedInAllMax) await takeAll(id, reader)
    else changes.push(...(await rereadHosts(id, [...ids], api)))
  }
  return changes
}

/**
 * Whether a host may be another now that its network is: what is set on it stands above what is set on
 * the network, and a client is on it only by the subnets of its addresses.
 */
const isTouched = ({ type, options, addresses }: ServedHost, blocks: ReadonlySet<string>) =>
  options.length > 0 ||
  (type === 'client' && addresses.some(({ block_id }) => !blocks.has(block_id)))

async function rereadHosts(network_id: string, ids: readonly string[], api: Reader['api']) {
  const changes: Change[] = []
  for (let start = 0; start < ids.length; start += namedMax) {
    const asked = ids.slice(start, start + namedMax)
    const found = await api.hostsNamed(network_id, asked)
    const there = new Set(found.map(({ id }) => id))
    for (const host of found) changes.push({ type: 'host', network_id, host })
    for (const host_id of asked) {
      if (!there.has(host_id)) changes.push({ type: 'host_gone', network_id, host_id })
    }
  }
  return changes
}
