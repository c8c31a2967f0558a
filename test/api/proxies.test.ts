import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { adminToken, useApi } from '../helpers/api.ts'

const { rates } = loadConfig(undefined, {})
const lines: string[] = []
const sink = new Writable({
  write(chunk, _encoding, done) {
    lines.push(String(chunk))
    done()
  },
})
const proxy = '10.1.2.3'
const api = useApi({
  proxies: { trusted: ['10.1.0.0/16', '2001:db8::/64'] },
  rates: {
    ...rates,
    failed_authentications_per_second: 0.01,
    failed_authentications_burst: 1,
  },
  logger: pino({ level: 'info' }, sink),
})

const get = (url: string, remoteAddress: string, headers: Record<string, string> = {}) =>
  api.app.inject({
    method: 'GET',
    url,
    remoteAddress,
    headers: { host: 'own.example', 'x-auth-token': adminToken, ...headers },
  })

async function selfLink(remoteAddress: string, headers: Record<string, string>): Promise<string> {
  const { versions } = (await get('/', remoteAddress, headers)).json()
  return versions[0].links[0].href
}

async function loggedAddress(remoteAddress: string, forwarded: string): Promise<string> {
  lines.length = 0
  await get('/v2/blocks', remoteAddress, { 'x-forwarded-for': forwarded })
  return JSON.parse(lines.at(-1) ?? '{}').address
}

test('links say where a trusted proxy was reached, and believe nobody else', async () => {
  const told = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'ipam.example' }
  for (const peer of [proxy, '::ffff:10.1.2.3', '2001:db8::7']) {
    expect(await selfLink(peer, told)).toBe('https://ipam.example/v0.1')
    expect((await get('/v2/', peer, told)).json().versions[0].links[0].href).toBe(
      'https://ipam.example/v2/',
    )
  }
  for (const peer of ['10.2.0.1', '192.0.2.1', '2001:db8:0:1::7']) {
    expect(await selfLink(peer, told)).toBe('http://own.example/v0.1')
  }
  const odd = { 'x-forwarded-proto': 'javascript', 'x-forwarded-host': '"><script>' }
  expect(await selfLink(proxy, odd)).toMatch(/^http:\/\/[\w.:]+\/v0\.1$/)
})

test('links to the next page of the original API are those of the proxy, too', async () => {
  for (const cidr of ['10.0.0.0/24', '10.0.1.0/24']) {
    await api.createBlock(cidr, { project_id: 'red' })
  }
  const url = '/v1.0/ipam/tenants/red/ip_blocks?limit=1'
  const told = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'ipam.example' }
  const next = async (peer: string) => (await get(url, peer, told)).json().ip_blocks_links[0].href
  expect(await next(proxy)).toMatch(/^https:\/\/ipam\.example\/v1\.0\/ipam\//)
  expect(await next('192.0.2.1')).toMatch(/^http:\/\/own\.example\/v1\.0\/ipam\//)
})

test('the client is the last one before the trusted proxies', async () => {
  expect(await loggedAddress(proxy, '203.0.113.9')).toBe('203.0.113.9')
  expect(await loggedAddress(proxy, '198.51.100.1, 203.0.113.9, 10.1.0.9')).toBe('203.0.113.9')
  expect(await loggedAddress('192.0.2.1', '203.0.113.9')).toBe('192.0.2.1')
  expect(await loggedAddress(proxy, 'anything at all')).toBe(proxy)
  expect(await loggedAddress('::ffff:192.0.2.1', '')).toBe('192.0.2.1')
})

test('nobody escapes a limit by what he writes into X-Forwarded-For', async () => {
  const guess = async (peer: string, forwarded: string) => {
    const headers = { 'x-auth-token': 'wrong', 'x-forwarded-for': forwarded }
    return (await get('/v2/blocks', peer, headers)).statusCode
  }
  expect(await guess('192.0.2.9', '203.0.113.1')).toBe(401)
  expect(await guess('192.0.2.9', '203.0.113.2')).toBe(429)
  // Clients of one proxy are told apart, and what they put before their address means nothing.
  expect(await guess(proxy, '203.0.113.3')).toBe(401)
  expect(await guess(proxy, '203.0.113.4')).toBe(401)
  expect(await guess(proxy, '198.51.100.7, 203.0.113.4')).toBe(429)
})
