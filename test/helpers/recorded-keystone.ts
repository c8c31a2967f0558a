import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An exchange with a real Keystone 22, in test/fixtures/keystone. */
export type Recording = {
  readonly request: string
  readonly response: {
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: { token?: Record<string, unknown> } & Record<string, unknown>
  }
}

export function recording(name: string): Recording {
  const url = new URL(`../fixtures/keystone/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8'))
}

/** A recording of a token that is valid from a while ago to some time from now on, by the real clock. */
export function lastingRecording(name: string): Recording {
  const recorded = recording(name)
  const { token = {} } = recorded.response.body
  const lasting = { ...token, expires_at: new Date(Date.now() + 86_400_000).toISOString() }
  return { ...recorded, response: { ...recorded.response, body: { token: lasting } } }
}

/** All tokens of the recordings are valid at this time, for another 50 minutes. */
export const recordedAt = Date.parse('2026-11-22T10:35:00Z')

/** What the server does instead of answering as recorded. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => void

export type Asked = {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** An HTTP server that answers as a real Keystone did; what it knows of tokens is the test's. */
export type RecordedKeystone = {
  readonly url: string
  /** Subject tokens, and the recording that answers for each; other tokens are garbage to it. */
  readonly tokens: Map<string, Recording>
  /** Its own tokens that it still accepts; a login adds one. */
  readonly ownTokens: Set<string>
  /** How long the tokens live that it gives out. */
  life_seconds: number
  /** What comes in the way of requests, if anything does. */
  fault: Fault | null
  /** Holds answers back until the promise is fulfilled. */
  gate: Promise<void> | null
  readonly asked: Asked[]
  logins(): number
  validations(): Asked[]
  /** How many requests it had under way at the same time, at most. */
  busiest(): number
  /** How many connections are open to it. */
  connections(): Promise<number>
  /** Ends it, as a process ends: nothing listens there any more. */
  close(): Promise<void>
  /** Begins again, at the same place. */
  open(): Promise<void>
}

export async function startRecordedKeystone(): Promise<RecordedKeystone> {
  const tokens = new Map<string, Recording>()
  const ownTokens = new Set<string>()
  const asked: Asked[] = []
  let logins = 0
  let underWay = 0
  let busiest = 0
  let server: Server
  let port = 0

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', url: path = '', headers } = request
    asked.push({ method, path, headers, body })
    if (keystone.gate) await keystone.gate
    if (keystone.fault) return keystone.fault(request, response)
    const [route] = path.split('?')
    if (method === 'GET' && (route === '/' || route === '/identity/')) {
      return send(response, recording('versions'), text =>
        text.replaceAll('http://127.0.0.1:5000/v3/', `${keystone.url}/v3/`),
      )
    }
    if (method === 'POST' && route?.endsWith('/v3/auth/tokens')) return logIn(response, body)
    if (method === 'GET' && route?.endsWith('/v3/auth/tokens')) return validate(request, response)
    response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not Found</h1>')
  }

  function logIn(response: ServerResponse, body: string) {
    if (body.includes('"wrong"')) return send(response, recording('error-wrong-password'))
    logins++
    const own = `own-token-${logins}-of-melange`
    ownTokens.add(own)
    const issued = new Date(recordedAt).toISOString()
    const expires = new Date(recordedAt + keystone.life_seconds * 1000).toISOString()
    response.setHeader('x-subject-token', own)
    send(response, recording('issue-project-member'), text =>
      text
        .replace('2026-11-22T10:28:26.000000Z', issued)
        .replace('2026-11-22T11:28:26.000000Z', expires)
        .replaceAll('http://127.0.0.1:5000/v3/', `${keystone.url}/inside/v3/`),
    )
  }

  function validate({ headers, url = '' }: IncomingMessage, response: ServerResponse) {
    if (!ownTokens.has(String(headers['x-auth-token']))) {
      return send(response, recording('error-bad-service-token'))
    }
    const known = tokens.get(String(headers['x-subject-token']))
    if (!known) return send(response, recording('error-garbage-subject-token'))
    if (!/[?&]nocatalog/.test(url) || known.response.status !== 200) return send(response, known)
    const { catalog: _, ...token } = known.response.body.token ?? {}
    send(response, { ...known, response: { ...known.response, body: { token } } })
  }

  const keystone: RecordedKeystone = {
    url: '',
    tokens,
    ownTokens,
    life_seconds: 3600,
    fault: null,
    gate: null,
    asked,
    logins: () => logins,
    validations: () => asked.filter(({ headers }) => headers['x-subject-token'] !== undefined),
    busiest: () => busiest,
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    async open() {
      server = createServer((request, response) => {
        underWay++
        busiest = Math.max(busiest, underWay)
        response.on('close', () => {
          underWay--
        })
        answer(request, response).catch(() => response.destroy())
      })
      await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
      port = (server.address() as AddressInfo).port
    },
    async close() {
      if (!server.listening) return
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
  await keystone.open()
  return Object.assign(keystone, { url: `http://127.0.0.1:${port}` })
}

function send(
  response: ServerResponse,
  { response: recorded }: Recording,
  change = (text: string) => text,
): void {
  response.statusCode = recorded.status
  response.setHeader('content-type', 'application/json')
  response.end(change(JSON.stringify(recorded.body)))
}
