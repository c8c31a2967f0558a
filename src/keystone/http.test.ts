import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createKeystoneClient } from './http.ts'

let folder: string
let server: Server
let url: URL
const cert = () => join(folder, 'cert.pem')

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'melange-tls-'))
  const key = join(folder, 'key.pem')
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert(), '-days', '2', '-subj', '/CN=keystone'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1'],
    ],
    { stdio: 'ignore' },
  )
  server = createServer({ key: readFileSync(key), cert: readFileSync(cert()) }, (_, response) =>
    response.end('{"hello": true}'),
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`)
})
afterAll(() => {
  server.close()
  rmSync(folder, { recursive: true })
})

function get(options: { cafile?: string; insecure?: boolean }) {
  const { cafile, insecure = false } = options
  const http = createKeystoneClient({ timeout_seconds: 5, cafile, insecure })
  return http.send({ method: 'GET', url }).finally(() => http.close())
}

test('a certificate is checked against the file that is configured', async () => {
  expect(await get({ cafile: cert() })).toMatchObject({ status: 200, body: { hello: true } })
})

test('a certificate that nobody vouches for is refused', async () => {
  await expect(get({})).rejects.toMatchObject({
    isAway: true,
    message: expect.stringContaining('SELF_SIGNED'),
  })
})

test('unless no certificate is to be checked', async () => {
  expect(await get({ insecure: true })).toMatchObject({ status: 200 })
})

test('a file of certificates that is not there is told at once', () => {
  const cafile = join(folder, 'nowhere.pem')
  expect(() => createKeystoneClient({ timeout_seconds: 5, cafile, insecure: false })).toThrow(
    `keystone.cafile: ${cafile} cannot be read`,
  )
})
