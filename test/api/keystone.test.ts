import { Writable } from 'node:stream'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config.ts'
import { Api, adminToken, expectProblem, useApi } from '../helpers/api.ts'
import { OidcIssuer, oidcSettings } from '../helpers/oidc-issuer.ts'
import {
  lastingRecording,
  type RecordedKeystone,
  startRecordedKeystone,
} from '../helpers/recorded-keystone.ts'

// Keystone beside the other authorities of an app. What is true of a token is in src/keystone, and of
// a real Keystone in test/keystone.

const api = useApi()
let keystone: RecordedKeystone
let issuer: OidcIssuer
let cloud: Api
let log = ''
const member = 'gAAAAABp-token-of-a-member'
const service = 'gAAAAABp-token-of-a-service'
const acme = '93b771a6cdbb43438b5657fdda9e2a7b'
const blocks = '/v2/blocks'

beforeAll(async () => {
  keystone = await startRecordedKeystone()
  keystone.life_seconds = 10 * 365 * 86_400
  keystone.tokens.set(member, lastingRecording('validate-nocatalog'))
  keystone.tokens.set(service, lastingRecording('validate-service-user'))
  issuer = await OidcIssuer.start()
  cloud = await open()
})
afterEach(() => {
  keystone.fault = null
})
afterAll(async () => {
  await cloud.app.close()
  await issuer.stop()
  await keystone.close()
})

function open(changes: object = {}): Promise<Api> {
  const sink = new Writable({
    write(chunk, _encoding, done) {
      log += chunk
      done()
    },
  })
  const settings = { ...loadConfig(undefined, {}).keystone, enabled: true, timeout_seconds: 1 }
  return new Api().open({
    db: api.db,
    logger: pino({ level: 'info' }, sink),
    oidc: oidcSettings([issuer]),
    keystone: { ...settings, ...changes },
    openstack: {
      OS_AUTH_URL: `${keystone.url}/v3`,
      OS_USERNAME: 'melange',
      OS_USER_DOMAIN_NAME: 'Default',
      OS_PASSWORD: 'a-password',
      OS_PROJECT_NAME: 'service',
      OS_PROJECT_DOMAIN_NAME: 'Default',
    },
  })
}
const get = (headers: Record<string, string>, url = blocks, of = cloud) =>
  of.send({ method: 'GET', url, headers })
const raw = (headers: Record<string, string>, url: string) =>
  cloud.app.inject({ method: 'GET', url, headers })

test('each authority knows its own tokens, and Keystone is asked of no others', async () => {
  const own = await api.post('/v2/tokens', { name: 'ci', project_id: 'red', roles: ['member'] })
  const before = keystone.validations().length
  for (const token of [
    adminToken,
    String(own.body.secret),
    await issuer.sign({ project: 'red', roles: ['workers'] }),
  ]) {
    expect(await get({ 'x-auth-token': token })).toMatchObject({ status: 200 })
  }
  const unknown = `melange_${'A'.repeat(43)}`
  expect(await get({ 'x-auth-token': unknown })).toMatchObject({ status: 401 })
  expect(keystone.validations()).toHaveLength(before)
  for (const headers of [
    { 'x-auth-token': member },
    { 'x-auth-token': ` ${member}  ` },
    { 'x-storage-token': member },
    { authorization: `Bearer ${member}` },
  ]) {
    expect(await get(headers as Record<string, string>)).toMatchObject({ status: 200 })
  }
  expect(keystone.validations()).toHaveLength(before + 1)
})

test('every 401 says where Keystone is: problems, faults and plain answers', async () => {
  const challenge = `Keystone uri="${keystone.url}/v3"`
  const [v2, v1] = [blocks, '/v1.0/ipam/tenants/red/ip_blocks']
  for (const url of [v2, v1, `${v1}.xml`, '/ipam/x', '/v0.1', '/extensions', '/metrics']) {
    for (const headers of [{}, { 'x-auth-token': 'gAAAAABp-no-such-token' }]) {
      const answer = await raw(headers as Record<string, string>, url)
      expect([url, answer.statusCode]).toEqual([url, 401])
      expect(answer.headers['www-authenticate']).toBe(challenge)
    }
  }
  expect((await raw({}, '/healthz')).headers['www-authenticate']).toBeUndefined()
})

