import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import { createOwnTokens } from '../../src/auth/own-tokens.ts'
import { rows } from '../../src/db/database.ts'
import type { TokenRequest } from '../../src/resources/tokens/schema.ts'
import { createToken, removeOldTokens, resetAdminToken } from '../../src/resources/tokens/store.ts'
import { type Api, adminToken, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { contentOf } from '../helpers/writes.ts'

const api = useApi()
const IdRow = Type.Object({ id: Type.String() })
const inRed = { name: 'ci', project_id: 'red', roles: ['member'] }
const onSystem = { name: 'operator', system_scope: 'all', roles: ['admin'] } as const
const unknownId = '01900000-0000-7000-8000-000000000000'
const unknownToken = `melange_${'x'.repeat(43)}`

const create = async (request: object, of: Api = api) =>
  expectStatus(201, await of.post('/v2/tokens', request))
const revoke = (id: string, of: Api = api) => of.delete(`/v2/tokens/${id}`)
/** What a token is answered; whatever else it may be good for, it may list blocks. */
const statusOf = async (token: string | null, of: Api = api) => {
  const headers = { 'x-auth-token': String(token) }
  return (await of.send({ method: 'GET', url: '/v2/blocks', headers })).status
}
const as = (token: string | null, payload: object, of: Api = api) => {
  const headers = { 'x-auth-token': String(token) }
  return of.send({ method: 'POST', url: '/v2/tokens', headers, payload })
}
const eventsOf = async (of: Api = api) => (await of.get('/v2/events')).body.events

test('a token is told once, works, and is revoked at once', async () => {
  const { secret, ...token } = await create({ ...inRed, description: 'of the builds' })
  expect(secret).toMatch(/^melange_[\w-]{43}$/)
  expect(token).toEqual({
    id: expect.any(String),
    ...inRed,
    description: 'of the builds',
    prefix: secret?.slice(0, 14),
    system_scope: null,
    created_by: 'admin',
    created_at: expect.any(String),
    expires_at: null,
    revoked_at: null,
    last_used_at: null,
  })
  expect(expectStatus(200, await api.get(`/v2/tokens/${token.id}`))).toEqual(token)
  expect(await statusOf(secret)).toBe(200)
  const revoked = expectStatus(200, await revoke(token.id))
  expect(revoked).toEqual({ ...token, revoked_at: expect.any(String) })
  expect(await statusOf(secret)).toBe(401)
  expect(expectStatus(200, await revoke(token.id.toUpperCase()))).toEqual(revoked)
  expect(await eventsOf()).toMatchObject([
    { type: 'token.created', object_id: token.id, project_id: 'red', data: token },
    { type: 'token.revoked', object_id: token.id, project_id: 'red', data: revoked },
  ])
})

test('the answer with a secret is not to be kept by anyone on the way', async () => {
  const { headers, body } = await api.post('/v2/tokens', inRed)
  expect(headers).toMatchObject({ 'cache-control': 'no-store', location: `/v2/tokens/${body.id}` })
})

test('nowhere in the database is a secret, with or without a key', async () => {
  const key = { 'idempotency-key': 'once' }
  const first = await api.request('POST', '/v2/tokens', inRed, key)
  const again = await api.request('POST', '/v2/tokens', inRed, key)
  const { secret } = await create(inRed)
  expect(again.body).toEqual({ ...first.body, secret: null })
  expect(again.headers).toMatchObject({ 'idempotency-replayed': 'true' })
  const content = JSON.stringify(await contentOf(api.db))
  expect(content).toContain(first.body.prefix)
  for (const told of [first.body.secret, secret]) {
    expect(content).not.toContain(String(told))
    expect(content).not.toContain(String(told).slice(14))
  }
})

test('a token ends when it expires', async () => {
  const { secret, id, expires_at, created_at } = await create({ ...inRed, lifetime_seconds: 1 })
  const seconds = (Date.parse(String(expires_at)) - Date.parse(created_at)) / 1000
  expect(Math.abs(seconds - 1)).toBeLessThan(0.1)
  const before = await statusOf(secret)
  await new Promise(resolve =>
    setTimeout(resolve, Date.parse(String(expires_at)) - Date.now() + 50),
  )
  expect(before).toBe(200)
  expect(await statusOf(secret)).toBe(401)
  expect((await api.get('/v2/tokens')).body.tokens).toEqual([])
  expect((await api.get('/v2/tokens?state=ended')).body.tokens).toMatchObject([{ id }])
})

test.each<[string, object]>([
  ['no scope', { name: 'x', roles: ['member'] }],
  ['two scopes', { ...inRed, system_scope: 'all' }],
  ['no role', { ...inRed, roles: [] }],
  ['a role twice', { ...inRed, roles: ['member', 'member'] }],
  ['no name', { project_id: 'red', roles: ['member'] }],
  ['a secret of its own', { ...inRed, secret: unknownToken }],
  ['no time', { ...inRed, lifetime_seconds: 0 }],
  ['another scope', { ...inRed, project_id: null, system_scope: 'some' }],
])('a token with %s is refused', async (_name, request) => {
  expectProblem(await api.post('/v2/tokens', request), 'invalid_request', { status: 400 })
})

test('tokens are listed by what they are for, and in pages', async () => {
  const red = await create(inRed)
  const blue = await create({ ...inRed, name: 'other', project_id: 'blue' })
  const system = await create(onSystem)
  const made = await as(system.secret, inRed)
  await revoke(blue.id)
  const ids = async (query: string) =>
    (await api.pages('tokens', `/v2/tokens?${query}`)).map(page => page.map(({ id }) => id))
  expect(await ids('state=all&limit=3')).toEqual([[red.id, blue.id, system.id], [made.body.id]])
  expect(await ids('')).toEqual([[red.id, system.id, made.body.id]])
  expect(await ids('state=ended')).toEqual([[blue.id]])
  expect(await ids('project_id=blue')).toEqual([[]])
  expect(await ids('project_id=blue&state=all&name=other')).toEqual([[blue.id]])
  expect(await ids('system_scope=all')).toEqual([[system.id]])
  expect(await ids(`prefix=${red.prefix}`)).toEqual([[red.id]])
  expect(await ids(`created_by=${system.id}`)).toEqual([[made.body.id]])
  // A whole token does not belong into a URL, which is logged.
  const whole = await api.get(`/v2/tokens?prefix=${red.secret}`)
  expectProblem(whole, 'invalid_request', { field: 'prefix' })
})

test('what there is not cannot be shown or revoked', async () => {
  expectProblem(await api.get(`/v2/tokens/${unknownId}`), 'token_not_found', { status: 404 })
  expectProblem(await revoke(unknownId), 'token_not_found', { status: 404 })
})

test('nobody makes a token that can do more than the own one', async () => {
  const manager = await create({ ...inRed, roles: ['manager'] })
  expect(await as(manager.secret, inRed)).toMatchObject({
    status: 201,
    body: { created_by: manager.id },
  })
  const excesses: TokenRequest[] = [
    { ...inRed, roles: ['admin'] },
    { ...inRed, roles: ['reader', 'service'] },
  ]
  for (const excess of excesses) {
    const refused = await as(manager.secret, excess)
    expectProblem(refused, 'token_exceeds_caller', { status: 403 })
  }
  const elsewhere: TokenRequest[] = [
    { ...inRed, project_id: 'blue' },
    { name: 'x', system_scope: 'all', roles: ['reader'] },
  ]
  const projectAdmin = await create({ ...inRed, roles: ['admin'] })
  for (const excess of elsewhere) {
    expectProblem(await as(manager.secret, excess), 'forbidden', { status: 403 })
    const refused = await as(projectAdmin.secret, excess)
    expectProblem(refused, 'token_exceeds_caller', { status: 403 })
  }
  expect((await api.get('/v2/tokens')).body.tokens).toHaveLength(3)
})

test('keys of different users, and of one user in different scopes, do not meet', async () => {
  const one = await create(onSystem)
  const other = await create(onSystem)
  const key = { 'idempotency-key': 'the same' }
  const payload = { name: 'a network' }
  const ids = await Promise.all(
    [one, one, other, { secret: adminToken }].map(async ({ secret }) => {
      const headers = { ...key, 'x-auth-token': String(secret) }
      const answer = await api.send({ method: 'POST', url: '/v2/networks', headers, payload })
      return expectStatus(201, answer).id
    }),
  )
  expect(ids[0]).toBe(ids[1])
  expect(new Set(ids).size).toBe(3)
})

test('what ended long ago is removed, but not what the first start made', async () => {
  await resetAdminToken(api.db)
  await resetAdminToken(api.db)
  const { id } = await create(inRed)
  const kept = await create({ ...inRed, lifetime_seconds: 3600 })
  await revoke(id)
  await api.db.execute(`update tokens set revoked_at = revoked_at - interval '3 days'`)
  expect(await removeOldTokens(api.db, { days: 4, limit: 10 })).toBe(0)
  expect(await removeOldTokens(api.db, { days: 2, limit: 10 })).toBe(1)
  const left = (await api.get('/v2/tokens?state=all')).body.tokens
  expect(left.map(token => [token.name, token.revoked_at === null])).toEqual([
    ['admin', false],
    ['admin', true],
    [kept.name, true],
  ])
})

describe('without a configured admin token', () => {
  const bare = useApi({ admin_token: undefined })
  const withToken = (method: 'DELETE' | 'POST', url: string, token: string, payload?: object) =>
    bare.send({ method, url, headers: { 'x-auth-token': token }, ...(payload && { payload }) })

  test('the last token of an admin of the system is not revoked over the API', async () => {
    const first = await resetAdminToken(bare.db)
    const [admin] = await rows(bare.db, IdRow)`select id from tokens`
    const url = `/v2/tokens/${admin?.id}`
    const auditor = { name: 'a', system_scope: 'all', roles: ['reader'] }
    expect((await withToken('POST', '/v2/tokens', first, auditor)).status).toBe(201)
    expectProblem(await withToken('DELETE', url, first), 'last_admin_token', { status: 409 })
    const second = (await withToken('POST', '/v2/tokens', first, onSystem)).body
    const third = (await withToken('POST', '/v2/tokens', first, onSystem)).body
    // Whatever is revoked at the same time, one stays.
    const targets = [url, `/v2/tokens/${second.id}`, `/v2/tokens/${third.id}`]
    const answers = await Promise.all(targets.map(target => withToken('DELETE', target, first)))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 409])
  })
})

