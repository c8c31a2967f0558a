import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../config.ts'
import { type CredentialSettings, loadCredentials } from './credentials.ts'

const secret = 's3cret-of-melange'
const byPassword = {
  auth_url: 'https://keystone.example/v3',
  username: 'melange',
  user_domain_name: 'Default',
  password: secret,
  project_name: 'service',
  project_domain_id: 'default',
}
const passwordBody = {
  identity: {
    methods: ['password'],
    password: { user: { name: 'melange', domain: { name: 'Default' }, password: secret } },
  },
  scope: { project: { name: 'service', domain: { id: 'default' } } },
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-clouds-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function writeFile(name: string, text: string): string {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text)
  return path
}
const load = (settings: CredentialSettings, environment: Record<string, string> = {}) =>
  loadCredentials(settings, { HOME: folder, ...environment })

describe('from the configuration', () => {
  test('a password, with names and domains', () => {
    const credentials = load(byPassword)
    expect(credentials.auth()).toEqual(passwordBody)
    expect(credentials).toMatchObject({
      www_authenticate_uri: 'https://keystone.example/v3',
      insecure: false,
      interface: undefined,
    })
  })

  test('ids need no domain', () => {
    const { auth_url, password } = byPassword
    const { auth } = load({ auth_url, password, user_id: 'u1', project_id: 'p1' })
    expect(auth()).toEqual({
      identity: { methods: ['password'], password: { user: { id: 'u1', password } } },
      scope: { project: { id: 'p1' } },
    })
  })

  test.each<[CredentialSettings, object]>([
    [{ domain_id: 'd1' }, { domain: { id: 'd1' } }],
    [{ domain_name: 'corp' }, { domain: { name: 'corp' } }],
    [{ system_scope: 'all' }, { system: { all: true } }],
  ])('a scope %j', (wanted, scope) => {
    const { auth } = load({ ...byPassword, project_name: undefined, ...wanted })
    expect(auth()).toMatchObject({ scope })
  })

  test('an application credential by id, which has its scope already', () => {
    const credential = { application_credential_id: 'a1', application_credential_secret: secret }
    const { auth } = load({ auth_url: byPassword.auth_url, ...credential })
    expect(auth()).toEqual({
      identity: {
        methods: ['application_credential'],
        application_credential: { id: 'a1', secret },
      },
    })
  })

  test('an application credential by name belongs to a user', () => {
    const { auth } = load({
      auth_type: 'v3applicationcredential',
      auth_url: byPassword.auth_url,
      username: 'melange',
      user_domain_id: 'default',
      application_credential_name: 'own',
      application_credential_secret: secret,
    })
    const user = { name: 'melange', domain: { id: 'default' } }
    expect(auth()).toMatchObject({
      identity: { application_credential: { name: 'own', user, secret } },
    })
  })

  test('passes the check of the configuration file', () => {
    const path = writeFile('melange.yaml', `keystone:\n  enabled: true\n  username: melange\n`)
    const { keystone, openstack } = loadConfig(path, { OS_PASSWORD: secret, PATH: '/bin' })
    expect(keystone).toMatchObject({ enabled: true, username: 'melange', token_cache_seconds: 300 })
    expect(openstack).toEqual({ OS_PASSWORD: secret })
  })
})

test('Keystone counts only where somebody says so', () => {
  const isEnabled = (MELANGE_KEYSTONE?: string) =>
    loadConfig(undefined, { OS_AUTH_URL: byPassword.auth_url, MELANGE_KEYSTONE }).keystone.enabled
  expect([isEnabled(), isEnabled('true'), isEnabled('false')]).toEqual([false, true, false])
  expect(() => isEnabled('yes')).toThrow('MELANGE_KEYSTONE must be true or false')
})

describe('from the environment', () => {
  const environment = {
    OS_AUTH_TYPE: 'v3password',
    OS_AUTH_URL: 'https://keystone.example/v3',
    OS_USERNAME: 'melange',
    OS_USER_DOMAIN_NAME: 'Default',
    OS_PASSWORD: secret,
    OS_PROJECT_NAME: 'service',
    OS_PROJECT_DOMAIN_ID: 'default',
    OS_REGION_NAME: 'RegionOne',
    OS_ENDPOINT_TYPE: 'internalURL',
    OS_CACERT: '/etc/ssl/keystone.pem',
  }

  test('by the names that all OpenStack services have', () => {
    const credentials = load({}, environment)
    expect(credentials.auth()).toEqual(passwordBody)
    expect(credentials).toMatchObject({
      region: 'RegionOne',
      interface: 'internal',
      cafile: '/etc/ssl/keystone.pem',
      insecure: false,
    })
  })

  test('the configuration goes before it', () => {
    const { auth } = load({ username: 'other' }, environment)
    expect(auth()).toMatchObject({ identity: { password: { user: { name: 'other' } } } })
  })

  test('names of old, and a default for both domains', () => {
    const { OS_PROJECT_NAME, OS_PROJECT_DOMAIN_ID, OS_USER_DOMAIN_NAME, ...rest } = environment
    const { auth } = load({}, { ...rest, OS_TENANT_NAME: 'service', OS_DEFAULT_DOMAIN: 'Default' })
    expect(auth()).toMatchObject({
      identity: { password: { user: { domain: { name: 'Default' } } } },
      scope: { project: { name: 'service', domain: { name: 'Default' } } },
    })
  })

  test('certificates go unchecked only where somebody says so', () => {
    expect(load({}, { ...environment, OS_INSECURE: 'true' }).insecure).toBe(true)
    expect(load({}, { ...environment, OS_INSECURE: '0' }).insecure).toBe(false)
    expect(load({ insecure: false }, { ...environment, OS_INSECURE: '1' }).insecure).toBe(false)
  })
})

