import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { adminToken, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { readSamples, sumOf } from '../helpers/prometheus.ts'

const defaults = loadConfig(undefined, {})
/** None comes back while a test runs. */
const per_second = 0.01
const settings = {
  api: {
    ...defaults.api,
    headers_max: 20,
    url_bytes_max: 300,
    header_bytes_max: 2048,
    header_timeout_seconds: 1,
    request_timeout_seconds: 1,
    connections_max: 4,
  },
  rates: {
    ...defaults.rates,
    project_per_second: per_second,
    project_burst: 3,
    address_per_second: per_second,
    address_burst: 80,
    failed_authentications_per_second: per_second,
    failed_authentications_burst: 2,
  },
}
const api = useApi(settings)
let port = 0
beforeAll(async () => {
  await api.app.listen({ port: 0, host: '127.0.0.1' })
  port = (api.app.server.address() as AddressInfo).port
})
const open: Socket[] = []
afterAll(() => {
  for (const socket of open) socket.destroy()
})

let clients = 0
/** Each test has addresses of its own. */
const newAddress = () => `192.0.2.${++clients}`
type Request = { url?: string; token?: string; from?: string; headers?: Record<string, string> }
const get = ({ url = '/v2/blocks', token = adminToken, from, headers }: Request) =>
  api.send({
    method: 'GET',
    url,
    headers: { ...(token && { 'x-auth-token': token }), ...headers },
    ...(from && { remoteAddress: from }),
  })
const raw = (url: string, headers: Record<string, string>, remoteAddress = newAddress()) =>
  api.app.inject({ method: 'GET', url, headers, remoteAddress })

async function tokenOf(project_id: string, role = 'member'): Promise<string> {
  const payload = { name: 'ci', project_id, roles: [role] }
  return String(expectStatus(201, await api.post('/v2/tokens', payload)).secret)
}

async function refused(reason: string): Promise<number> {
  const { payload } = await raw('/metrics', { 'x-auth-token': adminToken })
  return sumOf(readSamples(payload), 'melange_refused_total', { reason }) ?? -1
}

/** Everything that is answered to a text, until the server ends the connection. */
async function talk(sent: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  open.push(socket)
  socket.write(sent)
  return text(socket)
}

test('a project that asks too often has to wait, with all of its tokens, and no other', async () => {
  const before = await refused('project')
  const [one, two] = [await tokenOf('often'), await tokenOf('often')]
  const other = await tokenOf('seldom')
  const answers = [await get({ token: one }), await get({ token: two }), await get({ token: one })]
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  expect(answers.map(({ headers }) => headers.ratelimit)).toEqual([
    '"project";r=2;t=100',
    '"project";r=1;t=200',
    '"project";r=0;t=300',
  ])
  expect(answers[0]?.headers['ratelimit-policy']).toBe('"project";q=3;w=300')
  const late = await get({ token: two })
  expectProblem(late, 'too_many_requests', { status: 429 })
  expect(late.headers['retry-after']).toBe('100')
  expect(late.headers.ratelimit).toMatch(/^"project";r=0;t=300$/)
  expect(await get({ token: other })).toMatchObject({ status: 200 })
  expect((await refused('project')) - before).toBe(1)

  const old = await raw('/v1.0/ipam/tenants/often/ip_blocks', { 'x-auth-token': one })
  expect(old.statusCode).toBe(429)
  expect(old.json()).toMatchObject({ TooManyRequests: { code: 429 } })
  const xml = { 'x-auth-token': one, accept: 'application/xml' }
  expect((await raw('/v0.1/ipam/tenants/often/ip_blocks', xml)).payload).toContain(
    '<TooManyRequests',
  )
})

test('whoever is in no project counts for himself, and so does a service of the cloud', async () => {
  const service = await get({ token: await tokenOf('services', 'service') })
  expect(service.headers.ratelimit).toMatch(/^"user";r=39999;t=1$/)
  const answer = await get({})
  expect(answer.headers['ratelimit-policy']).toBe('"user";q=40000;w=2')
  expect(answer.headers.ratelimit).toMatch(/^"user";r=39\d\d\d;t=1$/)
})

test('an address that guesses tokens has to wait, whatever it sends then', async () => {
  const from = newAddress()
  const before = await refused('failed_authentications')
  const known = await tokenOf('behind-the-same-proxy')
  expect(await get({ token: known, from: newAddress() })).toMatchObject({ status: 200 })
  for (const token of ['', '', '', 'wrong-1', 'wrong-2']) {
    expectProblem(await get({ from, token }), 'authentication_required')
  }
  const third = await get({ from, token: 'wrong-3' })
  expectProblem(third, 'too_many_requests', { status: 429 })
  expect(Number(third.headers['retry-after'])).toBeGreaterThan(90)
  // A token of our own that was valid lately is no guess; one that somebody chose may be.
  expect(await get({ from, token: known })).toMatchObject({ status: 200 })
  expectProblem(await get({ from }), 'too_many_requests')
  expect((await raw('/v1.0/ipam/ip_blocks', { 'x-auth-token': 'x' }, from)).statusCode).toBe(429)
  expect(await get({ from: newAddress() })).toMatchObject({ status: 200 })
  for (const url of ['/', '/healthz']) {
    expect(await get({ from, url })).toMatchObject({ status: 200 })
  }
  expect((await refused('failed_authentications')) - before).toBe(3)
})

test('guesses that were made at once are owed', async () => {
  const from = newAddress()
  const guesses = Array.from({ length: 6 }, (_, n) => get({ from, token: `wrong-${n}` }))
  const statuses = (await Promise.all(guesses)).map(({ status }) => status)
  expect(new Set(statuses).size).toBeLessThanOrEqual(2)
  const last = await get({ from })
  expectProblem(last, 'too_many_requests')
})

test('an address that asks too often has to wait, but to see whether the process is up', async () => {
  const [one, other] = ['2001:db8::1', '2001:db8::2:3:4:5']
  const asked = Array.from({ length: 80 }, (_, n) =>
    get({ url: '/v2/', token: '', from: n % 2 === 0 ? one : other }),
  )
  expect(new Set((await Promise.all(asked)).map(({ status }) => status))).toEqual(new Set([200]))
  for (const url of ['/v2/', '/v2/blocks', '/v2/openapi.json', '/v2/nothing']) {
    const answer = await raw(url, {}, other)
    expect(answer.statusCode).toBe(429)
    expect(answer.json()).toMatchObject({ code: 'too_many_requests' })
    expect(answer.headers.ratelimit).toBe('"address";r=0;t=8000')
  }
  expect((await raw('/v1.0/ipam/ip_blocks', {}, other)).json()).toHaveProperty('TooManyRequests')
  for (const url of ['/healthz', '/readyz']) {
    expect(await get({ url, token: '', from: one })).toMatchObject({ status: 200 })
  }
})

test('what is too long or too much is refused before the token is looked at', async () => {
  const long = `/v2/blocks?marker=${'a'.repeat(300)}`
  expectProblem(await get({ url: long, token: '' }), 'uri_too_long', { status: 414 })
  const headers = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`x-${n}`, 'a']))
  expectProblem(await get({ headers, token: '' }), 'headers_too_large', { status: 431 })
  const old = await raw(`/v1.0/ipam/ip_blocks?marker=${'a'.repeat(300)}`, {})
  expect([old.statusCode, Object.keys(old.json())]).toEqual([414, ['RequestURITooLong']])
  expect((await raw('/v1.0/ipam/ip_blocks', headers)).json()).toHaveProperty(
    'RequestHeaderFieldsTooLarge',
  )
  expect(await refused('url')).toBe(2)
  expect(await refused('headers')).toBe(2)
})

