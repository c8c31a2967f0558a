import { createHmac } from 'node:crypto'
import { type CryptoKey, exportSPKI, importJWK, UnsecuredJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { audience, OidcIssuer, oidcSettings } from '../../test/helpers/oidc-issuer.ts'
import type { OidcSettings } from '../oidc-config.ts'
import { createOidc } from './authority.ts'

let issuer: OidcIssuer
const started: OidcIssuer[] = []
const start = async () => {
  const one = await OidcIssuer.start()
  started.push(one)
  return one
}
beforeAll(async () => {
  issuer = await start()
  await issuer.addKey('rsa', 'RS256')
})
afterEach(() => {
  issuer.handler = undefined
  issuer.asked.length = 0
})
afterAll(async () => {
  for (const one of started) await one.stop()
})

/** An authority with a clock of its own, which stands still until it is put forward. */
function open(issuers: readonly OidcIssuer[] = [issuer], settings: Partial<OidcSettings> = {}) {
  const clock = { ahead: 0 }
  const begin = Date.now()
  const now = () => begin + clock.ahead * 1000
  const oidc = createOidc({ settings: oidcSettings(issuers, {}, settings), now })
  const judge = async (token: string) => {
    const use = { token, serviceToken: undefined, method: 'GET', url: '/' }
    return (await oidc.validate(use)) ?? { kind: 'not ours' as const }
  }
  const kindOf = async (token: string) => (await judge(token)).kind
  return { clock, judge, kindOf, remembers: oidc.remembers }
}

const base64 = (value: object | string) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const claimsOf = (more: object = {}) => {
  const seconds = Math.floor(Date.now() / 1000)
  return { iss: issuer.url, aud: audience, sub: 'alice', iat: seconds, exp: seconds + 300, ...more }
}

test('a token says who asks, by keys of any kind that counts', async () => {
  const { judge } = open()
  for (const kid of ['first', 'rsa']) {
    const token = await issuer.sign({ project: 'p', roles: ['workers'] }, { kid })
    expect(await judge(token)).toMatchObject({
      kind: 'valid',
      caller: { user_id: 'alice', user_domain_id: issuer.url, project_id: 'p', roles: ['member'] },
    })
  }
})

test.each([
  ['other audience', { aud: 'another' }, {}, 'aud'],
  ['no audience', { aud: undefined }, {}, 'aud'],
  ['several other audiences', { aud: ['a', 'b'] }, {}, 'aud'],
  ['end in the past', { exp: 1_000_000_000 }, {}, 'expired'],
  ['no end', { exp: undefined }, {}, 'exp'],
  ['beginning in the future', { nbf: 4_000_000_000 }, {}, 'nbf'],
  ['no user', { sub: undefined }, {}, 'sub'],
  ['another type', {}, { header: { typ: 'logout+jwt' } }, 'type'],
  ['a key that the issuer does not have', {}, { header: { kid: 'unknown' } }, 'kid'],
  ['the kid of a key of another kind', {}, { header: { kid: 'rsa' } }, 'kid'],
])('a token with %s is refused', async (_name, claims, signing, reason) => {
  const { judge } = open()
  expect(await judge(await issuer.sign(claims, signing))).toEqual({
    kind: 'invalid',
    reason: expect.stringContaining(reason),
  })
})

test('a token of several audiences and of any type for access counts', async () => {
  const { kindOf } = open()
  expect(await kindOf(await issuer.sign({ aud: ['another', audience] }))).toBe('valid')
  for (const typ of ['JWT', 'jwt', 'at+jwt', 'application/at+jwt']) {
    expect(await kindOf(await issuer.sign({}, { header: { typ } }))).toBe('valid')
  }
})

describe('a token that the issuer did not sign is refused', () => {
  test('that nobody signed', async () => {
    const { judge } = open()
    const none = new UnsecuredJWT(claimsOf()).encode()
    expect(none).toMatch(/^[\w-]+\.[\w-]+\.$/)
    const reason = expect.stringContaining('algorithm')
    expect(await judge(none)).toEqual({ kind: 'invalid', reason })
    for (const alg of ['None', 'NONE', 'nOnE', '', null, ['none']]) {
      const odd = `${base64({ alg })}.${base64(claimsOf())}.`
      expect(await judge(odd)).toMatchObject({ kind: 'invalid' })
    }
  })

  test('that is signed with the public key as a shared one', async () => {
    const { judge } = open()
    const { jwk } = issuer.keys.get('rsa') ?? {}
    const pem = await exportSPKI((await importJWK(jwk ?? {}, 'RS256')) as CryptoKey)
    const secrets = [pem, pem.trim(), JSON.stringify(jwk), Buffer.from(String(jwk?.n), 'base64url')]
    for (const secret of secrets) {
      for (const alg of ['HS256', 'HS512']) {
        const signed = `${base64({ alg, kid: 'rsa' })}.${base64(claimsOf())}`
        const mac = createHmac(alg.replace('HS', 'sha'), secret).update(signed).digest('base64url')
        const reason = expect.stringContaining('algorithm')
        expect(await judge(`${signed}.${mac}`)).toEqual({ kind: 'invalid', reason })
      }
    }
  })

  test('that is changed, or signed with another key, or brings its key along', async () => {
    const { judge } = open()
    const [header, , signature] = (await issuer.sign()).split('.')
    const changed = `${header}.${base64(claimsOf({ sub: 'bob' }))}.${signature}`
    const thief = new OidcIssuer()
    thief.url = issuer.url
    await thief.addKey('first')
    const { jwk } = thief.keys.get('first') ?? {}
    const tokens = [
      changed,
      await thief.sign(),
      await thief.sign({}, { header: { jwk } }),
      await thief.sign({}, { header: { jku: `${issuer.url}/keys` } }),
    ]
    for (const token of tokens) {
      const reason = expect.stringContaining('signature')
      expect(await judge(token)).toEqual({ kind: 'invalid', reason })
    }
  })

  test('that another issuer signed in its name', async () => {
    const other = await start()
    const { kindOf } = open([issuer, other])
    expect(await kindOf(await other.sign())).toBe('valid')
    expect(await kindOf(await other.sign({ iss: issuer.url }))).toBe('invalid')
    expect(await kindOf(await issuer.sign({ iss: other.url }))).toBe('invalid')
  })
})

test('what is no token of these issuers is left to others', async () => {
  const { kindOf } = open()
  const foreign = await issuer.sign({ iss: 'https://elsewhere.example' })
  const nobody = await issuer.sign({ iss: undefined })
  const odd = [
    `${base64({})}.${base64('[]')}.x`,
    `${base64({})}.${base64({ iss: [issuer.url] })}.x`,
  ]
  const texts = ['opaque', 'a.b', 'a.b.c.d', 'gAAAAABl', '..', '....', `${await issuer.sign()}.x`]
  for (const token of [foreign, nobody, ...odd, ...texts])
    expect(await kindOf(token)).toBe('not ours')
  expect(await open([]).kindOf(await issuer.sign())).toBe('not ours')
  expect(issuer.asked).toEqual([])
})

test('a token that is too large is not looked at', async () => {
  const { judge } = open()
  const large = await issuer.sign({ groups: 'x'.repeat(9000) })
  const started = performance.now()
  const reason = expect.stringContaining('8192')
  expect(await judge(large)).toEqual({ kind: 'invalid', reason })
  expect(await judge(`a.b.${'c'.repeat(10_000_000)}`)).toEqual({ kind: 'invalid', reason })
  expect(performance.now() - started).toBeLessThan(2000)
  expect(issuer.asked).toEqual([])
})

test('an age that is too great is refused, and so is one that is not told', async () => {
  const { kindOf } = open([issuer], { token_age_seconds_max: 60, clock_tolerance_seconds: 5 })
  const iat = Math.floor(Date.now() / 1000) - 70
  expect(await kindOf(await issuer.sign())).toBe('valid')
  expect(await kindOf(await issuer.sign({ iat }))).toBe('invalid')
  expect(await kindOf(await issuer.sign({ iat: undefined }))).toBe('invalid')
})

describe('what is remembered of a token', () => {
  test('ends with the token, give or take the clocks', async () => {
    const { clock, kindOf, remembers } = open([issuer], { keys_seconds: 86_400 })
    const token = await issuer.sign()
    const kinds: string[] = []
    expect(remembers(token)).toBe(false)
    for (const ahead of [0, 299, 325, 335]) {
      clock.ahead = ahead
      kinds.push(await kindOf(token))
      expect(remembers(token)).toBe(ahead < 330)
    }
    expect(kinds).toEqual(['valid', 'valid', 'valid', 'invalid'])
  })

  test('ends with the age that tokens may have', async () => {
    const { clock, kindOf } = open([issuer], { token_age_seconds_max: 60 })
    const token = await issuer.sign()
    expect(await kindOf(token)).toBe('valid')
    clock.ahead = 95
    expect(await kindOf(token)).toBe('invalid')
  })

  test('ends when its issuer takes back the key', async () => {
    const own = await start()
    const { clock, kindOf } = open([own])
    const token = await own.sign({ exp: Math.floor(Date.now() / 1000) + 36_000 })
    expect(await kindOf(token)).toBe('valid')
    await own.addKey('second')
    own.keys.delete('first')
    clock.ahead = 301
    // The keys are old now: they are read again beside this request.
    await kindOf(token)
    await expect.poll(() => kindOf(token)).toBe('invalid')
    expect(await kindOf(await own.sign({}, { kid: 'second' }))).toBe('valid')
  })

  test('is bounded', async () => {
    const { kindOf } = open([issuer], { cache_max: 2 })
    for (const sub of ['a', 'b', 'c', 'd', 'e']) {
      expect(await kindOf(await issuer.sign({ sub }))).toBe('valid')
    }
  })
})

describe('keys', () => {
  test('are read once for many tokens at a time', async () => {
    const { kindOf } = open()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => issuer.sign({ n })))
    expect(new Set(await Promise.all(tokens.map(kindOf)))).toEqual(new Set(['valid']))
    expect(issuer.asked).toEqual(['/.well-known/openid-configuration', '/keys'])
  })

  test('that are new are found when a token names one', async () => {
    const own = await start()
    const { clock, kindOf } = open([own])
    expect(await kindOf(await own.sign())).toBe('valid')
    await own.addKey('second')
    const token = await own.sign({}, { kid: 'second' })
    // Within the cooldown the issuer is believed to have told of all its keys.
    expect(await kindOf(token)).toBe('invalid')
    clock.ahead = 11
    expect(await kindOf(token)).toBe('valid')
  })

  test('that there are not make one question in a cooldown', async () => {
    const { clock, kindOf } = open()
    const tokens = await Promise.all(
      Array.from({ length: 30 }, (_, n) => issuer.sign({}, { header: { kid: `no-${n}` } })),
    )
    for (const ahead of [0, 5, 11, 12, 22]) {
      clock.ahead = ahead
      expect(new Set(await Promise.all(tokens.map(kindOf)))).toEqual(new Set(['invalid']))
    }
    expect(issuer.asked.filter(path => path === '/keys')).toHaveLength(3)
  })
})

