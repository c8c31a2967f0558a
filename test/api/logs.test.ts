import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { InjectOptions } from 'fastify'
import { expect, test } from 'vitest'
import { newToken } from '../../src/auth/token-store.ts'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/server/log.ts'
import { adminToken, expectStatus, useApi } from '../helpers/api.ts'
import { operationsOf } from '../helpers/contract.ts'

let log = ''
const destination = new Writable({
  write(chunk, _encoding, done) {
    log += chunk
    done()
  },
})
const { rates } = loadConfig(undefined, {})
const api = useApi({
  logger: createLogger({ level: 'trace', admin_token: adminToken, destination }),
  rates: { ...rates, failed_authentications_per_second: null },
})

const fernet = `gAAAAABp${'kXq-3_'.repeat(28)}==`
const jwt = `eyJhbGciOiJFUzI1NiJ9.${'eyJzdWIiOiJhIn'.repeat(4)}.${'c2ln-_'.repeat(12)}`
const unknown = 'a-token-of-no-form-that-anybody-knows'
const ours = newToken()
const wrong = [ours, fernet, jwt, unknown]

/** Nothing that is nearly a token is in the log, as it is or as a URL or as bytes would have it. */
function expectNoToken(...tokens: string[]): void {
  expect(log).toContain('answered')
  for (const token of tokens) {
    // The beginning of one of ours is shown in lists.
    const secret = token.slice(token.startsWith('melange_') ? 14 : 8)
    for (const written of [secret, encodeURIComponent(secret), [...Buffer.from(secret)].join()]) {
      expect(log.includes(written), `${written} in the log`).toBe(false)
    }
  }
}

const headersOf = (token: string): Record<string, string>[] => [
  { 'x-auth-token': token },
  { 'x-storage-token': token },
  { authorization: `Bearer ${token}` },
  { authorization: token },
  { 'x-auth-token': adminToken, 'x-service-token': token },
  { 'x-auth-token': adminToken, 'idempotency-key': token, 'if-match': token },
  { 'x-auth-token': adminToken, 'x-forwarded-for': token, host: token, 'user-agent': token },
]
const inject = (method: string, url: string, more: Partial<InjectOptions> = {}) =>
  api.app.inject({ method: method as 'GET', url, ...more })

test('no operation logs a token, wherever one is put', async () => {
  log = ''
  const admin = { 'x-auth-token': adminToken }
  for (const [index, { method, path }] of operationsOf(api.app).entries()) {
    const token = wrong[index % wrong.length] as string
    const url = path.replaceAll(/\{[^}]+\}/g, token)
    const headers = headersOf(token)[index % 7] as Record<string, string>
    const payload =
      method === 'GET' ? {} : { payload: { project_id: token, name: token, [token]: 1 } }
    await inject(method, url, { headers, ...payload })
    await inject(method, `${url}?project_id=${token}&${token}=1&marker=${token}`, {
      headers: admin,
    })
  }
  expectNoToken(...wrong, adminToken)
})

test('v0.1, v1.0 and paths that there are not log none', async () => {
  log = ''
  for (const token of [...wrong, adminToken]) {
    const escaped = [...Buffer.from(token)].map(byte => `%${byte.toString(16)}`).join('')
    for (const url of [
      `/v1.0/ipam/tenants/${token}/ip_blocks/${token}.json?tenant_id=${token}`,
      `/v0.1/ipam/ip_blocks/${token}.xml?${token}`,
      `/ipam/tenants/${escaped}/networks/${escaped}`,
      `/${token}`,
      `/v2/${escaped}/${token};${token}#${token}`,
      `/v2/blocks/%${token}`,
      `http://${token}/v2/blocks/${token}`,
    ]) {
      for (const headers of headersOf(token)) await inject('GET', url, { headers })
      const body = { headers: { ...headersOf(token)[5], 'content-type': 'application/json' } }
      await inject('POST', url, { ...body, payload: `{"tenant_id": "${token}", ${token}` })
    }
  }
  expectNoToken(...wrong, adminToken)
})

test('a token that is made is in no line, nor is one with which the policy denies something', async () => {
  log = ''
  const payload = { name: 'ci', project_id: 'red', roles: ['reader'] }
  const made = expectStatus(201, await api.post('/v2/tokens', payload))
  const secret = String(made.secret)
  for (const token of wrong) {
    const headers = { 'x-auth-token': secret, 'content-type': 'application/json' }
    const wish = { name: 'a', project_id: token, roles: [token] }
    for (const url of ['/v2/tokens', '/v2/networks', '/v2/blocks']) {
      await inject('POST', url, { headers, payload: wish })
    }
    await inject('GET', `/v2/blocks?project_id=${token}`, { headers })
    await inject('GET', `/v1.0/ipam/tenants/${token}/ip_blocks`, { headers })
  }
  expect(log).toContain('denied')
  // Where a form of token is unknown, the name of a project is what it says it is.
  expectNoToken(ours, fernet, jwt, secret)
})

test('what is no request is not logged', async () => {
  log = ''
  await api.app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = api.app.server.address() as AddressInfo
  for (const token of wrong) {
    for (const sent of [
      `GET /${token} HTTP/1.1\r\nX-Auth-Token: ${token}\r\nHost a\r\n\r\n`,
      `${token}\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: a\r\nX-Auth-Token: ${token}\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`,
    ]) {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.write(sent)
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 4(00|31) /)
    }
  }
  expect(log).toContain('not a request')
  await inject('GET', '/healthz')
  expectNoToken(...wrong)
})

test('the log shows which route was asked about which thing', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  log = ''
  const asked = [
    `/v2/blocks/${block.id}?limit=1`,
    '/v2/policies/x',
    '/v2/quotas/default',
    '/nothing',
  ]
  for (const url of asked) await inject('GET', url, { headers: { 'x-auth-token': adminToken } })
  const lines = log
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(lines.map(({ path }) => path)).toEqual([
    `/v2/blocks/${block.id}`,
    '/v2/policies/*',
    '/v2/quotas/default',
    '/*',
  ])
  expect(lines[0]).toMatchObject({ method: 'GET', status: 200, address: '127.0.0.1' })
})