test('every answer says that it is not to be kept, and is what it says', async () => {
  for (const url of ['/', '/healthz', '/v2/blocks', '/v2/nothing', '/v1.0/ipam/ip_blocks']) {
    const { headers } = await raw(url, { 'x-auth-token': adminToken })
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
  }
})

test.each([
  ['headers above the size', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(3000)}\r\n\r\n`, 431],
  ['a URL above that size', `GET /${'a'.repeat(3000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
  ['headers that do not end', 'GET / HTTP/1.1\r\nHost: a\r\nX: ', 408],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
  ],
  ['no HTTP', 'HELO you\r\n\r\n', 400],
  ['a header folded onto a line', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n', 400],
])('%s: a problem, and the end of the connection', async (_what, sent, status) => {
  const [head = '', body = ''] = (await talk(sent)).split('\r\n\r\n')
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(head).toMatch(/^content-type: application\/problem\+json/im)
  expect(head).toMatch(/^connection: close/im)
  expect(JSON.parse(body)).toMatchObject({ status })
})

test('a body that does not end is given up', async () => {
  const before = await refused('timeout')
  const head = [
    'POST /v2/blocks HTTP/1.1',
    'Host: a',
    `X-Auth-Token: ${adminToken}`,
    'Content-Type: application/json',
    'Content-Length: 100',
  ]
  const answer = await talk(`${head.join('\r\n')}\r\n\r\n{"cidr"`)
  expect(answer).toMatch(/^HTTP\/1.1 408 /)
  expect(answer).toContain('"code":"request_timeout"')
  expect((await refused('timeout')) - before).toBe(1)
})

test('a bad Host is nobody’s origin, and no fault of ours', async () => {
  for (const host of ['[', 'a b', 'a/b', '<x>', 'a:b']) {
    const old = await raw('/v1.0/ipam/tenants/red/ip_blocks', { host, 'x-auth-token': adminToken })
    expect([host, old.statusCode]).toEqual([host, 200])
    const { versions } = (await raw('/', { host })).json()
    expect(versions[0].links[0].href).toMatch(/^http:\/\/[\w.[\]:]+\/v0\.1$/)
  }
  const named = (await raw('/', { host: 'ipam.example:9898' })).json()
  expect(named.versions[0].links[0].href).toBe('http://ipam.example:9898/v0.1')
})

test('there are so many connections, and no more', async () => {
  const before = await refused('connections')
  const sockets = Array.from({ length: 4 }, () => connect(port, '127.0.0.1'))
  open.push(...sockets)
  await Promise.all(sockets.map(socket => once(socket, 'connect')))
  expect(await talk('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n').catch(error => error.code)).toMatch(
    /^$|ECONNRESET|EPIPE/,
  )
  expect((await refused('connections')) - before).toBe(1)
  const ended = sockets.map(socket => once(socket, 'close'))
  for (const socket of sockets) socket.destroy()
  await Promise.all(ended)
})
