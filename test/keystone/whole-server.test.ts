import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { readSamples, sumOf } from '../helpers/prometheus.ts'
import { useRealKeystone } from '../helpers/real-keystone.ts'
import {
  adminToken,
  cleanUp,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

const real = useRealKeystone()
const cacheSeconds = 2
let melange: ServerProcess

/** The built program beside the real Keystone. */
const start = (credentials: object) => {
  const keystone = {
    enabled: true,
    auth_url: real.server.url,
    token_cache_seconds: cacheSeconds,
    negative_cache_seconds: 1,
    ...credentials,
  }
  // A test sends as many wrong tokens as it can.
  const rates = { failed_authentications_per_second: null }
  const file = settingsFile({ keystone, rates, data_dir: temporaryFolder() })
  return ServerProcess.start({}, ['--config', file])
}

beforeAll(async () => {
  const { melange: own } = real.world.users
  melange = await start({
    user_id: own.id,
    password: own.password,
    project_id: real.world.projects.service,
  })
}, 180_000)
afterAll(cleanUp)

type Sent = { readonly token?: string; readonly headers?: Record<string, string> }

async function get(path: string, { token, headers = {} }: Sent, of = melange) {
  const response = await fetch(`${of.url}${path}`, {
    headers: { ...headers, ...(token !== undefined && { 'x-auth-token': token }) },
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}
const statusOf = async (path: string, sent: Sent) => (await get(path, sent)).status

const blocks = '/v2/blocks'
const tenantPath = (project: string) => `/v1.0/ipam/tenants/${project}/ip_blocks`
const ofAnn = () =>
  real.world.logIn(real.world.users.ann, { project: { id: real.world.projects.acme } })
const ofNova = () =>
  real.world.logIn(real.world.users.nova, { project: { id: real.world.projects.service } })

const samples = async () => readSamples((await get('/metrics', { token: adminToken })).text)

test('a server with an application credential validates tokens as well', async () => {
  const { melange: own } = real.world.users
  const token = await real.world.logIn(own, { project: { id: real.world.projects.service } })
  const wanted = { application_credential: { name: 'of a server' } }
  const path = `/users/${own.id}/application_credentials`
  const { id, secret } = (await real.world.call('POST', path, wanted, token)).application_credential
  const other = await start({
    application_credential_id: id,
    application_credential_secret: secret,
  })
  expect((await get(blocks, { token: await ofAnn() }, other)).status).toBe(200)
  expect((await get(blocks, { token: `${await ofAnn()}A` }, other)).status).toBe(401)
  expect(await other.stop()).toBe(0)
}, 120_000)

test('scopes and roles decide what a token may do', async () => {
  const { world } = real
  const { acme, service } = world.projects
  const tokens = {
    member: await ofAnn(),
    service: await ofNova(),
    domain: await world.logIn(world.users.boss, { domain: { id: world.corp } }),
    system: await world.logIn(world.users.root, { system: { all: true } }),
    unscoped: await world.logIn(world.users.nobody),
    own: adminToken,
  }
  const paths = [tenantPath(acme), tenantPath(service), '/v1.0/ipam/mac_address_ranges']
  const statuses: Record<string, number[]> = {}
  for (const [name, token] of Object.entries(tokens)) {
    statuses[name] = await Promise.all(paths.map(path => statusOf(path, { token })))
  }
  expect(statuses).toEqual({
    member: [200, 403, 403],
    service: [200, 200, 200],
    domain: [403, 403, 403],
    system: [200, 200, 200],
    unscoped: [401, 401, 401],
    own: [200, 200, 200],
  })
})

test('whoever is refused learns where Keystone is', async () => {
  const challenge = `Keystone uri="${real.server.url}"`
  for (const path of [blocks, tenantPath('x'), '/v1.0/nowhere', '/metrics']) {
    for (const token of [undefined, 'gAAAAABpGarbageGarbageGarbage', adminToken.slice(1)]) {
      const { status, headers } = await get(path, token === undefined ? {} : { token })
      expect([path, status, headers.get('www-authenticate')]).toEqual([path, 401, challenge])
    }
  }
})

test('headers that say who somebody is mean nothing', async () => {
  const headers = {
    'x-roles': 'admin,service',
    'x-role': 'admin',
    'x-project-id': real.world.projects.service,
    'x-tenant': real.world.projects.service,
    'x-tenant-id': real.world.projects.service,
    'x-user-id': real.world.users.root.id,
    'x-identity-status': 'Confirmed',
    'x-is-admin-project': 'True',
    'x-service-roles': 'service',
    'openstack-system-scope': 'all',
  }
  const others = tenantPath(real.world.projects.service)
  expect(await statusOf(others, { token: await ofAnn(), headers })).toBe(403)
  expect(await statusOf(others, { headers })).toBe(401)
  expect(await statusOf(blocks, { headers })).toBe(401)
})

test('X-Storage-Token is a token, and so is one between blanks', async () => {
  const token = await ofAnn()
  expect(await statusOf(blocks, { headers: { 'x-storage-token': token } })).toBe(200)
  expect(await statusOf(blocks, { token: `  ${token} ` })).toBe(200)
  const bad = { 'x-storage-token': token }
  expect(await statusOf(blocks, { token: `${token}A`, headers: bad })).toBe(401)
})

test('a service token has to be good, and gives the user nothing', async () => {
  const [token, good] = [await ofAnn(), await ofNova()]
  const status = (path: string, service: string) =>
    statusOf(path, { token, headers: { 'x-service-token': service } })
  expect(await status(blocks, good)).toBe(200)
  expect(await status(tenantPath(real.world.projects.service), good)).toBe(403)
  expect(await status(blocks, await ofAnn())).toBe(401)
  expect(await status(blocks, `${good}A`)).toBe(401)
})

test('a token that is revoked is refused when the time in the cache is over', async () => {
  const token = await ofAnn()
  expect(await statusOf(blocks, { token })).toBe(200)
  await real.world.revoke(token)
  const begin = Date.now()
  await vi.waitUntil(async () => (await statusOf(blocks, { token })) === 401, {
    timeout: cacheSeconds * 1000 + 3000,
  })
  expect(Date.now() - begin).toBeLessThan(cacheSeconds * 1000 + 2000)
  expect(await statusOf(blocks, { token })).toBe(401)
})

test('tokens of before and after a rotation of keys are good', async () => {
  const before = await ofAnn()
  await real.server.rotateKeys()
  const after = await ofAnn()
  for (const token of [before, after]) expect(await statusOf(blocks, { token })).toBe(200)
}, 60_000)

describe('where tokens live for seconds', () => {
  beforeAll(() => real.server.restart({ token_seconds: 5, allow_expired_seconds: 60 }), 120_000)
  afterAll(
    () => real.server.restart({ token_seconds: 3600, allow_expired_seconds: 172_800 }),
    120_000,
  )

  test('one that expired is refused, but where a service brings it', async () => {
    const token = await ofAnn()
    const end = Date.now() + 5000
    expect(await statusOf(blocks, { token })).toBe(200)
    await vi.waitUntil(async () => (await statusOf(blocks, { token })) === 401, { timeout: 8000 })
    expect(Date.now()).toBeLessThan(end + 1500)
    const headers = { 'x-service-token': await ofNova() }
    expect(await statusOf(blocks, { token, headers })).toBe(200)
    expect(await statusOf(blocks, { token })).toBe(401)
  }, 60_000)
})

test('Keystone is killed under load: who is known goes on, who is not gets 503, and it ends', async () => {
  const known = [await ofAnn(), await ofNova(), adminToken]
  const later = [await ofAnn(), await ofNova()]
  const garbage = Array.from({ length: 10 }, (_, n) => `gAAAAABpGarbageOfServer${n}`)
  for (const token of known) expect(await statusOf(blocks, { token })).toBe(200)

  const seen: { token: string; status: number; begin: number; end: number; retry: string }[] = []
  let isOver = false
  const all = [...known, ...garbage]
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let turn = client; !isOver; turn++) {
      const token = all[turn % all.length] ?? ''
      const begin = performance.now()
      const { status, headers } = await get(blocks, { token })
      const end = performance.now()
      seen.push({ token, status, begin, end, retry: headers.get('retry-after') ?? '' })
      await delay(5)
    }
  })
  await delay(1000)
  await real.server.kill9()
  const gone = performance.now()
  await delay(4000)
  const refused = await Promise.all(later.map(token => get(blocks, { token })))
  const old = await Promise.all(later.map(token => get(tenantPath('x'), { token })))
  const away = sumOf(await samples(), 'melange_keystone_away')
  const back = performance.now()
  await real.server.start()
  await vi.waitUntil(async () => (await statusOf(blocks, { token: later[0] ?? '' })) === 200, {
    timeout: 20_000,
    interval: 200,
  })
  const recovered = performance.now()
  await delay(1000)
  isOver = true
  await Promise.all(clients)

  const isKnown = ({ token }: { token: string }) => known.includes(token)
  expect(seen.filter(isKnown).filter(({ status }) => status !== 200)).toEqual([])
  expect(seen.filter(one => !isKnown(one) && ![401, 503].includes(one.status))).toEqual([])
  for (const { status, headers, text } of refused) {
    expect([status, JSON.parse(text).code]).toEqual([503, 'identity_unavailable'])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(headers.get('www-authenticate')).toBeNull()
  }
  expect(old.map(({ status }) => status)).toEqual([503, 503])
  const during = seen.filter(({ begin, end }) => begin > gone && end < back)
  const unknown = during.filter(one => one.status === 503)
  expect(unknown.length).toBeGreaterThan(20)
  expect(unknown.every(({ retry }) => Number(retry) > 0)).toBe(true)
  expect(during.filter(isKnown).length).toBeGreaterThan(20)
  const after = seen.filter(one => one.begin > recovered)
  expect(after.filter(({ status }) => status === 503)).toEqual([])
  const told = await samples()
  expect([away, sumOf(told, 'melange_keystone_away')]).toEqual([1, 0])
  expect(sumOf(told, 'melange_keystone_lookups_total', { outcome: 'stale' })).toBeGreaterThan(0)
  expect(melange.stdout.match(/Keystone gives no answers/g)).toHaveLength(1)
  expect(melange.stdout.match(/Keystone answers again/g)).toHaveLength(1)
  for (const token of [...known, ...later]) expect(melange.stdout).not.toContain(token)
}, 120_000)
