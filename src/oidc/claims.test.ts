import { Value } from 'typebox/value'
import { expect, test } from 'vitest'
import { Config } from '../config.ts'
import { type Claims, claimAt, type IssuerSettings, readClaims } from './claims.ts'

const issuer = 'https://login.example'

function settings(more: object = {}): IssuerSettings {
  const issuers = [{ issuer, audience: 'melange', ...more }]
  const { oidc } = Value.Default(Config, { oidc: { issuers } }) as Config
  return oidc.issuers[0] as IssuerSettings
}

const mapped = settings({
  claims: { project_id: 'tenant.id', roles: 'realm_access.roles' },
  role_map: { workers: 'member', leads: 'manager', chiefs: 'manager' },
  system_role_map: { operators: 'admin' },
})
const callerOf = (payload: Claims, by = mapped) => {
  const verdict = readClaims(payload, by)
  return verdict.kind === 'valid' ? verdict.caller : verdict
}

test('user, project and roles stand where the settings say', () => {
  const payload = {
    sub: 'u1',
    preferred_username: 'alice',
    tenant: { id: 'p1' },
    realm_access: { roles: ['workers', 'leads', 'chiefs', 'admin', 7] },
  }
  expect(callerOf(payload)).toEqual({
    authority: 'oidc',
    user_id: 'u1',
    user_name: 'alice',
    user_domain_id: issuer,
    project_id: 'p1',
    domain_id: null,
    system_scope: null,
    project_domain_id: null,
    roles: ['member', 'manager'],
    service: null,
  })
})

test('who has a role on the system is in no project', () => {
  const payload = { sub: 'u', tenant: { id: 'p' }, realm_access: { roles: 'workers operators' } }
  expect(callerOf(payload)).toMatchObject({
    system_scope: 'all',
    project_id: null,
    roles: ['admin'],
  })
})

test('what the settings do not name counts for nothing', () => {
  const roles = ['admin', 'constructor', '__proto__', 'toString']
  const payload = { sub: 'u', project_id: 'p', tenant: { id: 'p' }, realm_access: { roles }, roles }
  expect(callerOf(payload)).toMatchObject({ project_id: 'p', roles: [] })
  expect(callerOf({ ...payload, realm_access: { roles: ['workers'] } }, settings())).toMatchObject({
    project_id: null,
    system_scope: null,
    roles: [],
  })
})

test('roles in no project are none', () => {
  const payload = { sub: 'u', tenant: {}, realm_access: { roles: ['workers'] } }
  expect(callerOf(payload)).toMatchObject({ project_id: null, roles: [] })
})

test.each([
  [{}, 'sub'],
  [{ sub: '' }, 'sub'],
  [{ sub: 7 }, 'sub'],
  [{ sub: 'x'.repeat(256) }, 'sub'],
  [{ sub: 'u', tenant: { id: 7 } }, 'tenant.id'],
  [{ sub: 'u', tenant: { id: '' } }, 'tenant.id'],
  [{ sub: 'u', tenant: { id: ['p'] } }, 'tenant.id'],
])('%j says not who asks, for its %s', (payload, claim) => {
  const reason = expect.stringContaining(claim)
  expect(readClaims(payload, mapped)).toEqual({ kind: 'invalid', reason })
})

test('a claim is found by its name before it is looked for inside of others', () => {
  const payload = { 'https://a.b/c': 1, 'a.b': 2, a: { b: 3, c: [4] } }
  expect(claimAt(payload, 'https://a.b/c')).toBe(1)
  expect(claimAt(payload, 'a.b')).toBe(2)
  expect(claimAt(payload, 'a.c.0')).toBe(4)
  for (const path of ['a.d', 'a.b.x', 'a.toString', '__proto__', 'constructor.name', '']) {
    expect(claimAt(payload, path === 'a.b.x' ? 'a.c.x' : path)).toBeUndefined()
  }
})