test('a service token has to be good; one of blanks is none', async () => {
  const use = (token: string) => get({ 'x-auth-token': member, 'x-service-token': token })
  expect(await use(service)).toMatchObject({ status: 200 })
  expect(await use(' ')).toMatchObject({ status: 200 })
  const refused = await use(member)
  expectProblem(refused, 'authentication_required', { status: 401 })
  expect(refused.body.detail).toContain('none of the roles')
  expect(await use('gAAAAABp-no-such-token')).toMatchObject({ status: 401 })
})

test('identity headers of a client mean nothing', async () => {
  const forged = {
    'x-roles': 'admin',
    'x-role': 'admin',
    'x-project-id': 'blue',
    'x-tenant': 'blue',
    'x-tenant-id': 'blue',
    'x-user-id': 'root',
    'x-identity-status': 'Confirmed',
    'x-is-admin-project': 'True',
    'x-service-roles': 'service',
    'openstack-system-scope': 'all',
  }
  const status = async (headers: Record<string, string>, url: string) =>
    (await raw({ ...forged, ...headers }, url)).statusCode
  const pathOf = (tenant: string) => `/v1.0/ipam/tenants/${tenant}/ip_blocks`
  expect(await status({}, blocks)).toBe(401)
  expect(await status({ 'x-auth-token': member }, pathOf('blue'))).toBe(403)
  expect(await status({ 'x-auth-token': member }, '/v1.0/ipam/mac_address_ranges')).toBe(403)
  expect(await status({ 'x-auth-token': member }, pathOf(acme))).toBe(200)
})

test('without Keystone who is known goes on, others get 503 and never 401, and the log says so once', async () => {
  const known = { 'x-auth-token': member }
  expect(await get(known)).toMatchObject({ status: 200 })
  keystone.fault = (_request, response) => void response.writeHead(500).end()
  const answer = await get({ 'x-auth-token': 'gAAAAABp-another-token' })
  expectProblem(answer, 'identity_unavailable', { status: 503 })
  expect(answer.body.detail).toMatch(/^Keystone answers 500\.$/)
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
  expect(answer.headers['www-authenticate']).toBeUndefined()
  const old = await raw({ 'x-auth-token': 'gAAAAABp-other-token' }, '/v1.0/ipam/x')
  expect([old.statusCode, Number(old.headers['retry-after']) > 0]).toEqual([503, true])
  expect(await get(known)).toMatchObject({ status: 200 })
  await keystone.close()
  for (const n of [1, 2, 3, 4]) {
    expect(await get({ 'x-auth-token': `gAAAAABp-token-number-${n}` })).toMatchObject({
      status: 503,
    })
  }
  keystone.fault = null
  await keystone.open()
  const late = { 'x-auth-token': 'gAAAAABp-late-token-of-nobody' }
  await expect.poll(async () => (await get(late)).status, { timeout: 10_000 }).toBe(401)
  expect(log.match(/Keystone gives no answers/g)).toHaveLength(1)
  expect(log.match(/Keystone answers again/g)).toHaveLength(1)
  for (const secret of [member, service, 'a-password']) expect(log).not.toContain(secret)
})

test('a certificate that is not checked is worth a warning, and credentials must be complete', async () => {
  expect(log).not.toContain('insecure')
  const loose = await open({ insecure: true })
  await loose.app.close()
  expect(log).toContain('keystone.insecure')
  await expect(open({ auth_type: 'v3applicationcredential' })).rejects.toThrow(ConfigError)
})

test('an app that closes leaves no connection to Keystone', async () => {
  const other = await open()
  expect(await get({ 'x-auth-token': member }, blocks, other)).toMatchObject({ status: 200 })
  const before = await keystone.connections()
  await other.app.close()
  await expect.poll(() => keystone.connections()).toBeLessThan(before)
})
