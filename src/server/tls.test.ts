import { createPrivateKey } from 'node:crypto'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import {
  type KeyPair,
  makeCertificate,
  testFolder,
  writeCertificate,
} from '../../test/helpers/certificates.ts'
import { loadCertificate, lookMilliseconds, openTls, type Tls } from './tls.ts'

const told: string[] = []
let opened: Tls | undefined
let server: Server | undefined

beforeEach(() => {
  told.length = 0
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  opened?.close()
  server?.close()
  vi.useRealTimers()
})

function open(files: { certificate: string; key: string }): Tls {
  opened = openTls({
    ...files,
    onError: error => told.push(error.message),
    onChange: ({ subject }) => told.push(subject),
  })
  return opened
}

/** A server that follows the files, and a client of it that trusts one certificate. */
async function serve(tls: Tls) {
  const made = createServer(tls.context(), (_request, response) => void response.end('here'))
  server = made
  tls.follow(made)
  await once(made.listen(0, '127.0.0.1'), 'listening')
  const { port } = made.address() as AddressInfo
  return async (trusted: KeyPair, options: object = {}): Promise<TLSSocket> => {
    const socket = connect({ port, ca: trusted.certificate, host: '127.0.0.1', ...options })
    await once(socket, 'secureConnect')
    return socket
  }
}

async function ask(socket: TLSSocket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const [answer] = await once(socket, 'data')
  return String(answer)
}

const look = () => vi.advanceTimersByTime(lookMilliseconds)

test('another certificate is served when its files change, and connections stay', async () => {
  const folder = testFolder()
  const [first, second] = [makeCertificate({ name: 'first' }), makeCertificate({ name: 'second' })]
  const tls = open(writeCertificate(folder, first))
  const connectTo = await serve(tls)
  const kept = await connectTo(first)
  expect(kept.getPeerCertificate().subject.CN).toBe('first')
  look()
  writeCertificate(folder, second)
  look()
  const fresh = await connectTo(second)
  expect(fresh.getPeerCertificate().subject.CN).toBe('second')
  expect(await ask(kept)).toContain('here')
  expect(await ask(fresh)).toContain('here')
  await expect(connectTo(first)).rejects.toThrow()
  expect(told).toEqual(['CN=second'])
  expect(tls.certificate().fingerprint).toBe(fresh.getPeerCertificate().fingerprint256)
  kept.destroy()
  fresh.destroy()
})

test('broken files change nothing, and are told of once when they stay so', async () => {
  const folder = testFolder()
  const [first, second] = [makeCertificate({ name: 'first' }), makeCertificate({ name: 'second' })]
  const files = writeCertificate(folder, first)
  const tls = open(files)
  const connectTo = await serve(tls)
  // One file is always written before the other.
  writeFileSync(files.certificate, second.certificate)
  look()
  expect(told).toEqual([])
  look()
  look()
  expect(told).toEqual([
    `tls.key: ${files.key}: is not the key of the certificate in ${files.certificate}`,
  ])
  rmSync(files.key)
  look()
  look()
  expect(told.at(-1)).toBe(`tls.key: ${files.key}: there is no such file`)
  const socket = await connectTo(first)
  expect(socket.getPeerCertificate().subject.CN).toBe('first')
  socket.destroy()
  writeFileSync(files.key, second.key)
  look()
  expect(told).toHaveLength(3)
  expect(tls.certificate().subject).toBe('CN=second')
})

test('who asks is told at once', () => {
  const files = writeCertificate(testFolder(), makeCertificate())
  const tls = open(files)
  writeFileSync(files.certificate, '')
  tls.reload()
  tls.reload()
  const refusal = `tls.certificate: ${files.certificate}: there is no certificate in PEM`
  expect(told).toEqual([refusal, refusal])
  look()
  expect(told).toHaveLength(2)
})

test('a chain is served, and older versions of TLS are not', async () => {
  const root = makeCertificate({ name: 'root' })
  const leaf = makeCertificate({ name: 'leaf', issuer: root })
  const chain = { ...leaf, certificate: leaf.certificate + root.certificate }
  const connectTo = await serve(open(writeCertificate(testFolder(), chain)))
  const socket = await connectTo(root)
  expect(socket.authorized).toBe(true)
  socket.destroy()
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
  await expect(connectTo(root, old)).rejects.toThrow()
})

test('what cannot be served is refused by the name of its setting', () => {
  const [one, other] = [makeCertificate({ name: 'one' }), makeCertificate({ name: 'other' })]
  const locked = createPrivateKey(one.key)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString()
  const refusal = (changes: Partial<KeyPair>) => {
    const files = writeCertificate(testFolder(), { ...one, ...changes })
    try {
      loadCertificate(files)
      return 'none'
    } catch (error) {
      const { name, message } = error as Error
      return `${name}: ${message.replace(files.certificate, 'CERT').replace(files.key, 'KEY')}`
    }
  }
  const broken = one.certificate.replace(/\n\w{20}/, '\nAAAAAAAAAAAAAAAAAAAA')
  expect(refusal({})).toBe('none')
  expect(refusal({ key: other.key })).toContain('tls.key: KEY: is not the key of')
  expect(refusal({ key: locked })).toBe('ConfigError: tls.key: KEY: has a passphrase')
  expect(refusal({ key: 'x' })).toContain('tls.key: KEY: there is no private key in PEM')
  expect(refusal({ certificate: one.key })).toContain('CERT: there is no certificate in PEM')
  expect(refusal({ certificate: one.certificate + broken })).toContain(
    'CERT: certificate 2 is not readable',
  )
  expect(refusal({ certificate: one.certificate + other.certificate })).toBe(
    'ConfigError: tls.certificate: CERT: certificate 1 is not issued by certificate 2',
  )
})
