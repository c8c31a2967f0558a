// The server of Melange as it was built (routes, validation, authentication, log), with another
// allocator: `noop` or `naive`, and the number of connections to the database.

import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { naiveAllocator, noopAllocator } from './baseline-allocators.ts'
import { built } from './built.ts'

const { buildApp } = await built.app()
const { loadConfig, splitListen } = await built.config()
const { openDatabase } = await built.open()
const { loadPolicy } = await built.policy()

const [kind, connections] = process.argv.slice(2)
const config = loadConfig()
const database = { ...config.database, connections_max: Number(connections) }
const destination = pino.destination({ sync: false })
const logger = pino({ level: config.log_level, name: 'melange' }, destination)
const onError = (err: Error) => logger.error({ err }, 'database connection lost')
const db = await openDatabase({ ...config, database, onError })
const customAllocator = kind === 'naive' ? await naiveAllocator(db) : noopAllocator()
const policy = loadPolicy(undefined)
const rules = () => policy
const app = await buildApp({ ...config, db, version: 'bench', logger, rules, customAllocator })
await app.listen(splitListen(config.listen))
const { port } = app.server.address() as AddressInfo
process.stderr.write(`${kind} listens on http://127.0.0.1:${port}\n`)

process.once('SIGTERM', async () => {
  await app.close()
  await db.close()
  process.exit()
})
