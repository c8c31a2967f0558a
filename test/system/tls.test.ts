import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { failToServe } from '../helpers/failed-start.ts'
import { readSamples, sumOf } from '../helpers/prometheus.ts'
import { waitUntil } from '../helpers/race-load.ts'
import {
  adminToken,
  cleanUp,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

afterEach(cleanUp)

const hasOpenssl = ['/usr/bin/openssl', '/usr/local/bin/openssl'].some(existsSync)
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })

/** A root and an authority below it, which sign certificates as operators do. */
function createAuthority() {
  const folder = temporaryFolder()
  const at = (name: string) => join(folder, name)
  const key = (name: string) => ['-newkey', 'rsa:2048', '-nodes', '-keyout', at(`${name}.key`)]
  const signedBy = (name: string) => ['-CA', at(`${name}.pem`), '-CAkey', at(`${name}.key`)]
  const sign = (name: string, issuer: string, extensions: string) => {
    openssl('req', ...key(name), '-subj', `/CN=${name}`, '-out', at(`${name}.csr`))
    writeFileSync(at(`${name}.ext`), extensions)
    const out = ['-out', at(`${name}.pem`), '-days', '20', '-CAcreateserial']
    openssl(
      'x509',
      '-req',
      '-in',
      at(`${name}.csr`),
      ...signedBy(issuer),
      ...out,
      '-extfile',
      at(`${name}.ext`),
    )
  }
  openssl('req', '-x509', ...key('root'), '-subj', '/CN=root', '-out', at('root.pem'))
  sign('middle', 'root', 'basicConstraints=critical,CA:TRUE')
  const [root, middle] = [
    readFileSync(at('root.pem'), 'utf8'),
    readFileSync(at('middle.pem'), 'utf8'),
  ]
  return {
    root,
    /** Puts a certificate of this name, and its key, where a server finds them. */
    issue(name: string, files: { certificate: string; key: string }) {
      sign(name, 'middle', 'subjectAltName=IP:127.0.0.1')
      writeFileSync(`${files.certificate}.new`, readFileSync(at(`${name}.pem`), 'utf8') + middle)
      renameSync(`${files.certificate}.new`, files.certificate)
      writeFileSync(files.key, readFileSync(at(`${name}.key`)), { mode: 0o600 })
    },
  }
}

type Answer = { status: number; body: string; peer: PeerCertificate }

function ask(url: string, ca: string, agent: Agent, sent: object = {}): Promise<Answer> {
  const headers = { 'x-auth-token': adminToken, 'content-type': 'application/json' }
  const asked = request(url, { ca, agent, headers, ...sent })
  asked.end((sent as { body?: string }).body)
  return once(asked, 'response').then(async ([answer]) => ({
    status: answer.statusCode,
    peer: (answer.socket as TLSSocket).getPeerCertificate(),
    body: await text(answer),
  }))
}

describe.skipIf(!hasOpenssl)('TLS, with certificates of OpenSSL', () => {
  const start = async (settings: object = {}) => {
    const folder = temporaryFolder()
    const files = { certificate: join(folder, 'server.pem'), key: join(folder, 'server.key') }
    const authority = createAuthority()
    authority.issue('first', files)
    const server = await ServerProcess.start({}, ['-c', settingsFile({ tls: files, ...settings })])
    return { server, files, ...authority }
  }
  const fresh = () => new Agent({ keepAlive: false })

  test('another certificate is taken on SIGHUP, and what is under way goes on', async () => {
    const { server, files, root, issue } = await start()
    const { url } = server
    expect(url).toMatch(/^https:/)
    const health = await ask(`${url}/healthz`, root, fresh())
    expect([health.status, health.peer.subject.CN]).toEqual([200, 'first'])
    const kept = new Agent({ keepAlive: true, maxSockets: 1 })
    const before = await ask(`${url}/v2/events?after=latest`, root, kept)
    const { cursor } = JSON.parse(before.body)
    const poll = ask(`${url}/v2/events?after=${cursor}&wait=60`, root, kept)

    issue('second', files)
    process.kill(server.pid, 'SIGHUP')
    await waitUntil('the certificate is in use', () =>
      server.stdout.includes('another certificate is in use'),
    )
    const made = await ask(`${url}/v2/networks`, root, fresh(), {
      method: 'POST',
      body: '{"name": "a"}',
    })
    expect([made.status, made.peer.subject.CN]).toEqual([201, 'second'])
    const { status, peer, body } = await poll
    expect([status, peer.subject.CN]).toEqual([200, 'first'])
    expect(JSON.parse(body).events).toHaveLength(1)

    const scrape = await ask(`${url}/metrics`, root, fresh())
    const end = sumOf(
      readSamples(scrape.body),
      'melange_tls_certificate_not_after_timestamp_seconds',
    )
    expect(end).toBe(Date.parse(made.peer.valid_to) / 1000)
    kept.destroy()
    expect(await server.stop()).toBe(0)
  })

  test('without a signal it is taken within seconds; broken files are told of and change nothing', async () => {
    const { server, files, root, issue } = await start()
    writeFileSync(
      files.certificate,
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    )
    await waitUntil('the file is refused', () =>
      server.stdout.includes('the certificate is refused; the one before stays'),
    )
    expect(server.stdout).toContain('certificate 1 is not readable')
    const same = await ask(`${server.url}/healthz`, root, fresh())
    expect(same.peer.subject.CN).toBe('first')
    issue('second', files)
    await waitUntil('the certificate is in use', async () => {
      const { peer } = await ask(`${server.url}/healthz`, root, fresh())
      return peer.subject.CN === 'second'
    })
    expect(await server.stop()).toBe(0)
  })

  test('SIGTERM waits for nobody who says nothing, before TLS or after', async () => {
    const { server, root } = await start({ api: { shutdown_seconds: 60 } })
    const { hostname, port } = new URL(server.url)
    const silent = connect(Number(port), hostname)
    await once(silent, 'connect')
    const kept = new Agent({ keepAlive: true })
    expect((await ask(`${server.url}/healthz`, root, kept)).status).toBe(200)
    const closed = once(silent, 'close')
    expect(await server.stop()).toBe(0)
    await closed
    kept.destroy()
  })

  test('plain HTTP gets nothing', async () => {
    const { server } = await start()
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.write(`GET /v2/blocks HTTP/1.1\r\nHost: a\r\nX-Auth-Token: ${adminToken}\r\n\r\n`)
    expect(await text(socket)).not.toContain('HTTP/1.1 200')
    expect((await server.stop()) === 0 && server.stdout.includes(adminToken)).toBe(false)
  })

  test('a start that cannot serve says in one line why', async () => {
    const folder = temporaryFolder()
    const files = { certificate: join(folder, 'a.pem'), key: join(folder, 'a.key') }
    const serve = (tls: object) => failToServe({}, ['-c', settingsFile({ tls })])
    expect(await serve({ certificate: files.certificate })).toBe('tls.certificate needs tls.key')
    expect(await serve(files)).toBe(`tls.certificate: ${files.certificate}: there is no such file`)
    const { issue } = createAuthority()
    issue('one', files)
    issue('two', { ...files, certificate: join(folder, 'b.pem') })
    expect(await serve(files)).toBe(
      `tls.key: ${files.key}: is not the key of the certificate in ${files.certificate}`,
    )
  })
})
