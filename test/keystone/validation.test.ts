import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useRealKeystone } from '../helpers/real-keystone.ts'

const real = useRealKeystone()
const use = { method: 'GET', path: '/v2/blocks' }
const ofProject = (id: string) => ({ project: { id } })
const ofAnn = () => real.world.logIn(real.world.users.ann, ofProject(real.world.projects.acme))
const ofService = (name: 'melange' | 'nova') =>
  real.world.logIn(real.world.users[name], ofProject(real.world.projects.service))

describe('Melange logs in', () => {
  test.each([
    ['with /v3', (url: string) => url],
    ['without a version', (url: string) => url.replace(/\/v3$/, '')],
  ])('by password, auth_url %s', async (_name, change) => {
    const keystone = real.connect({ auth_url: change(real.server.url) })
    expect((await keystone.validate(await ofAnn(), use)).kind).toBe('valid')
  })

  test('by names instead of ids', async () => {
    const { password } = real.world.users.melange
    const keystone = real.connect({
      ...{ user_id: undefined, project_id: undefined, password },
      ...{ username: 'melange', user_domain_name: 'Default' },
      ...{ project_name: 'service', project_domain_id: 'default' },
    })
    expect((await keystone.validate(await ofAnn(), use)).kind).toBe('valid')
  })

  test('by application credential', async () => {
    const { melange } = real.world.users
    const path = `/users/${melange.id}/application_credentials`
    const wanted = { application_credential: { name: 'of melange' } }
    const made = await real.world.call('POST', path, wanted, await ofService('melange'))
    const { id, secret } = made.application_credential
    const keystone = real.connect({
      application_credential_id: id,
      application_credential_secret: secret,
    })
    expect((await keystone.validate(await ofAnn(), use)).kind).toBe('valid')
  })

  test('and validates where the catalogue says, if it shall', async () => {
    const keystone = real.connect({ interface: 'internal', region: 'RegionOne' })
    expect((await keystone.validate(await ofAnn(), use)).kind).toBe('valid')
    const nowhere = real.connect({ interface: 'internal', region: 'RegionTwo' })
    expect(await nowhere.validate(await ofAnn(), use)).toMatchObject({
      kind: 'unavailable',
      reason: expect.stringContaining('has no internal URL'),
    })
  })

  test('with a wrong password nothing is known of any token', async () => {
    const keystone = real.connect({ password: 'wrong' })
    expect(await keystone.validate(await ofAnn(), use)).toMatchObject({
      kind: 'unavailable',
      reason: "Keystone refuses Melange's own credentials",
    })
  })

  test('and needs the role', async () => {
    const { ann } = real.world.users
    const keystone = real.connect({
      ...{ user_id: ann.id, password: ann.password },
      project_id: real.world.projects.acme,
    })
    expect(await keystone.validate(await ofService('nova'), use)).toMatchObject({
      kind: 'unavailable',
      reason: "Melange's own user may not validate tokens: it has not the role",
    })
  })
})

describe('scopes and roles', () => {
  const callerOf = async (token: string) => {
    const outcome = await real.connect().validate(token, use)
    if (outcome.kind !== 'valid') throw new Error(`${outcome.kind}: ${outcome.reason}`)
    return { ...outcome.caller, roles: outcome.caller.roles.toSorted() }
  }

  test('a project', async () => {
    expect(await callerOf(await ofAnn())).toEqual({
      authority: 'keystone',
      user_id: real.world.users.ann.id,
      user_name: 'ann',
      user_domain_id: 'default',
      project_id: real.world.projects.acme,
      domain_id: null,
      system_scope: null,
      project_domain_id: 'default',
      roles: ['member', 'reader'],
      service: null,
    })
  })

  test('a domain', async () => {
    const { world } = real
    const caller = await callerOf(
      await world.logIn(world.users.boss, { domain: { id: world.corp } }),
    )
    expect(caller).toMatchObject({
      user_domain_id: world.corp,
      project_id: null,
      domain_id: world.corp,
      system_scope: null,
      roles: ['admin', 'member', 'reader'],
    })
  })

  test('the system', async () => {
    const token = await real.world.logIn(real.world.users.root, { system: { all: true } })
    expect(await callerOf(token)).toMatchObject({
      project_id: null,
      domain_id: null,
      system_scope: 'all',
    })
  })

  test('none is refused', async () => {
    const token = await real.world.logIn(real.world.users.nobody)
    expect(await real.connect().validate(token, use)).toMatchObject({
      kind: 'invalid',
      reason: expect.stringContaining('no scope'),
    })
  })

  test('garbage is nobody, and neither is what was cut off a token', async () => {
    const keystone = real.connect()
    const token = await ofAnn()
    for (const bad of ['gAAAAABpGarbageGarbageGarbage', token.slice(0, -1), `${token}A`]) {
      expect((await keystone.validate(bad, use)).kind).toBe('invalid')
    }
  })
})

