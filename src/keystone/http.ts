import { readFileSync } from 'node:fs'
import * as http from 'node:http'
import * as https from 'node:https'
import { ConfigError } from '../config.ts'
import { KeystoneFailure } from './failure.ts'

export type HttpOptions = {
  /** From the beginning of a request to the last byte of its answer. */
  readonly timeout_seconds: number
  /** A file of certificates (PEM) that are trusted instead of the system's. */
  readonly cafile: string | undefined
  readonly insecure: boolean
}

export type HttpRequest = {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
}

export type HttpAnswer = {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** The JSON value; undefined if the body is none. */
  readonly body: unknown
}

export type HttpClient = {
  /** @throws {KeystoneFailure} */
  send(request: HttpRequest): Promise<HttpAnswer>
  close(): void
}

/** An answer with a catalogue of a hundred services in ten regions has some 500 kB. */
const answerBytesMax = 4 * 1024 * 1024
const redirectsMax = 3
const awayStatuses: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * Sends requests to Keystone: with a limit to time and size, and never to another host than the one
 * asked for, whatever an answer says.
 *
 * @throws {ConfigError} if `cafile` cannot be read.
 */
export function createHttpClient({ timeout_seconds, cafile, insecure }: HttpOptions): HttpClient {
  const tls = {
    rejectUnauthorized: !insecure,
    ...(cafile !== undefined && { ca: readCertificates(cafile) }),
  }
  const pool = { keepAlive: true, maxFreeSockets: 16, scheduling: 'lifo' } as const
  const agents = { 'http:': new http.Agent(pool), 'https:': new https.Agent({ ...pool, ...tls }) }
  const options = { tls, milliseconds: timeout_seconds * 1000 }

  async function send(request: HttpRequest): Promise<HttpAnswer> {
    const agent = agents[request.url.protocol as keyof typeof agents]
    const answer = await exchange(request, { ...options, agent }).catch(error => {
      // A kept connection that Keystone closed meanwhile says nothing about Keystone.
      if (!(error instanceof StaleConnection)) throw error
      return exchange(request, { ...options, agent: false })
    })
    if (awayStatuses.has(answer.status)) {
      throw new KeystoneFailure(`Keystone answers ${answer.status}`, { isAway: true })
    }
    return answer
  }

  return {
    send: request => (request.method === 'GET' ? follow(request, send) : send(request)),
    close: () => {
      for (const agent of Object.values(agents)) agent.destroy()
    },
  }
}

function readCertificates(cafile: string): Buffer {
  try {
    return readFileSync(cafile)
  } catch (cause) {
    throw new ConfigError(`keystone.cafile: ${cafile} cannot be read`, { cause })
  }
}

async function follow(request: HttpRequest, send: HttpClient['send']): Promise<HttpAnswer> {
  let { url } = request
  for (let redirects = 0; redirects <= redirectsMax; redirects++) {
    const answer = await send({ ...request, url })
    const { location } = answer.headers
    const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined
    if (!isRedirect) return answer
    const target = URL.canParse(location, url.href) ? new URL(location, url) : null
    if (target?.origin !== url.origin) {
      throw new KeystoneFailure('Keystone redirects to another host', { isAway: false })
    }
    url = target
  }
  throw new KeystoneFailure('Keystone redirects in a circle', { isAway: false })
}

class StaleConnection extends Error {}

type ExchangeOptions = {
  readonly agent: http.Agent | false
  readonly tls: https.RequestOptions
  readonly milliseconds: number
}

function exchange(
  { method, url, headers, body }: HttpRequest,
  { agent, tls, milliseconds }: ExchangeOptions,
): Promise<HttpAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const { request } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    let isLate = false
    let hasAnswer = false
    const sent = request(url, {
      method,
      agent,
      ...tls,
      headers: {
        accept: 'application/json',
        'user-agent': 'melange',
        ...headers,
        ...(text !== undefined && {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        }),
      },
    })
    const timer = setTimeout(() => {
      isLate = true
      sent.destroy(new Error('too late'))
    }, milliseconds)

    const fail = (cause: unknown) => {
      clearTimeout(timer)
      if (cause instanceof KeystoneFailure) return reject(cause)
      if (isLate) {
        const message = `Keystone did not answer within ${milliseconds / 1000} s`
        return reject(new KeystoneFailure(message, { isAway: true }))
      }
      if (sent.reusedSocket && !hasAnswer) return reject(new StaleConnection())
      const reason = reasonOf(cause)
      reject(new KeystoneFailure(`Keystone cannot be reached: ${reason}`, { isAway: true, cause }))
    }
    sent.on('error', fail)
    sent.on('response', response => {
      hasAnswer = true
      read(response)
        .then(value => {
          clearTimeout(timer)
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: value })
        })
        .catch(error => {
          sent.destroy()
          fail(error)
        })
    })
    sent.end(text)
  })
}

async function read(response: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += chunk.length
    if (size > answerBytesMax) {
      const message = `Keystone's answer has more than ${answerBytesMax} bytes`
      throw new KeystoneFailure(message, { isAway: false })
    }
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    return undefined
  }
}

/** The code of an error, for instance ECONNREFUSED; its message may tell what was sent. */
function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'the connection broke'
}
