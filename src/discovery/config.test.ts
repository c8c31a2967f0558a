import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadDiscoveryConfig } from './config.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-dhcp-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const id = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'
const least = { api: { url: 'http://127.0.0.1:9898' }, networks: [{ id }] }

function load(settings: object | string, environment: Record<string, string> = {}) {
  const path = join(folder, 'dhcp.yaml')
  writeFileSync(path, typeof settings === 'string' ? settings : JSON.stringify(settings))
  return loadDiscoveryConfig(path, { MELANGE_TOKEN: 'secret', ...environment })
}

test('little has to be said', () => {
  const config = load(least)
  expect(config).toMatchObject({ driver: 'builtin', token: 'secret', durable_leases: true })
  expect(config.networks).toEqual([{ id, relays: [] }])
  expect(config.name).toBe(hostname().slice(0, 64))
})

test('the token is in a file of its own', () => {
  const token_file = join(folder, 'token')
  writeFileSync(token_file, 'melange_abc\n')
  const api = { ...least.api, token_file }
  expect(load({ ...least, api }, { MELANGE_TOKEN: '' }).token).toBe('melange_abc')
})

test.each<[string, object | string, string]>([
  ['a setting that there is not', { ...least, colour: 'red' }, 'colour'],
  ['no network', { ...least, networks: [] }, 'networks'],
  ['an id that is none', { ...least, networks: [{ id: 'blue' }] }, 'networks.0.id'],
  ['a driver that there is not', { ...least, driver: 'isc' }, 'driver'],
  [
    'a name of an interface that is too long',
    { ...least, networks: [{ id, interface: 'abcdefghijklmnop' }] },
    'interface',
  ],
  [
    'a namespace that leads elsewhere',
    { ...least, networks: [{ id, namespace: '../x' }] },
    'namespace',
  ],
  ['what is no YAML', 'networks: [', 'dhcp.yaml: '],
  ['a text', 'hello', 'the configuration'],
])('%s is refused in one line', (_what, settings, message) => {
  expect(() => load(settings)).toThrow(message)
  expect(() => load(settings)).toThrow(/^[^\n]*$/)
})

test('without a token it does not start', () => {
  expect(() => load(least, { MELANGE_TOKEN: '' })).toThrow('api.token_file or MELANGE_TOKEN')
})

test('without a file it says what it needs', () => {
  expect(() => loadDiscoveryConfig(undefined)).toThrow('--config dhcp.yaml')
})