describe('an issuer that is away', () => {
  test('from the start is a reason to try again, and not to ask it each time', async () => {
    const own = await start()
    const { clock, judge } = open([own])
    const token = await own.sign()
    await own.stop()
    const reason = expect.stringMatching(new RegExp(`${own.url}.*ECONNREFUSED`))
    expect(await judge(token)).toEqual({ kind: 'unavailable', reason })
    await own.listen()
    expect(await judge(token)).toEqual({ kind: 'unavailable', reason })
    clock.ahead = 11
    expect(await judge(token)).toMatchObject({ kind: 'valid' })
  })

  test('later leaves the keys that are known, for a while', async () => {
    const own = await start()
    const { clock, kindOf } = open([own], { keys_stale_seconds: 3600 })
    const sign = (sub: string, kid = 'first') =>
      own.sign({ sub, exp: Math.floor(Date.now() / 1000) + 36_000 }, { kid })
    expect(await kindOf(await sign('early'))).toBe('valid')
    await own.addKey('second')
    await own.stop()
    clock.ahead = 600
    expect(await kindOf(await sign('late'))).toBe('valid')
    expect(await kindOf(await sign('early'))).toBe('valid')
    expect(await kindOf(await sign('rotated', 'second'))).toBe('unavailable')
    clock.ahead = 3500
    expect(await kindOf(await sign('late'))).toBe('valid')
    clock.ahead = 3700
    expect(await kindOf(await sign('late'))).toBe('unavailable')
    await own.listen()
    clock.ahead = 3720
    expect(await kindOf(await sign('rotated', 'second'))).toBe('valid')
  })
})

