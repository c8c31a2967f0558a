import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import { Registry } from 'prom-client'
import { lockDataFolder } from '../db/data-folder-lock.ts'
import { readCertificates } from '../http-client.ts'
import { createLogger } from '../server/log.ts'
import { createApi } from './api.ts'
import { createAutomatic } from './automatic.ts'
import type { DiscoveryConfig } from './config.ts'
import type { CreateDriver, DriverContext } from './driver.ts'
import { follow } from './follow.ts'
import { openJournal } from './journal.ts'
import { openKept } from './keep.ts'
import { createLeases } from './leases.ts'
import { createMetrics } from './metrics.ts'
import { type Status, serveStatus } from './status.ts'

/** A server for machines that runs. */
export type Discovery = {
  /** Where its status is. */
  readonly url: string
  /** Rejects with what ends it. */
  readonly failed: Promise<never>
  close(): Promise<void>
}

/**
 * Answers machines, from what is kept on the disk at once, and follows the API.
 *
 * @throws {DiscoveryError} if what is configured cannot be served
 * @throws {DataFolderInUse}
 */
export async function discover(
  config: DiscoveryConfig,
  { version, createDriver }: Pick<Process, 'version' | 'createDriver'>,
): Promise<Discovery> {
  const destination = pino.destination({ sync: true })
  const { log_level: level, token, state_dir } = config
  const log = createLogger({ level, admin_token: token, destination })
  mkdirSync(join(state_dir, 'driver'), { recursive: true, mode: 0o700 })
  const lock = lockDataFolder(state_dir)
  const ends: (() => void | Promise<void>)[] = [() => lock.release()]
  const close = async () => {
    for (const end of ends.splice(0).toReversed()) await end()
  }
  try {
    return await start(config, { version, createDriver, log, ends, close })
  } catch (error) {
    await close()
    throw error
  }
}

type Process = {
  readonly version: string
  readonly createDriver: CreateDriver
  readonly log: Logger
  /** What is to be done at the end, the last first. */
  readonly ends: (() => void | Promise<void>)[]
  readonly close: () => Promise<void>
}

async function start(
  config: DiscoveryConfig,
  { version, createDriver, log, ends, close }: Process,
): Promise<Discovery> {
  const { state_dir, api: at, token } = config
  const journalOf = async (name: string, sync: boolean) => {
    const journal = await openJournal({ path: join(state_dir, `${name}.ndjson`), sync })
    ends.push(() => journal.close())
    return journal
  }
  const wanted = new Set(config.networks.map(({ id }) => id))
  const kept = openKept(await journalOf('served', false), wanted)
  const { replica } = kept
  const ca = at.ca_file === undefined ? undefined : readCertificates('api.ca_file', at.ca_file)
  const api = createApi({ url: at.url, token, ca })
  ends.push(() => api.close())
  const leases = createLeases({
    journal: await journalOf('leases', config.durable_leases),
    api,
    server: config.name,
    log,
  })

  const registry = new Registry()
  const contact = { answered_at: null as number | null, reason: 'not asked yet' as string | null }
  let isReady = false
  const status = (): Status => ({
    is_ready: isReady,
    version,
    driver: config.driver,
    networks: replica.served.size,
    hosts: replica.hostCount(),
    api: { is_connected: contact.reason === null, ...contact },
    leases_pending: leases.pending(),
    problems: [
      ...kept.problems(),
      ...leases.problems(),
      ...missing(),
      ...(isReady ? driver.problems() : []),
    ],
  })
  const missing = () =>
    contact.answered_at === null
      ? []
      : [...wanted]
          .filter(id => !replica.served.has(id))
          .map(id => `there is no network ${id}, or it may not be seen with this token`)
  const metrics = createMetrics(registry, { status, leases })
  ends.push(metrics.close)
  const context: DriverContext = {
    config,
    served: replica.served,
    leases,
    automatic: createAutomatic({ api, kept, leases, log, observe: metrics.observeWish }),
    log,
    registry,
    folder: join(state_dir, 'driver'),
  }
  const driver = createDriver(context)
  const beginToServe = async () => {
    await driver.start()
    isReady = true
    const { networks, hosts } = status()
    log.info({ driver: config.driver, networks, hosts }, 'machines are answered')
  }

  const stopping = new AbortController()
  const statusServer = await serveStatus(config.status.listen, { status, registry })
  ends.push(() => statusServer.close())
  const running: Promise<void>[] = []
  ends.push(async () => {
    stopping.abort()
    await Promise.allSettled(running)
    if (isReady) await driver.stop()
  })
  if (kept.isComplete) await beginToServe()
  running.push(
    leases.report(stopping.signal),
    follow({
      api,
      replica,
      wanted,
      cursor: kept.cursor,
      signal: stopping.signal,
      onContact(failure) {
        if (failure === null) contact.answered_at = Date.now() / 1000
        const reason = failure?.message ?? null
        if (reason === contact.reason) return
        contact.reason = reason
        if (reason === null) log.info('the API answers')
        else
          log.warn({ reason }, 'the API does not answer; machines are answered from what is known')
      },
      async take(changes, cursor, events) {
        const real = kept.take(changes, cursor)
        if (isReady && real.length > 0) await driver.apply(real)
        else if (!isReady && cursor !== null) await beginToServe()
        if (real.length === 0) return
        for (const { at } of events) metrics.observeChange((Date.now() - Date.parse(at)) / 1000)
      },
    }),
  )
  const failed = Promise.all(running).then(() => new Promise<never>(() => {}))
  failed.catch(() => {}) // Whoever waits for it is told.
  return { url: statusServer.url, failed, close }
}
