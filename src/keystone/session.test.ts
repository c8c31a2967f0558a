import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type RecordedKeystone,
  recordedAt,
  startRecordedKeystone,
} from '../../test/helpers/recorded-keystone.ts'
import { type CredentialSettings, loadCredentials } from './credentials.ts'
import { createKeystoneClient, type HttpClient } from './http.ts'
import { createSession } from './session.ts'

let keystone: RecordedKeystone
let http: HttpClient
let time: number
let logins: string[]

beforeEach(async () => {
  keystone = await startRecordedKeystone()
  http = createKeystoneClient({ timeout_seconds: 1, cafile: undefined, insecure: false })
  time = recordedAt
  logins = []
})
afterEach(async () => {
  http.close()
  await keystone.close()
})

function open(settings: CredentialSettings = {}) {
  const credentials = loadCredentials(
    {
      auth_url: `${keystone.url}/v3`,
      user_id: 'u1',
      password: 'right',
      project_id: 'p1',
      ...settings,
    },
    {},
  )
  const session = createSession({
    credentials,
    http,
    now: () => time,
    random: () => 0,
    observer: {
      onLookup: () => {},
      onValidation: () => {},
      onLogin: outcome => logins.push(outcome),
      onAway: () => {},
      onBack: () => {},
      watchValidations: () => {},
    },
  })
  return () => session.get('/auth/tokens', { 'x-subject-token': 'a-token-of-somebody' })
}
const paths = () => keystone.asked.map(({ method, path }) => `${method} ${path}`)
const idle = () => new Promise(resolve => setTimeout(resolve, 50))

test('it logs in once, without the catalogue, and says which token is its own', async () => {
  const get = open()
  await get()
  await get()
  expect(paths()).toEqual([
    'POST /v3/auth/tokens?nocatalog',
    'GET /v3/auth/tokens',
    'GET /v3/auth/tokens',
  ])
  const [login, first] = keystone.asked
  expect(JSON.parse(login?.body ?? '')).toMatchObject({
    auth: { identity: { methods: ['password'] }, scope: { project: { id: 'p1' } } },
  })
  expect(first?.headers).toMatchObject({
    'x-auth-token': 'own-token-1-of-melange',
    'x-subject-token': 'a-token-of-somebody',
  })
})

test('many at once share one login', async () => {
  const get = open()
  await Promise.all(Array.from({ length: 20 }, get))
  expect(keystone.logins()).toBe(1)
  expect(logins).toEqual(['success'])
})

describe('its own token', () => {
  test('is renewed before it expires, while the old one serves on', async () => {
    const get = open()
    await get()
    time += (3600 - 121) * 1000
    await get()
    await idle()
    expect(keystone.logins()).toBe(1)
    time += 1000
    await get()
    await idle()
    expect(keystone.logins()).toBe(2)
    await get()
    const used = keystone.validations().map(({ headers }) => headers['x-auth-token'])
    expect(used).toEqual([
      'own-token-1-of-melange',
      'own-token-1-of-melange',
      'own-token-1-of-melange',
      'own-token-2-of-melange',
    ])
  })

  test('is not renewed with every call where tokens live for seconds', async () => {
    keystone.life_seconds = 10
    const get = open()
    for (let second = 0; second < 8; second++) {
      await get()
      time += 1000
    }
    expect(keystone.logins()).toBe(1)
    await get()
    await idle()
    expect(keystone.logins()).toBe(2)
  })

  test('that cannot be renewed is used to its end, with a trial now and then', async () => {
    keystone.life_seconds = 100
    const get = open()
    await get()
    time += 85_000
    keystone.fault = (_request, response) => response.writeHead(500).end()
    for (let index = 0; index < 5; index++) await get()
    await idle()
    expect(logins).toEqual(['success', 'failure'])
    time += 6000
    await get()
    await idle()
    expect(logins).toEqual(['success', 'failure', 'failure'])
    time += 20_000
    await expect(get()).rejects.toThrow("Keystone answers 500 to Melange's login")
    keystone.fault = null
    expect((await get()).status).toBe(404)
  })

  test('that Keystone does not accept any more is replaced, and the request repeated', async () => {
    const get = open()
    await get()
    keystone.ownTokens.clear()
    const answers = await Promise.all([get(), get(), get()])
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404])
    expect(keystone.logins()).toBe(2)
  })

  test('that is never accepted is no reason to go on for ever', async () => {
    const get = open()
    keystone.fault = (request, response) => {
      const isLogin = request.method === 'POST'
      response.writeHead(isLogin ? 201 : 401, { 'x-subject-token': 'of-no-use' })
      const token = {
        user: { id: 'u', name: 'u', domain: { id: 'default' } },
        issued_at: '2026-11-22T10:28:26.000000Z',
        expires_at: '2026-11-22T11:28:26.000000Z',
      }
      response.end(JSON.stringify({ token }))
    }
    await expect(get()).rejects.toThrow("does not accept Melange's own token")
    expect(paths()).toHaveLength(4)
  })
})

test('wrong credentials are told, and neither shown', async () => {
  const get = open({ password: 'wrong' })
  const refused = expect(get()).rejects
  await refused.toMatchObject({
    message: "Keystone refuses Melange's own credentials",
    isAway: true,
  })
})

describe('where auth_url names no version', () => {
  test("Keystone's version document says where version 3 is", async () => {
    const get = open({ auth_url: keystone.url })
    await get()
    await get()
    expect(paths()[0]).toBe('GET /')
    expect(paths().slice(1)).toEqual([
      'POST /v3/auth/tokens?nocatalog',
      'GET /v3/auth/tokens',
      'GET /v3/auth/tokens',
    ])
  })

  test('a document that does not know its own path is not followed off it', async () => {
    await open({ auth_url: `${keystone.url}/identity/` })()
    expect(paths()).toEqual([
      'GET /identity/',
      'POST /identity/v3/auth/tokens?nocatalog',
      'GET /identity/v3/auth/tokens',
    ])
  })

  test('something else than Keystone is recognized', async () => {
    const get = open({ auth_url: `${keystone.url}/other` })
    await expect(get()).rejects.toThrow('no Keystone of version 3 at keystone.auth_url')
  })
})

describe('where an interface is wanted', () => {
  test('the catalogue says where tokens are validated', async () => {
    await open({ interface: 'internal', region: 'RegionOne' })()
    expect(paths()).toEqual(['POST /v3/auth/tokens', 'GET /inside/v3/auth/tokens'])
  })

  test('a catalogue without it is told', async () => {
    const get = open({ interface: 'internal', region: 'Elsewhere' })
    await expect(get()).rejects.toThrow(
      "Keystone's catalogue has no internal URL of the identity service in region Elsewhere",
    )
  })
})
