// The server of Melange as it was built, and beside its authorities one token that nobody checks:
// UNCHECKED_TOKEN. Whoever bears it is an admin at once, so that the price of checking can be seen.

import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import type { Authenticate } from '../src/auth/authenticate.ts'
import type { Caller } from '../src/auth/caller.ts'
import { built } from './built.ts'

const { buildApp } = await built.app()
const { loadConfig, splitListen } = await built.config()
const { openDatabase } = await built.open()
const { loadPolicy } = await built.policy()

const unchecked = process.env.UNCHECKED_TOKEN
if (!unchecked) throw new Error('UNCHECKED_TOKEN is not set')
const admin: Caller = {
  authority: 'token',
  user_id: 'unchecked',
  user_name: null,
  user_domain_id: null,
  project_id: null,
  domain_id: null,
  system_scope: 'all',
  project_domain_id: null,
  roles: ['admin'],
  service: null,
}
const aroundAuthenticate =
  (inner: Authenticate): Authenticate =>
  async (request, reply) => {
    if (request.headers['x-auth-token'] !== unchecked) return inner(request, reply)
    request.setDecorator<Caller>('caller', admin)
  }

const config = loadConfig()
const destination = pino.destination({ sync: false })
const logger = pino({ level: config.log_level, name: 'melange' }, destination)
const onError = (err: Error) => logger.error({ err }, 'database connection lost')
const db = await openDatabase({ ...config, onError })
const policy = loadPolicy(undefined)
const rules = () => policy
const around = { rules, aroundAuthenticate }
const app = await buildApp({ ...config, db, version: 'bench', logger, ...around })
await app.listen(splitListen(config.listen))
const { port } = app.server.address() as AddressInfo
process.stderr.write(`melange listens on http://127.0.0.1:${port}\n`)

process.once('SIGTERM', async () => {
  await app.close()
  await db.close()
  process.exit()
})