describe('what is remembered of tokens', () => {
  const settings = { admin_token: undefined, cache_max: 3 }
  const make = async () => (await createToken(api.db, inRed, null)).secret
  const open = (cache_seconds = 600) => {
    let asked = 0
    const db = {
      ...api.db,
      query: (...args: Parameters<typeof api.db.query>) => {
        asked += 1
        return api.db.query(...args)
      },
    }
    const onError = (error: unknown) => {
      throw error
    }
    const tokens = createOwnTokens({ db, ...settings, cache_seconds, onError })
    const judge = async (token: string) => {
      const use = { token, serviceToken: undefined, method: 'GET', url: '/' }
      return (await tokens.validate(use))?.kind
    }
    return { tokens, judge, asked: () => asked }
  }

  test('the database is asked once, also for many requests at a time', async () => {
    const { tokens, judge, asked } = open()
    const token = await make()
    const kinds = await Promise.all(Array.from({ length: 20 }, () => judge(token)))
    expect(new Set([...kinds, await judge(token)])).toEqual(new Set(['valid']))
    expect(asked()).toBe(1)
    await tokens.close()
  })

  test('tokens that there are not push none out that there are', async () => {
    const { tokens, judge, asked } = open()
    const token = await make()
    await judge(token)
    for (const letter of 'abcdefg')
      expect(await judge(`melange_${letter.repeat(43)}`)).toBe('invalid')
    await judge(`melange_${'g'.repeat(43)}`)
    await judge(token)
    expect(asked()).toBe(8)
    await tokens.close()
  })

  test('what has not the form of a token is nothing that the database is asked about', async () => {
    const { tokens, judge, asked } = open()
    for (const odd of [
      'melange_',
      'x'.repeat(51),
      `${unknownToken}x`,
      'a.b.c',
      `${unknownToken}\n`,
    ]) {
      expect(await judge(odd)).toBeUndefined()
    }
    expect(asked()).toBe(0)
    await tokens.close()
  })

  test('when tokens were used last is written at the end, or once a minute', async () => {
    const { tokens, judge, asked } = open()
    const token = await make()
    await make()
    await judge(token)
    await judge(token)
    await tokens.close()
    expect(asked()).toBe(2)
    const found = (await api.get('/v2/tokens')).body.tokens
    const used = found.filter(({ last_used_at }) => last_used_at !== null)
    expect(used).toMatchObject([{ prefix: token.slice(0, 14) }])
    expect(used[0]?.last_used_at).toMatch(/:00\.000000Z$/)
  })

  test('a token that another process revoked is refused when the time is over', async () => {
    const { tokens, judge } = open(1)
    const token = await make()
    expect(await judge(token)).toBe('valid')
    const [{ id } = { id: '' }] = (await api.get('/v2/tokens')).body.tokens
    await revoke(id)
    await new Promise(resolve => setTimeout(resolve, 1100))
    expect(await judge(token)).toBe('invalid')
    await tokens.close()
  })

  test('a token that another process revoked is seen when it is forgotten', async () => {
    const { tokens, judge } = open()
    const token = await make()
    expect(await judge(token)).toBe('valid')
    const [{ id } = { id: '' }] = (await api.get('/v2/tokens')).body.tokens
    await revoke(id)
    expect(await judge(token)).toBe('valid')
    tokens.forget()
    expect(await judge(token)).toBe('invalid')
    await tokens.close()
  })
})
