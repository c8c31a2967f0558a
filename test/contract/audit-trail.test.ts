import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { Sql, sql } from '../../src/db/sql.ts'
import { useApi } from '../helpers/api.ts'
import { callersOf } from '../helpers/audit-trail.ts'
import { operationsOf } from '../helpers/contract.ts'
import { type Write, writes } from '../helpers/writes.ts'

// Each operation is done with secrets in every place where a client may put one.

const lines: string[] = []
const sink = new Writable({
  write(chunk, _encoding, done) {
    lines.push(String(chunk))
    done()
  },
})
const mark = 'NEVER-TO-BE-TOLD'
const adminToken = `the-token-of-the-tests-${mark}-1`
const api = useApi({
  admin_token: adminToken,
  logger: pino({ level: 'trace' }, sink),
  audit_trail: { waiting_max: 1000, wait_seconds: 0.02 },
})

const headers = {
  'x-auth-token': adminToken,
  'x-service-token': `service-${mark}-2`,
  'user-agent': `client ${adminToken}`,
}
const send = ({ method, url, payload }: Write, more: object) =>
  api.app.inject({ method, url, headers: { ...headers, ...more }, ...(payload && { payload }) })

/** All that is kept of who asked, and of what was done. */
async function kept(db: Database): Promise<string> {
  const tables = ['callers', 'refusals', 'events', 'idempotency_keys']
  const found = await Promise.all(
    tables.map(table => db.query(new Sql([`select to_jsonb(t) as row from ${table} t`], []))),
  )
  return JSON.stringify(found)
}

// What the helpers send bears this token.
api.request = async (method, url, payload, more = {}) =>
  api.send({ method, url, headers: { ...headers, ...more }, ...(payload && { payload }) })

test.each(Object.keys(writes))(
  '%s names who asked, and keeps none of their secrets',
  async operationId => {
    const write = await (writes[operationId] as (typeof writes)[string])(api)
    const done = await send(write, { 'idempotency-key': operationId })
    expect(done.statusCode).toBeOneOf([200, 201, 204])
    const secret = /"secret":"([^"]+)"/.exec(done.body)?.[1] ?? mark
    const refused = await send(write, { 'x-auth-token': `wrong-${mark}-3` })
    expect(refused.statusCode).toBe(401)
    await send({ ...write, url: `${write.url}?token=${mark}` }, { 'x-auth-token': mark })

    const { named, unnamed } = await callersOf(api.db)
    expect(unnamed).toEqual([])
    expect(new Set(named).size).toBeLessThanOrEqual(1)
    await expect
      .poll(() => api.db.query(sql`select from refusals where status = 401`).then(f => f.length), {
        timeout: 5000,
      })
      .toBeGreaterThan(0)
    const { method, path } = operationsOf(api.app).find(one => one.operationId === operationId) as {
      method: string
      path: string
    }
    const operations = await api.db.query(sql`
      select distinct operation from refusals where status = 401`)
    expect(operations).toEqual([{ operation: `${method} ${path}` }])
    const trail = await kept(api.db)
    expect([trail.includes(mark), trail.includes(secret)]).toEqual([false, false])
    // What a client puts into its URL is its own affair: the log has that.
    const log = lines.join('').replaceAll(`?token=${mark}`, '')
    expect([log.includes(mark), log.includes(secret)]).toEqual([false, false])
  },
)
