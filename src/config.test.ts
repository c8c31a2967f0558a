import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadConfig } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'melange-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

function load(settings: object) {
  const file = join(folder, 'melange.yaml')
  writeFileSync(file, JSON.stringify(settings))
  return loadConfig(file, {})
}
const issuer = 'https://login.example/realms/cloud'
const audience = 'melange'

test('an issuer needs a URL and an audience; the rest has defaults', () => {
  expect(load({ oidc: { issuers: [{ issuer, audience }] } }).oidc.issuers).toEqual([
    {
      issuer,
      audience,
      algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      claims: { user_id: 'sub', user_name: 'preferred_username', roles: 'roles' },
      role_map: {},
      system_role_map: {},
    },
  ])
  expect(load({}).oidc.issuers).toEqual([])
})

test.each(['http://localhost:8080/realms/cloud', 'http://127.0.0.1:8080', 'http://[::1]:8080'])(
  'an issuer of this machine may do without TLS, as %s',
  local => {
    expect(load({ oidc: { issuers: [{ issuer: local, audience }] } }).oidc.issuers).toHaveLength(1)
  },
)

test('a proxy that says who asks is not believed beside Keystone', () => {
  const melange_v1 = { identity_headers: true }
  expect(load({ melange_v1 }).melange_v1.identity_headers).toBe(true)
  expect(load({ keystone: { enabled: true } }).keystone.enabled).toBe(true)
  expect(() => load({ melange_v1, keystone: { enabled: true } })).toThrow(
    /^melange_v1.identity_headers .* keystone.enabled/,
  )
})

test.each<[string, object[]]>([
  ['over http', [{ issuer: 'http://login.example', audience }]],
  ['that only looks local', [{ issuer: 'http://localhost.example', audience }]],
  ['that only begins so', [{ issuer: 'http://127.0.0.1.example/', audience }]],
  ['that is elsewhere', [{ issuer: 'http://127.0.0.1:80@login.example/', audience }]],
  ['with a query', [{ issuer: `${issuer}?x`, audience }]],
  ['without audience', [{ issuer }]],
  ['with a shared key', [{ issuer, audience, algorithms: ['HS256'] }]],
  ['without signature', [{ issuer, audience, algorithms: ['none'] }]],
  ['without algorithms', [{ issuer, audience, algorithms: [] }]],
  ['with something unknown', [{ issuer, audience, secret: 'x' }]],
  [
    'that is there twice',
    [
      { issuer, audience },
      { issuer, audience: 'other' },
    ],
  ],
])('an issuer %s is refused', (_name, issuers) => {
  expect(() => load({ oidc: { issuers } })).toThrow(/^oidc[. ]/)
})

test('a certificate needs its key, and a key its certificate', () => {
  expect(() => load({ tls: { certificate: 'a.pem' } })).toThrow('tls.certificate needs tls.key')
  expect(() => load({ tls: { key: 'a.key' } })).toThrow('tls.key needs tls.certificate')
})

test.each([
  '0.0.0.0/0',
  '::/0',
  '10.0.0.0/33',
  '10.0.0',
  'proxy.example',
  'loopback',
  '2001:db8::/129',
])('%s is no proxy', text => {
  const why = `proxies.trusted.1 is no IP address or CIDR: ${text}`
  expect(() => load({ proxies: { trusted: ['10.0.0.1', text] } })).toThrow(why)
})

test('proxies are addresses or CIDRs, and no limit has to be written', () => {
  const trusted = ['10.0.0.1', '10.0.0.0/8', '2001:db8::1', '2001:db8::/32']
  expect(load({ proxies: { trusted } }).proxies.trusted).toEqual(trusted)
  expect(load({}).proxies.trusted).toEqual([])
  expect(load({ rates: { project_per_second: null } }).rates.project_per_second).toBeNull()
  expect(load({ rates: {} }).rates.project_per_second).toBe(1000)
  expect(() => load({ rates: { project_per_second: 0 } })).toThrow('rates.project_per_second')
})
