import { readFileSync } from 'node:fs'
import * as http from 'node:http'
import * as https from 'node:https'
import { ConfigError } from './config.ts'

export type HttpOptions = {
  /** Who is asked, as messages call it. */
  readonly peer: string
  /** From the beginning of a request to the last byte of its answer. */
  readonly timeout_seconds: number
  /** Certificates (PEM) that are trusted instead of the system's. */
  readonly ca: Buffer | undefined
  readonly insecure: boolean
  /** How long an answer may be. */
  readonly answer_bytes_max: number
}

/** There is no answer, or none that is of use. */
export class HttpFailure extends Error {
  override readonly name: string = 'HttpFailure'
  /** Whether the peer as a whole is away, or of no use to us: then others need not try at once. */
  readonly isAway: boolean

  constructor(message: string, { isAway, cause }: { isAway: boolean; cause?: unknown }) {
    super(message, cause === undefined ? undefined : { cause })
    this.isAway = isAway
  }
}

export type HttpRequest = {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  /** Instead of the limit of all requests, where the peer is asked to wait. */
  readonly timeout_seconds?: number
  /** Gives the request up. */
  readonly signal?: AbortSignal
}

export type HttpAnswer = {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** The JSON value; undefined if the body is none. */
  readonly body: unknown
}

export type HttpClient = {
  /** @throws {HttpFailure} */
  send(request: HttpRequest): Promise<HttpAnswer>
  close(): void
}

const redirectsMax = 3
const awayStatuses: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * Sends requests with JSON to one peer: with a limit to time and size, and never to another host than
 * the one asked for, whatever an answer says.
 */
export function createHttpClient(options: HttpOptions): HttpClient {
  const { peer, ca, insecure } = options
  const tls = {
    rejectUnauthorized: !insecure,
    ...(ca && { ca }),
  }
  const pool = { keepAlive: true, maxFreeSockets: 16, scheduling: 'lifo' } as const
  const agents = { 'http:': new http.Agent(pool), 'https:': new https.Agent({ ...pool, ...tls }) }
  const limits = { ...options, tls }

  async function send(request: HttpRequest): Promise<HttpAnswer> {
    const agent = agents[request.url.protocol as keyof typeof agents]
    const answer = await exchange(request, { ...limits, agent }).catch(error => {
      // A kept connection that the peer closed meanwhile says nothing about the peer.
      if (!(error instanceof StaleConnection)) throw error
      return exchange(request, { ...limits, agent: false })
    })
    if (awayStatuses.has(answer.status)) {
      throw new HttpFailure(`${peer} answers ${answer.status}`, { isAway: true })
    }
    return answer
  }

  return {
    send: request => (request.method === 'GET' ? follow(request, { peer, send }) : send(request)),
    close: () => {
      for (const agent of Object.values(agents)) agent.destroy()
    },
  }
}

/** The certificates of a file that a setting names. @throws {ConfigError} if it cannot be read */
export function readCertificates(setting: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ConfigError(`${setting}: ${path} cannot be read`, { cause })
  }
}

async function follow(
  request: HttpRequest,
  { peer, send }: { readonly peer: string; readonly send: HttpClient['send'] },
): Promise<HttpAnswer> {
  let { url } = request
  for (let redirects = 0; redirects <= redirectsMax; redirects++) {
    const answer = await send({ ...request, url })
    const { location } = answer.headers
    const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined
    if (!isRedirect) return answer
    const target = URL.canParse(location, url.href) ? new URL(location, url) : null
    if (target?.origin !== url.origin) {
      throw new HttpFailure(`${peer} redirects to another host`, { isAway: false })
    }
    url = target
  }
  throw new HttpFailure(`${peer} redirects in a circle`, { isAway: false })
}

class StaleConnection extends Error {}

type ExchangeOptions = HttpOptions & {
  readonly agent: http.Agent | false
  readonly tls: https.RequestOptions
}

function exchange(
  { method, url, headers, body, signal, ...own }: HttpRequest,
  { peer, agent, tls, answer_bytes_max, timeout_seconds }: ExchangeOptions,
): Promise<HttpAnswer> {
  const seconds = own.timeout_seconds ?? timeout_seconds
  const text = body === undefined ? undefined : JSON.stringify(body)
  const { request } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    let isLate = false
    let hasAnswer = false
    const sent = request(url, {
      method,
      agent,
      ...tls,
      ...(signal && { signal }),
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
    }, seconds * 1000)

    const fail = (cause: unknown) => {
      clearTimeout(timer)
      if (cause instanceof HttpFailure) return reject(cause)
      if (isLate) {
        const message = `${peer} did not answer within ${seconds} s`
        return reject(new HttpFailure(message, { isAway: true }))
      }
      if (sent.reusedSocket && !hasAnswer) return reject(new StaleConnection())
      const reason = reasonOf(cause)
      reject(new HttpFailure(`${peer} cannot be reached: ${reason}`, { isAway: true, cause }))
    }
    sent.on('error', fail)
    sent.on('response', response => {
      hasAnswer = true
      read(response, { peer, answer_bytes_max })
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

async function read(
  response: http.IncomingMessage,
  { peer, answer_bytes_max }: Pick<HttpOptions, 'peer' | 'answer_bytes_max'>,
): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += chunk.length
    if (size > answer_bytes_max) {
      const message = `${peer}'s answer has more than ${answer_bytes_max} bytes`
      throw new HttpFailure(message, { isAway: false })
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