describe('from clouds.yaml', () => {
  const clouds = `
clouds:
  east:
    region_name: East
    interface: public
    verify: false
    auth:
      auth_url: https://east.example:5000
      username: melange
      user_domain_name: Default
      project_name: service
      project_domain_id: default
  west:
    auth: {auth_url: https://west.example:5000}
`
  const secure = `clouds: {east: {auth: {password: ${secret}}}}`

  test('with the secret of secure.yaml beside it', () => {
    const file = writeFile('somewhere/clouds.yaml', clouds)
    writeFile('somewhere/secure.yaml', secure)
    const credentials = load({}, { OS_CLOUD: 'east', OS_CLIENT_CONFIG_FILE: file })
    expect(credentials.auth()).toEqual(passwordBody)
    expect(credentials).toMatchObject({ region: 'East', interface: 'public', insecure: true })
    expect(credentials.auth_url.href).toBe('https://east.example:5000/')
  })

  test("in the user's folder of configuration, or where the environment says that it is", () => {
    writeFile('.config/openstack/clouds.yaml', clouds)
    const path = writeFile('secrets.yml', secure)
    expect(load({ cloud: 'east' }, { OS_CLIENT_SECURE_FILE: path }).auth()).toEqual(passwordBody)
    writeFile('xdg/openstack/clouds.yml', clouds.replace('https://east', 'https://moved'))
    const moved = load(
      { cloud: 'east' },
      { OS_CLIENT_SECURE_FILE: path, XDG_CONFIG_HOME: join(folder, 'xdg') },
    )
    expect(moved.auth_url.hostname).toBe('moved.example')
  })

  test('the environment adds nothing to a cloud, the configuration does', () => {
    writeFile('.config/openstack/clouds.yaml', clouds)
    expect(() => load({ cloud: 'east' }, { OS_PASSWORD: 'of another' })).toThrow(
      'keystone.password is missing (or password of cloud east',
    )
    expect(load({ cloud: 'east', password: secret }).auth()).toEqual(passwordBody)
  })

  test.each([
    ['north', clouds, 'has no cloud north'],
    ['east', 'clouds: [east]', 'has no mapping `clouds`'],
    ['east', `clouds: {east: {auth: {password: ${secret}`, 'cannot be read as YAML'],
  ])('a cloud %s that is not there', (cloud, text, message) => {
    const file = writeFile('clouds.yaml', text)
    const attempt = () => load({ cloud }, { OS_CLIENT_CONFIG_FILE: file })
    expect(attempt).toThrow(message)
    expect(attempt).not.toThrow(secret)
  })

  test('no file at all', () => {
    expect(() => load({ cloud: 'east' })).toThrow('the cloud east: no clouds.yaml in')
    const nowhere = { OS_CLIENT_CONFIG_FILE: join(folder, 'nowhere.yaml') }
    expect(() => load({ cloud: 'east' }, nowhere)).toThrow('nowhere.yaml does not exist')
  })
})

describe('what is not usable is named', () => {
  test.each<[CredentialSettings, string]>([
    [{ auth_url: undefined }, 'keystone.auth_url is missing (or OS_AUTH_URL'],
    [{ username: undefined }, 'keystone.username or keystone.user_id is missing'],
    [{ user_domain_name: undefined }, 'keystone.user_domain_name or keystone.user_domain_id is'],
    [{ password: undefined }, 'keystone.password is missing (or OS_PASSWORD'],
    [{ project_name: undefined }, 'keystone.project_name or keystone.project_id or'],
    [{ project_domain_id: undefined }, 'keystone.project_domain_name or'],
    [{ auth_type: 'v3applicationcredential' }, 'keystone.application_credential_id or'],
    [{ application_credential_id: 'a1' }, 'keystone.application_credential_secret is missing'],
    [{ auth_type: 'v3totp' }, 'keystone.auth_type v3totp is not supported'],
    [{ interface: 'private' }, 'keystone.interface must be public, internal or admin'],
    [{ project_name: undefined, system_scope: 'some' }, 'keystone.system_scope can only be all'],
    [{ auth_url: 'ftp://keystone.example' }, 'must be an http or https URL'],
    [{ auth_url: 'not a url' }, 'must be an http or https URL'],
    [{ auth_url: 'https://me:pw@keystone.example' }, 'must have neither user, password'],
    [{ auth_url: 'https://keystone.example/v2.0' }, 'only version 3 is supported'],
  ])('%j', (change, message) => {
    expect(() => load({ ...byPassword, ...change })).toThrow(message)
  })
})

test('no secret can be seen in what is shown of credentials', () => {
  const credentials = load(byPassword)
  expect(inspect(credentials, { depth: 10, showHidden: true })).not.toContain(secret)
  expect(JSON.stringify(credentials)).not.toContain(secret)
})
