import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { buildApp } from './app.ts'
import { createAdminToken } from './auth/token-store.ts'
import { type Config, splitListen } from './config.ts'
import type { OpenDatabase } from './db/database.ts'
import { databaseName, openDatabase } from './db/open.ts'
import { removeOldEvents } from './resources/events/store.ts'

/** A server that listens. */
export type Server = { readonly url: string; close(): Promise<void> }

/** Opens the database, makes the admin token on the first start, listens, and says how to begin. */
export async function serve(config: Config, version: string): Promise<Server> {
  const destination = pino.destination({ sync: false })
  const logger = pino({ level: config.log_level, name: 'melange' }, destination)
  const onError = (err: Error) => logger.error({ err }, 'database connection lost')
  const db = await openDatabase({ ...config, onError })
  try {
    const app = await buildApp({ ...config, db, version, logger })
    const token = config.admin_token === undefined ? await createAdminToken(db) : null
    await app.listen(splitListen(config.listen))
    const url = urlOf(app.server.address() as AddressInfo)
    const stopCleaning = clean(db, {
      days: config.events.retention_days,
      onError: err => logger.error({ err }, 'not cleaned'),
    })
    greet({ url, token, database: databaseName(config), isEmbedded: db.kind === 'pglite' })
    return {
      url,
      close: async () => {
        stopCleaning()
        await app.close()
        await db.close()
        destination.flushSync()
      },
    }
  } catch (error) {
    await db.close()
    throw error
  }
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

const cleaning = { first_milliseconds: 10_000, every_milliseconds: 600_000, batch: 10_000 }

type Cleaning = { readonly days: number; readonly onError: (error: unknown) => void }

/**
 * Removes old events now and then, a bounded number at a time. A server vacuums by itself; the
 * embedded database does so here.
 */
function clean(db: OpenDatabase, { days, onError }: Cleaning): () => void {
  let timer = setTimeout(work, cleaning.first_milliseconds).unref()
  async function work() {
    let isMore = false
    try {
      const removed = await removeOldEvents(db, { days, limit: cleaning.batch })
      isMore = removed === cleaning.batch
      if (!isMore && db.kind === 'pglite') await db.execute('vacuum (analyze)')
    } catch (error) {
      onError(error)
    }
    timer = setTimeout(work, isMore ? 0 : cleaning.every_milliseconds).unref()
  }
  return () => clearTimeout(timer)
}

type Greeting = { url: string; token: string | null; database: string; isEmbedded: boolean }

/** What a person who starts Melange for the first time needs; it goes beside the log, not into it. */
function greet({ url, token, database, isEmbedded }: Greeting): void {
  const say = (line = '') => process.stderr.write(`${line}\n`)
  say(`Melange listens on ${url}, with the ${database}.`)
  if (isEmbedded) {
    say('The embedded database survives a killed process, but not a power cut: it does not fsync.')
    say('For production set DATABASE_URL to a PostgreSQL server.')
  }
  if (token === null) return
  say()
  say('This admin token is shown once; only its hash is kept:')
  say()
  say(`  export MELANGE_TOKEN=${token}`)
  say()
  say('Create a block, allocate an address, find out who has it:')
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
