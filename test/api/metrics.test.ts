import { readFileSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'
import type { InjectOptions } from 'fastify'
import { afterEach, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import type { OpenDatabase } from '../../src/db/database.ts'
import { postgresDatabase } from '../../src/db/postgres.ts'
import { sql } from '../../src/db/sql.ts'
import { appendEvents } from '../../src/resources/events/store.ts'
import { openTls } from '../../src/server/tls.ts'
import { Api, adminToken, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { makeCertificate, testFolder, writeCertificate } from '../helpers/certificates.ts'
import { contractOf, operationsOf } from '../helpers/contract.ts'
import { readSamples, type Sample, sumOf } from '../helpers/prometheus.ts'

const api = useApi()
const { keystone: keystoneSettings } = loadConfig(undefined, {})
const bearer = { authorization: `Bearer ${adminToken}` }
const others: Api[] = []
const holds: Hold[] = []

/** One more app on a database, which counts from nothing. */
async function another(options: Parameters<Api['open']>[0] = {}): Promise<Api> {
  const opened = await new Api().open({ db: api.db, ...options })
  others.push(opened)
  return opened
}

afterEach(async () => {
  // A test that failed has not ended what it holds.
  await Promise.allSettled(holds.splice(0).map(({ end }) => end()))
  for (const { app } of others.splice(0)) await app.close()
})

async function scrape({ app }: Api = api): Promise<Sample[]> {
  const answer = await app.inject({ method: 'GET', url: '/metrics', headers: bearer })
  expect(answer.statusCode).toBe(200)
  const type = String(answer.headers['content-type'])
  expect(type).toMatch(/^text\/plain; version=0\.0\.4/)
  const [media] = type.split(';')
  const { headers, payload: body } = answer
  contractOf(app)('GET', '/metrics', { status: 200, body, media, headers })
  return readSamples(answer.payload)
}

/** What has been counted since, of all series that bear the labels. */
async function watch(of: Api = api) {
  const before = await scrape(of)
  const after: { samples?: Sample[] } = {}
  return {
    stop: async () => {
      after.samples = await scrape(of)
    },
    grew: (name: string, labels = {}) =>
      (sumOf(after.samples ?? [], name, labels) ?? 0) - (sumOf(before, name, labels) ?? 0),
  }
}

const requests = 'melange_http_request_duration_seconds_count'

test('needs a token, before anything else is looked at', async () => {
  for (const headers of [{}, { authorization: 'Bearer wrong' }]) {
    const answer = await api.send({ method: 'GET', url: '/metrics', headers })
    expectProblem(answer, 'authentication_required', { status: 401 })
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
  }
})

test('requests, batches and events are counted as they are made', async () => {
  const { stop, grew } = await watch()
  const block = await api.createBlock('10.0.0.0/24')
  await api.get(`/v2/blocks/${block.id}`)
  await api.get('/v2/blocks/01900000-0000-7000-8000-000000000000')
  const held = await Promise.all(Array.from({ length: 9 }, () => api.allocateOne(block)))
  await Promise.all(held.slice(0, 4).map(one => api.release(one)))
  await stop()

  const created = { method: 'POST', route: '/v2/allocations', status: '201' }
  expect(grew(requests, created)).toBe(9)
  expect(grew(requests, { method: 'DELETE', status: '200' })).toBe(4)
  const one = { method: 'GET', route: '/v2/blocks/{block_id}' }
  expect(grew(requests, { ...one, status: '200' })).toBe(1)
  expect(grew(requests, { ...one, status: '404' })).toBe(1)
  expect(grew(requests, { route: '/metrics' }), 'the scrape before').toBe(1)
  expect(grew(requests)).toBe(1 + 1 + 1 + 9 + 4 + 1)
  const inBuckets = { ...created, le: '+Inf' }
  expect(grew('melange_http_request_duration_seconds_bucket', inBuckets)).toBe(9)
  const seconds = grew('melange_http_request_duration_seconds_sum', created)
  expect(seconds).toBeGreaterThan(0)
  expect(seconds).toBeLessThan(9 * 30)

  for (const [kind, count] of Object.entries({ allocate: 9, release: 4 })) {
    expect(grew('melange_coalescer_batch_size_sum', { kind })).toBe(count)
    const batches = grew('melange_coalescer_batch_size_count', { kind })
    expect(batches).toBeGreaterThan(0)
    // What arrives together shares a transaction.
    expect(batches).toBeLessThan(count)
    expect(grew('melange_coalescer_refused_total', { kind })).toBe(0)
  }
  expect(grew('melange_events_newest')).toBe(1 + 9 + 4)
})

test('what waits for a batch is told, and what is refused is counted', async () => {
  const crowded = await another({ allocator: { lanes: 1, batch_max: 1, waiting_max: 2 } })
  const block = await crowded.createBlock('10.0.0.0/24')
  expectStatus(201, await crowded.ask(block)) // From now on it is known who asks.
  const counts = async () => {
    const samples = await scrape(crowded)
    const of = (name: string, kind: string) => sumOf(samples, `melange_coalescer_${name}`, { kind })
    return ['allocate', 'release'].map(kind => [
      of('batch_size_count', kind),
      of('waiting', kind),
      of('refused_total', kind),
    ])
  }
  const hold = holdEvents(api.db)
  await hold.isHeld
  const first = crowded.ask(block)
  await until(() => inUse() === 2)
  const [second, third, ...late] = Array.from({ length: 5 }, () => crowded.ask(block))
  for (const answer of late) expectProblem(await answer, 'overloaded', { status: 503 })
  expect(await counts()).toEqual([
    [2, 2, 3],
    [0, 0, 0],
  ])
  await hold.end()
  for (const answer of [first, second, third]) expect((await answer)?.status).toBe(201)
  expect(await counts()).toEqual([
    [4, 0, 3],
    [0, 0, 0],
  ])
})

test('while no connection is free the rest is told, and what waits for one', async () => {
  const use = async () => {
    const samples = await scrape()
    const of = (state: string) => sumOf(samples, 'melange_database_connections', { state })
    const newest = sumOf(samples, 'melange_events_newest')
    return [of('idle'), of('busy'), sumOf(samples, 'melange_database_waiting'), newest]
  }
  await api.createBlock('10.0.0.0/24')
  const all = api.db.connections
  const held = Array.from({ length: all }, () => holdConnection(api.db))
  await Promise.all(held.map(({ isHeld }) => isHeld))
  const answers = [api.get('/v2/blocks'), api.get('/v2/blocks')]
  await until(() => api.db.connectionUse().waiting === 2)
  expect(await use()).toEqual([0, all, 2, undefined])
  await Promise.all(held.map(({ end }) => end()))
  for (const { status } of await Promise.all(answers)) expect(status).toBe(200)
  // The number that came too late for the scrape is still being read.
  await until(() => inUse() === 0)
  expect((await use()).slice(1)).toEqual([0, 0, 1])
})

test('without a database the rest is told', async () => {
  const db = postgresDatabase({
    url: 'postgres://127.0.0.1:1/nowhere',
    connections_max: 2,
    connect_timeout_seconds: 10,
    statement_timeout_seconds: 10,
    onError: () => undefined,
  })
  const alone = await another({ db })
  expectProblem(await alone.get('/v2/blocks'), 'database_unavailable')
  const samples = await scrape(alone)
  await db.close()
  expect(sumOf(samples, 'melange_events_newest')).toBeUndefined()
  expect(sumOf(samples, requests, { route: '/v2/blocks', status: '503' })).toBe(1)
})

test('how old an event is when it reaches who waited for it is told, and only then', async () => {
  const { stop, grew } = await watch()
  const block = await api.createBlock('10.0.0.0/24')
  const { cursor } = (await api.get('/v2/events')).body
  expect((await api.get('/v2/events?wait=1')).body.events).toHaveLength(1)
  const looks = vi.spyOn(api.db, 'query')
  const looked = () =>
    looks.mock.calls.filter(([{ text }], call) => {
      const hasEnded = looks.mock.settledResults[call]?.type === 'fulfilled'
      return hasEnded && text.includes('order by seq limit')
    }).length
  const waiting = [
    api.get(`/v2/events?after=${cursor}&wait=30`),
    api.get(`/v2/events?after=${cursor}&wait=30&type=address_scope.updated`),
    api.get(`/v2/events?after=${cursor}&wait=1&type=block.deleted`),
  ]
  // What comes before they have looked would not have been waited for.
  await until(() => looked() === waiting.length)
  looks.mockRestore()
  await api.db.transaction(async tx => {
    const data = { id: block.id }
    for (const type of ['block.updated', 'address_scope.updated'] as const) {
      await appendEvents(tx, [{ type, object_id: block.id, project_id: null, data }])
    }
    await tx.query(
      sql`update events set at = at - interval '20 seconds' where type = ${'block.updated'}`,
    )
  })
  const [all, some, none] = await Promise.all(waiting)
  expect([all, some, none].map(answer => answer?.body.events.length)).toEqual([2, 1, 0])
  await stop()

  const lag = 'melange_event_lag_seconds'
  expect(grew(`${lag}_count`)).toBe(2)
  expect(grew(`${lag}_bucket`, { le: '10' }), 'the younger one').toBe(1)
  expect(grew(`${lag}_bucket`, { le: '30' }), 'the older one').toBe(2)
  expect(grew(`${lag}_sum`)).toBeGreaterThan(20)
})

test('no label tells an id, a project, an address, or what else a client chose', async () => {
  const asked = await another()
  const project_id = 'project-that-nobody-knows'
  const block = await asked.createBlock('10.20.30.0/24', { project_id, name: 'secret name' })
  const [held] = await asked.allocate(block, { project_id, owner_id: 'vm-1' })
  await asked.get(`/v2/allocations?scope_id=public&address=10.20.30.1&project_id=${project_id}`)
  await asked.get(`/v2/events?project_id=${project_id}`)
  await asked.request('PATCH', `/v2/blocks/${block.id}`, { name: 'another' })
  await asked.get(`/v2/blocks/${block.id}x/${project_id}`)
  await asked.get('/v2/blocks/10.20.30.1')
  await asked.delete(`/v2/allocations/${held?.id}`)
  const odd = ['/10.20.30.1', `/v2/${block.id}`, '/%7Bblock_id%7D', '/a"b', '/v2/blocks/%00', '/é']
  for (const url of odd) {
    for (const method of [
      'GET',
      'HEAD',
      'POST',
      'OPTIONS',
      'PROPFIND',
    ] as InjectOptions['method'][]) {
      await asked.app.inject({ method: method as 'GET', url, headers: bearer })
    }
  }
  const samples = await scrape(asked)

  const values = (name: string) =>
    [...new Set(samples.flatMap(({ labels }) => labels[name] ?? []))].toSorted()
  const names = [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))].toSorted()
  expect(names).toEqual([
    'fate',
    'kind',
    'le',
    'method',
    'outcome',
    'reason',
    'route',
    'state',
    'status',
    'version',
  ])
  const paths = operationsOf(asked.app).map(({ path }) => path)
  expect(values('route').filter(route => !paths.includes(route))).toEqual(['unknown'])
  expect(values('method')).toEqual([
    'DELETE',
    'GET',
    'HEAD',
    'OPTIONS',
    'PATCH',
    'POST',
    'PROPFIND',
  ])
  expect(values('status').filter(status => !/^[1-5]\d\d$/.test(status))).toEqual([])
  expect(values('outcome')).toEqual(['accepted', 'refused'])
  expect(values('state')).toEqual(['busy', 'idle'])
  expect(values('version')).toEqual([process.version])
  const kinds = ['allocate', 'incremental', 'major', 'minor', 'release', 'weakcb'].concat([
    'release_mac',
    'take_mac',
  ])
  expect(values('kind').filter(kind => !kinds.includes(kind))).toEqual([])
  expect(samples.filter(({ name }) => !name.startsWith('melange_'))).toEqual([])
})

test('apps of one process count each for itself, and measure nothing once closed', async () => {
  const [one, two] = [await another(), await another()]
  await one.get('/v2/blocks')
  const ofBlocks = { route: '/v2/blocks' }
  expect(sumOf(await scrape(one), requests, ofBlocks)).toBe(1)
  expect(sumOf(await scrape(two), requests, ofBlocks)).toBeUndefined()
  const disconnect = vi.spyOn(PerformanceObserver.prototype, 'disconnect')
  await one.app.close()
  expect(disconnect).toHaveBeenCalledOnce()
  disconnect.mockRestore()
})

test('the guide explains every metric, and no other', async () => {
  const keystone = { ...keystoneSettings, enabled: true }
  const openstack = {
    OS_AUTH_URL: 'http://127.0.0.1:9/v3',
    OS_USER_ID: 'melange',
    OS_PASSWORD: 'any',
    OS_PROJECT_ID: 'service',
  }
  const certificates = openTls({
    ...writeCertificate(testFolder(), makeCertificate()),
    onError: vi.fn(),
    onChange: vi.fn(),
  })
  const { app } = await another({ keystone, openstack, certificates })
  certificates.close()
  const answer = await app.inject({ method: 'GET', url: '/metrics', headers: bearer })
  const told = [...answer.payload.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)
  const guide = readFileSync(new URL('../../docs/guides/metrics.md', import.meta.url), 'utf8')
  const [, table = '', rest = ''] = guide.split(/^## What is told|^## Prometheus/m)
  const named = (text: string) => [...text.matchAll(/\bmelange_\w+/g)].map(([name]) => name)
  expect(named(table).toSorted()).toEqual(told.toSorted())
  const family = (name: string) =>
    told.includes(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
  expect(named(rest).length).toBeGreaterThan(10)
  expect(named(rest).filter(name => !told.includes(family(name)))).toEqual([])
})

type Hold = { readonly isHeld: Promise<void>; end(): Promise<void> }

/** Keeps one connection busy with a transaction. */
function holdConnection(db: OpenDatabase, statement = sql`select 1`): Hold {
  let endIt = () => {}
  const ended = new Promise<void>(resolve => {
    endIt = resolve
  })
  let transaction = Promise.resolve()
  const isHeld = new Promise<void>(resolve => {
    transaction = db.transaction(async tx => {
      await tx.query(statement)
      resolve()
      await ended
    })
  })
  const hold = {
    isHeld,
    end: () => {
      endIt()
      return transaction
    },
  }
  holds.push(hold)
  return hold
}

/** Keeps every change from ending, by the lock that orders events. */
const holdEvents = (db: OpenDatabase) => holdConnection(db, sql`select lock_events()`)

/** How many queries and transactions are under way. */
function inUse(): number {
  const { busy, waiting } = api.db.connectionUse()
  return busy + waiting
}

const until = (isSo: () => boolean) => vi.waitUntil(isSo, { timeout: 20_000, interval: 1 })
