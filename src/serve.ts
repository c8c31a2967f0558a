import type { Server as HttpServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type Logger, pino } from 'pino'
import { unbounded } from './access/bound-store.ts'
import { buildApp } from './app.ts'
import { removeOldCallers } from './audit-trail/caller-store.ts'
import { removeOldRefusals } from './audit-trail/refusal-store.ts'
import { type Config, splitListen } from './config.ts'
import type { OpenDatabase } from './db/database.ts'
import { databaseName, openDatabase } from './db/open.ts'
import { removeOldKeys } from './idempotency-store.ts'
import { openPolicy } from './policy/file.ts'
import { startSweeper } from './resources/allocations/sweeper.ts'
import { listBlocks } from './resources/blocks/store.ts'
import { removeOldEvents } from './resources/events/store.ts'
import { removeOldLeases } from './resources/leases/store.ts'
import { removeOldWithheld } from './resources/leases/withheld-store.ts'
import { createAdminToken, removeOldTokens } from './resources/tokens/store.ts'
import { startSampler } from './resources/utilisation/sampler.ts'
import { createLogger } from './server/log.ts'
import { urlOf } from './server/origin.ts'
import { type Certificate, openTls, type Tls } from './server/tls.ts'

/** A server that listens; `greet` says where, and how to begin. */
export type Server = {
  readonly url: string
  greet(): void
  /** Looks now for another certificate; there is nothing to reload without TLS. */
  readonly reload: (() => void) | undefined
  close(): Promise<void>
}

/** Opens the database, listens, and makes the admin token on the first start. */
export async function serve(config: Config, version: string): Promise<Server> {
  const destination = pino.destination({ sync: true })
  const { log_level: level, admin_token } = config
  const logger = createLogger({ level, admin_token, destination })
  const onError = (err: Error) => logger.error({ err }, 'database connection lost')
  const rules = openPolicy({
    file: config.policy.file,
    onError: err => logger.error({ err }, 'the policy file is refused; the rules stay as they are'),
    onChange: () => logger.info({ file: config.policy.file }, 'other rules are in effect'),
  })
  const certificates = openCertificates(config, logger)
  const db = await openDatabase({ ...config, onError })
  try {
    const app = await buildApp({
      ...config,
      db,
      version,
      logger,
      rules,
      ...(certificates && { certificates }),
    })
    const endIdle = watchConnections(app.server)
    await app.listen(splitListen(config.listen))
    // Not before: a start that fails to listen would make a token that nobody ever sees.
    const token = await firstToken(config, db).catch(async error => {
      await app.close()
      throw error
    })
    const url = urlOf(app.server.address() as AddressInfo, certificates ? 'https' : 'http')
    const stopCleaning = clean(db, {
      days: config.events.retention_days,
      hours: config.idempotency.keep_hours,
      tokenDays: config.tokens.keep_days,
      refusalDays: config.audit_trail.keep_days,
      leaseDays: config.leases.retention_days,
      onError: err => logger.error({ err }, 'not cleaned'),
    })
    const stopSampler = startSampler(db, {
      ...config.utilisation,
      onError: err => logger.error({ err }, 'utilisation not sampled'),
    })
    const stopSweeping = startSweeper(db, {
      seconds: config.holds.sweep_seconds,
      onError: err => logger.error({ err }, 'not swept'),
    })
    const greeting = {
      url,
      token,
      database: databaseName(config),
      isEmbedded: db.kind === 'pglite',
      isEmpty:
        (await listBlocks(db, {}, { sort: 'id', limit: 1, after: null, bound: unbounded }))
          .length === 0,
    }
    return {
      url,
      greet: () => greet(greeting),
      reload: certificates && (() => certificates.reload()),
      close: async () => {
        certificates?.close()
        stopCleaning()
        const sampled = stopSampler()
        await stopSweeping()
        const ending = setInterval(endIdle, endIdleMilliseconds)
        await app.close()
        clearInterval(ending)
        await sampled
        await db.close()
        destination.flushSync()
      },
    }
  } catch (error) {
    certificates?.close()
    await db.close()
    throw error
  }
}

/** The certificate of the server, if it has one. @throws {ConfigError} */
function openCertificates({ tls }: Config, logger: Logger): Tls | undefined {
  const { certificate, key } = tls
  if (certificate === undefined || key === undefined) return undefined
  const warnIfOver = ({ subject, not_before, not_after }: Certificate) => {
    const now = new Date()
    if (now >= not_before && now < not_after) return
    logger.warn({ subject, not_before, not_after }, 'the certificate is not valid now')
  }
  const opened = openTls({
    certificate,
    key,
    onError: err => logger.error({ err }, 'the certificate is refused; the one before stays'),
    onChange: changed => {
      logger.info(changed, 'another certificate is in use')
      warnIfOver(changed)
    },
  })
  warnIfOver(opened.certificate())
  return opened
}

