import { join } from 'node:path'
import { type CreateDriver, DiscoveryError } from '../driver.ts'
import { type KeaDatabase, openKeaDatabase } from './database.ts'
import { createFleet, type Fleet } from './fleet.ts'
import { isDirect } from './places.ts'
import { createReservationSync, type ReservationSync } from './reservation-sync.ts'
import { createReservations, type Freed, type HostKey } from './reservations.ts'
import { openSubnetIds } from './subnet-ids.ts'
import { createWorker } from './worker.ts'

/** What is there from the start on. */
type Opened = {
  readonly database: KeaDatabase
  readonly sync: ReservationSync
  readonly fleet: Fleet
}

/** The longest that a timer can wait. */
const timerMax = 2 ** 31 - 1

/**
 * Feeds Kea: subnets and options through its control socket, hosts as rows of its database, which it
 * looks up for each message. See docs/guides/dhcp-kea.md.
 */
export const createKea: CreateDriver = context => {
  const { config, served, log, folder } = context
  const ids = openSubnetIds(join(folder, 'subnet-ids.json'))
  const reservations = createReservations()
  /** Lifetimes of leases that single hosts have, or had. */
  const lifetimes = new Set<number>()
  let changedNetworks = new Set<string>()
  let changedHosts: HostKey[] = []
  let freed: Freed[] = []
  let isConfigured = false
  let opened: Opened | null = null
  let timer: NodeJS.Timeout | null = null
  let isStarted = false

  const worker = createWorker(settle, error => log.error({ err: error }, 'Kea is not up to date'))

  function onHost(network_id: string, host_id: string): void {
    changedHosts.push({ network_id, host_id })
    wake()
  }

  function onLost(): void {
    isConfigured = false
    wake()
  }

  function wake(): void {
    if (isStarted) void worker.request()
  }

  /** Lets Kea have what is served now. Hosts come before their subnets: who is unknown is refused. */
  async function settle(): Promise<void> {
    if (!opened) return
    const { sync, fleet } = opened
    workOut(sync)
    await sync.run()
    if (!isConfigured) {
      isConfigured = true
      try {
        await fleet.configure(lifetimes)
      } catch (error) {
        isConfigured = false
        throw error
      }
    }
    await fleet.review(freed)
    freed = []
  }

  function workOut(sync: ReservationSync): void {
    const now = Date.now()
    const put = ({ network_id, host_id }: HostKey) => {
      const entry = served.get(network_id)
      const host = entry?.hosts.get(host_id)
      if (!entry || !host) return reservations.drop(network_id, host_id)
      const { lease_seconds } = config
      const is_direct = isDirect(config, network_id)
      reservations.put(entry.network, host, { ids, lease_seconds, is_direct, now })
    }
    for (const network_id of changedNetworks) {
      const entry = served.get(network_id)
      if (!entry) reservations.dropNetwork(network_id)
      for (const host_id of entry?.hosts.keys() ?? []) put({ network_id, host_id })
      const open = entry?.network.subnets.flatMap(one => one.unknown_clients ?? []) ?? []
      for (const { lease_seconds } of open) lifetimes.add(lease_seconds)
    }
    for (const host of changedHosts) put(host)
    changedNetworks = new Set()
    changedHosts = []
    const { hosts } = reservations.due(now)
    for (const host of hosts) put(host)
    wakeAt(reservations.due(now).next)
    const changes = reservations.takeChanges()
    freed = freed.concat(changes.freed)
    sync.note(changes.digests)
    for (const digest of changes.digests) noteLifetime(reservations.wanted.get(digest)?.seconds)
  }

  /** A lifetime of its own needs a class of clients. */
  function noteLifetime(seconds: number | null | undefined): void {
    if (seconds == null || lifetimes.has(seconds)) return
    lifetimes.add(seconds)
    isConfigured = false
  }

  function wakeAt(at: number | null): void {
    if (timer) clearTimeout(timer)
    if (at === null) return
    const pause = Math.min(Math.max(at - Date.now(), 0) + 1, timerMax)
    timer = setTimeout(wake, pause)
  }

  return {
    async start() {
      const database = await openKeaDatabase(config.kea, log)
      const sync = createReservationSync(database.db, reservations)
      const access = database.access
      const fleet = createFleet({ context, ids, reservations, database: access, onLost, onHost })
      opened = { database, sync, fleet }
      changedNetworks = new Set(served.keys())
      try {
        await settle()
        isStarted = true
        wake()
      } catch (cause) {
        await this.stop()
        if (cause instanceof DiscoveryError) throw cause
        throw new DiscoveryError(`kea: ${(cause as Error).message}`, { cause })
      }
    },
    async apply(changes) {
      for (const change of changes) {
        if (change.type === 'host') {
          changedHosts.push({ network_id: change.network_id, host_id: change.host.id })
        } else if (change.type === 'host_gone') {
          changedHosts.push({ network_id: change.network_id, host_id: change.host_id })
        } else {
          changedNetworks.add(change.type === 'network' ? change.network.id : change.network_id)
          isConfigured = false
        }
      }
      await worker.request()
    },
    problems() {
      const fault = worker.fault()
      return [...(fault === null ? [] : [`kea: ${fault}`]), ...(opened?.fleet.problems() ?? [])]
    },
    async stop() {
      await worker.stop()
      if (timer) clearTimeout(timer)
      await opened?.fleet.stop()
      await opened?.database.db.close()
      opened = null
    },
  }
}