describe('application credentials with access rules', () => {
  test('reach what their rules allow', async () => {
    const { ann } = real.world.users
    const access_rules = [
      { service: 'ipam', method: 'GET', path: '/v2/blocks/*' },
      { service: 'network', method: 'DELETE', path: '/v2/blocks/*' },
    ]
    const path = `/users/${ann.id}/application_credentials`
    const wanted = { application_credential: { name: 'reads blocks', access_rules } }
    const made = await real.world.call('POST', path, wanted, await ofAnn())
    const token = await real.world.logInWith(made.application_credential)
    const keystone = real.connect()
    const kindOf = async (method: string, asked: string) =>
      (await keystone.validate(token, { method, path: asked })).kind
    expect(await kindOf('GET', '/v2/blocks/b1')).toBe('valid')
    expect(await kindOf('GET', '/v2/blocks/b1/routes')).toBe('invalid')
    expect(await kindOf('DELETE', '/v2/blocks/b1')).toBe('invalid')
    const dns = real.connect({ service_type: 'dns' })
    expect((await dns.validate(token, { method: 'GET', path: '/v2/blocks/b1' })).kind).toBe(
      'invalid',
    )
  })
})

describe('revocation', () => {
  test('is seen when the time in the cache is over', async () => {
    const keystone = real.connect({ token_cache_seconds: 2 })
    const token = await ofAnn()
    expect((await keystone.validate(token, use)).kind).toBe('valid')
    await real.world.revoke(token)
    const deadline = Date.now() + 2500
    while ((await keystone.validate(token, use)).kind === 'valid') {
      if (Date.now() > deadline) throw new Error('the revoked token is still valid')
      await delay(100)
    }
    expect((await real.connect().validate(token, use)).kind).toBe('invalid')
  })

  test('is seen at once where there is no cache', async () => {
    const keystone = real.connect({ token_cache_seconds: 0 })
    const token = await ofAnn()
    expect((await keystone.validate(token, use)).kind).toBe('valid')
    await real.world.revoke(token)
    expect((await keystone.validate(token, use)).kind).toBe('invalid')
  })

  test("of Melange's own token is mended by a new one", async () => {
    const keystone = real.connect({ token_cache_seconds: 0 })
    expect((await keystone.validate(await ofAnn(), use)).kind).toBe('valid')
    const { melange } = real.world.users
    // A new password ends all tokens of a user.
    await real.world.call('PATCH', `/users/${melange.id}`, { user: { password: 'another' } })
    await real.world.call('PATCH', `/users/${melange.id}`, { user: { password: melange.password } })
    await delay(1100) // Also of those that it gets in the same second.
    expect(await keystone.validate(await ofAnn(), use)).toMatchObject({ kind: 'valid' })
    expect(keystone.logins()).toBe(2)
  })
})

test('one question for 200 requests with a new token', async () => {
  const keystone = real.connect()
  const token = await ofAnn()
  const begin = performance.now()
  const outcomes = await Promise.all(
    Array.from({ length: 200 }, () => keystone.validate(token, use)),
  )
  for (const outcome of outcomes) expect(outcome).toMatchObject({ kind: 'valid' })
  expect(performance.now() - begin).toBeLessThan(10_000)
})