const endIdleMilliseconds = 50

/**
 * Returns a function that ends the connections on which nothing is under way. A server that closes
 * does that just once: it would wait for those that still answer and are idle then, and for those
 * on which no request ever came.
 */
function watchConnections(server: HttpServer): () => void {
  // By their ends: with TLS the socket of a request is another one than that of the connection.
  const unused = new Map<string, Socket>()
  const nameOf = ({ localAddress, remoteAddress, remotePort }: Socket) =>
    `${localAddress} ${remoteAddress} ${remotePort}`
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket)
    unused.set(name, socket)
    socket.once('close', () => {
      if (unused.get(name) === socket) unused.delete(name)
    })
  })
  server.on('request', ({ socket }) => unused.delete(nameOf(socket)))
  return () => {
    server.closeIdleConnections()
    for (const socket of unused.values()) socket.destroy()
  }
}

const firstToken = async ({ admin_token }: Config, db: OpenDatabase): Promise<string | null> =>
  admin_token === undefined ? createAdminToken(db) : null

const cleaning = { first_milliseconds: 10_000, every_milliseconds: 600_000, batch: 10_000 }

type Cleaning = {
  /** How old events get, */
  readonly days: number
  /** idempotency keys, */
  readonly hours: number
  /** what was refused, */
  readonly refusalDays: number
  /** and, since their end, tokens */
  readonly tokenDays: number
  /** and leases. */
  readonly leaseDays: number
  readonly onError: (error: unknown) => void
}

/**
 * Removes what is old now and then, a bounded number at a time. A server vacuums by itself; the
 * embedded database does so here.
 */
function clean(db: OpenDatabase, ages: Cleaning): () => void {
  const { days, hours, tokenDays, refusalDays, leaseDays, onError } = ages
  let isStopped = false
  let timer = setTimeout(work, cleaning.first_milliseconds).unref()
  async function work() {
    let isMore = false
    try {
      const limit = cleaning.batch
      const removed = [
        await removeOldEvents(db, { days, limit }),
        await removeOldKeys(db, { hours, limit }),
        await removeOldTokens(db, { days: tokenDays, limit }),
        await removeOldLeases(db, { days: leaseDays, limit }),
        await removeOldWithheld(db, { limit }),
        await removeOldRefusals(db, { days: refusalDays, limit }),
        await removeOldCallers(db, { days: Math.max(days, refusalDays) + 1, limit }),
      ]
      isMore = removed.includes(limit)
      if (!isMore && db.kind === 'pglite') await db.execute('vacuum (analyze)')
    } catch (error) {
      onError(error)
    }
    if (isStopped) return
    timer = setTimeout(work, isMore ? 0 : cleaning.every_milliseconds).unref()
  }
  return () => {
    isStopped = true
    clearTimeout(timer)
  }
}

type Greeting = {
  readonly url: string
  readonly token: string | null
  readonly database: string
  readonly isEmbedded: boolean
  readonly isEmpty: boolean
}

/** What a person who starts Melange for the first time needs; it goes beside the log, not into it. */
function greet({ url, token, database, isEmbedded, isEmpty }: Greeting): void {
  const say = (line = '') => process.stderr.write(`${line}\n`)
  say(`Melange listens on ${url}, with the ${database}.`)
  if (isEmbedded) {
    say('The embedded database survives a killed process, but not a power cut: it does not fsync.')
    say('For production set DATABASE_URL to a PostgreSQL server.')
  }
  if (token !== null) {
    say()
    say('This admin token is shown once; only its hash is kept:')
    say()
    say(`  export MELANGE_TOKEN=${token}`)
  }
  if (!isEmpty) return
  say()
  say('With the admin token in MELANGE_TOKEN: create a block, allocate an address, see who has it:')
  say()
  for (const line of firstSteps(url)) say(`  ${line}`)
  say()
}

/** Shell lines that work as they stand, once MELANGE_TOKEN is set. */
export function firstSteps(url: string): string[] {
  const curl = 'curl -s -H "X-Auth-Token: $MELANGE_TOKEN"'
  const json = '-H "Content-Type: application/json"'
  return [
    `BLOCK=$(${curl} ${json} ${url}/v2/blocks \\`,
    `  -d '{"scope_id": "public", "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1"}' | sed 's/.*"id":"\\([^"]*\\).*/\\1/')`,
    `${curl} ${json} ${url}/v2/allocations \\`,
    `  -d '{"block_id": "'$BLOCK'", "project_id": "demo", "owner_type": "instance", "owner_id": "vm-1"}'`,
    `${curl} "${url}/v2/allocations?scope_id=public&address=10.0.0.2"`,
  ]
}
