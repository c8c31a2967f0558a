import { expect, test } from 'vitest'
import { createAdminToken, resetAdminToken } from '../../src/resources/tokens/store.ts'
import { Api, adminToken, expectProblem, useApi } from '../helpers/api.ts'
import { operationsOf } from '../helpers/contract.ts'
import { OidcIssuer, oidcSettings } from '../helpers/oidc-issuer.ts'

const api = useApi()
const id = '01900000-0000-7000-8000-000000000000'
const list = (headers: Record<string, string>, of: Api = api) =>
  of.send({ method: 'GET', url: '/v2/blocks', headers })

test('every operation of v2 needs a token, before anything else is looked at', async () => {
  const operations = operationsOf(api.app).filter(({ path }) => path.startsWith('/v2'))
  expect(operations.length).toBeGreaterThan(20)
  for (const { method, path } of operations) {
    const url = path.replaceAll(/\{[^}]+\}/g, id)
    const odd = { payload: '{', headers: { 'content-type': 'application/json' } }
    for (const request of [{}, method === 'GET' ? {} : odd]) {
      const answer = await api.send({ method: method as 'GET', url, ...request })
      expectProblem(answer, 'authentication_required', { status: 401 })
      expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
    }
  }
})

test('what tells of the server itself needs none', async () => {
  for (const url of ['/', '/healthz', '/readyz', '/v2/openapi.json']) {
    expect(await api.send({ method: 'GET', url })).toMatchObject({ status: 200 })
  }
  const root = await api.send({ method: 'GET', url: '/' })
  expect(root.body).toMatchObject({ versions: [{ name: 'v0.1' }, { name: 'v1.0' }] })
  expect(root.headers.link).toBe('</v2/>; rel="latest-version"')
})

test.each([
  ['X-Auth-Token', { 'x-auth-token': adminToken }],
  ['Bearer', { authorization: `Bearer ${adminToken}` }],
  ['Bearer in any case', { authorization: `bearer  ${adminToken}` }],
])('a token is taken as %s', async (_name, headers) => {
  expect(await list(headers)).toMatchObject({ status: 200 })
})

test.each([
  {},
  { 'x-auth-token': '' },
  { 'x-auth-token': 'wrong' },
  { 'x-auth-token': adminToken.slice(1) },
  { 'x-auth-token': ` ${adminToken}x` },
  { authorization: adminToken },
  { authorization: `Basic ${adminToken}` },
  { authorization: 'Bearer ' },
])('%j is refused', async headers => {
  expectProblem(await list(headers as Record<string, string>), 'authentication_required')
})

test('tokens of an issuer are taken from either header, and 503 is no 401', async () => {
  const issuer = await OidcIssuer.start()
  const oidc = oidcSettings([issuer])
  const cloud = await new Api().open({ db: api.db, oidc })
  const token = await issuer.sign({ roles: ['operators'] })
  const bearer = { authorization: `Bearer ${token}` }
  const payload = { name: 'ci', project_id: 'red', roles: ['member'] }
  try {
    expect(await list(bearer, cloud)).toMatchObject({ status: 200 })
    expect(await list({ 'x-auth-token': token }, cloud)).toMatchObject({ status: 200 })
    const made = await cloud.send({ method: 'POST', url: '/v2/tokens', headers: bearer, payload })
    expect(made).toMatchObject({ status: 201, body: { created_by: 'alice' } })
    const wrong = await list({ 'x-auth-token': await issuer.sign({ aud: 'another' }) }, cloud)
    expectProblem(wrong, 'authentication_required', { status: 401 })
    expect(wrong.body.detail).toContain('not for this service')
    const foreign = await issuer.sign({ iss: 'https://elsewhere.example' })
    expectProblem(await list({ 'x-auth-token': foreign }, cloud), 'authentication_required')
    await issuer.stop()
    expect(await list(bearer, cloud)).toMatchObject({ status: 200 })
    const other = await new Api().open({ db: api.db, oidc })
    const unknown = await list(bearer, other)
    expectProblem(unknown, 'identity_unavailable', { status: 503 })
    expect(unknown.headers['retry-after']).toBe('1')
    const old = { method: 'GET', url: '/v1.0/ipam/ip_blocks', headers: bearer }
    expect((await other.app.inject({ ...old, method: 'GET' })).statusCode).toBe(503)
    await other.app.close()
  } finally {
    await issuer.stop()
    await cloud.app.close()
  }
})

test('the admin token is made once, and a reset one replaces it', async () => {
  const fresh = await new Api().open({ admin_token: undefined, db: api.db })
  const status = async (token: string | null) =>
    (await list({ authorization: `Bearer ${token}` }, fresh)).status
  const made = await Promise.all([createAdminToken(api.db), createAdminToken(api.db)])
  const [first = null] = made.filter(Boolean)
  const again = await createAdminToken(api.db)
  const before = [await status(first), await status(adminToken)]
  await fresh.app.close()
  // Another process, or this one once it has forgotten what it knew of tokens.
  const later = await new Api().open({ admin_token: undefined, db: api.db })
  const second = await resetAdminToken(api.db)
  const statuses = await Promise.all(
    [first, second].map(token => list({ 'x-auth-token': String(token) }, later)),
  )
  await later.app.close()
  const { events } = (await api.get('/v2/events')).body
  expect(first).toMatch(/^melange_[\w-]{43}$/)
  expect([...made, again].filter(token => token === null)).toHaveLength(2)
  expect(before).toEqual([200, 401])
  expect(statuses.map(({ status }) => status)).toEqual([401, 200])
  const types = events.map(({ type }) => type)
  expect(types).toEqual(['token.created', 'token.revoked', 'token.created'])
  expect(JSON.stringify(events)).not.toContain(String(first).slice(14))
})