test('the rotation of keys is not noticed', async () => {
  const keystone = real.connect({ token_cache_seconds: 0 })
  const before = await ofAnn()
  expect((await keystone.validate(before, use)).kind).toBe('valid')
  await real.server.rotateKeys()
  const between = await ofAnn()
  for (const token of [before, between]) {
    expect((await keystone.validate(token, use)).kind).toBe('valid')
  }
  // With three keys the third rotation throws away the one that the first token is of.
  for (let rotation = 0; rotation < 3; rotation++) await real.server.rotateKeys()
  await real.server.restart({ token_seconds: 3600, allow_expired_seconds: 172_800 })
  expect((await keystone.validate(before, use)).kind).toBe('invalid')
  expect((await keystone.validate(await ofAnn(), use)).kind).toBe('valid')
}, 120_000)

describe('service tokens', () => {
  test('tell which service asks', async () => {
    const { nova } = real.world.users
    const outcome = await real
      .connect()
      .validate(await ofAnn(), { ...use, serviceToken: await ofService('nova') })
    expect(outcome).toMatchObject({
      kind: 'valid',
      caller: {
        user_name: 'ann',
        service: { user_id: nova.id, project_id: real.world.projects.service },
      },
    })
  })

  test('need the role, and a bad one spoils a good user token', async () => {
    const keystone = real.connect()
    for (const serviceToken of [await ofAnn(), 'gAAAAABpGarbageGarbageGarbage']) {
      const outcome = await keystone.validate(await ofAnn(), { ...use, serviceToken })
      expect(outcome.kind).toBe('invalid')
    }
  })
})

describe('where tokens live for seconds', () => {
  beforeAll(() => real.server.restart({ token_seconds: 4, allow_expired_seconds: 8 }), 120_000)
  afterAll(
    () => real.server.restart({ token_seconds: 3600, allow_expired_seconds: 172_800 }),
    120_000,
  )

  test('each expires in time, although it is remembered', async () => {
    const keystone = real.connect()
    const token = await ofAnn()
    const end = Date.now() + 4000
    let valid = 0
    let refusedAt = 0
    while (refusedAt === 0) {
      const { kind } = await keystone.validate(token, use)
      if (kind === 'invalid') refusedAt = Date.now()
      else valid++
      if (Date.now() > end + 3000) throw new Error('the token does not expire')
      await delay(50)
    }
    expect(valid).toBeGreaterThan(5)
    expect(refusedAt).toBeGreaterThan(end - 1500) // Keystone counts in whole seconds.
    expect(refusedAt).toBeLessThan(end + 1000)
    // Only a service may go on with it, for as long as Keystone knows it.
    const serviceToken = await ofService('nova')
    expect(await keystone.validate(token, { ...use, serviceToken })).toMatchObject({
      kind: 'valid',
      caller: { user_name: 'ann' },
    })
    expect((await keystone.validate(token, use)).kind).toBe('invalid')
    await delay(Math.max(0, end + 9000 - Date.now()))
    const fresh = real.connect()
    const late = await fresh.validate(token, { ...use, serviceToken: await ofService('nova') })
    expect(late.kind).toBe('invalid')
  }, 60_000)

  test("Melange's own is renewed in time, and not with every request", async () => {
    const keystone = real.connect({ token_cache_seconds: 0 })
    const end = Date.now() + 12_000
    let requests = 0
    while (Date.now() < end) {
      const outcome = await keystone.validate(await ofAnn(), use)
      expect(outcome).toMatchObject({ kind: 'valid' })
      requests++
      await delay(100)
    }
    expect(requests).toBeGreaterThan(20)
    expect(keystone.logins()).toBeGreaterThan(2)
    expect(keystone.logins()).toBeLessThan(requests / 2)
  }, 60_000)
})
