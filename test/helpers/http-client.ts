import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

/** What a server answered. */
export type Answer<T> = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: T
}

/** A problem document, as far as tests look at it. */
export type Problem = {
  readonly code: string
  readonly detail: string
  readonly conflicts?: { readonly id: string; readonly address: string }[]
}

/** There was no complete answer: nobody knows whether the request was carried out. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
  readonly code: string
  /** Whether the answer broke off after it had begun. */
  readonly hadBegun: boolean

  constructor(cause: unknown, hadBegun: boolean) {
    super(`no answer: ${(cause as Error).message}`, { cause })
    this.code = String((cause as NodeJS.ErrnoException).code)
    this.hadBegun = hadBegun
  }
}

type Request = {
  readonly method: string
  readonly path: string
  readonly body?: object | undefined
  readonly headers?: Readonly<Record<string, string>>
}

const timeoutMs = 90_000

/** Sends JSON over connections that are kept, as clients of a cloud do. */
export class HttpClient {
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly #agent: Agent

  constructor(url: string, headers: Record<string, string>, { keepAlive = true } = {}) {
    this.#url = url
    this.#headers = headers
    this.#agent = new Agent({ keepAlive, maxSockets: 256 })
  }

  /** @throws {NoAnswer} */
  async request<T>({ method, path, body, headers: more = {} }: Request): Promise<Answer<T>> {
    const sent = request(new URL(path, this.#url), {
      method,
      agent: this.#agent,
      headers: { ...this.#headers, ...(body && { 'content-type': 'application/json' }), ...more },
      signal: AbortSignal.timeout(timeoutMs),
    })
    let hasBegun = false
    try {
      sent.end(body && JSON.stringify(body))
      const [answer] = (await once(sent, 'response')) as [IncomingMessage]
      hasBegun = true
      const content = await text(answer)
      const { statusCode = 0, headers } = answer
      return { status: statusCode, headers, body: (content ? JSON.parse(content) : null) as T }
    } catch (error) {
      throw new NoAnswer(error, hasBegun)
    }
  }

  close(): void {
    this.#agent.destroy()
  }
}