describe('an issuer that answers', () => {
  const text = (body: string) => (_: unknown, response: { end(body: string): unknown }) =>
    response.end(body)

  test.each<[string, () => OidcIssuer['handler'], string]>([
    ['nothing', () => () => undefined, 'no answer in 1 s'],
    ['what is no JSON', () => text('<html>'), 'no JSON'],
    ['a list', () => text('[]'), 'no JSON object'],
    [
      'in the name of another',
      () => text('{"issuer": "https://other.example"}'),
      'says that it is',
    ],
    ['endlessly', () => text('x'.repeat(2_000_000)), 'larger'],
    [
      'with keys at no URL of the web',
      () => text(JSON.stringify({ issuer: issuer.url, jwks_uri: 'file:///etc/passwd' })),
      'jwks_uri',
    ],
    [
      'with keys that anybody on the way could change',
      () => text(JSON.stringify({ issuer: issuer.url, jwks_uri: 'http://login.example/keys' })),
      'jwks_uri',
    ],
    [
      'without keys',
      () => text(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/x` })),
      'no keys',
    ],
    ['with a failure', () => (_, response) => response.writeHead(500).end(), 'status 500'],
    [
      'that it has moved',
      () => (_, response) => response.writeHead(302, { location: issuer.url }).end(),
      'redirect',
    ],
  ])('%s is one that is away', async (_name, handler, reason) => {
    const { judge } = open([issuer], { timeout_seconds: 1 })
    issuer.handler = handler()
    expect(await judge(await issuer.sign())).toEqual({
      kind: 'unavailable',
      reason: expect.stringContaining(reason),
    })
  })
})
