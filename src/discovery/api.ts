import { type Static, type TSchema, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { type LeaseReport, ServedHost, ServedNetwork } from '../dhcp/served.ts'
import { createHttpClient, type HttpRequest } from '../http-client.ts'
import { Nullable } from '../schema.ts'

/** What happened; `data` is the object after it, or before its end. */
export const ApiEvent = Type.Object({
  cursor: Type.String(),
  at: Type.String(),
  type: Type.String(),
  object_id: Type.String(),
  project_id: Nullable(Type.String()),
  data: Type.Record(Type.String(), Type.Unknown()),
})
export type ApiEvent = Static<typeof ApiEvent>

const EventPage = Type.Object({ events: Type.Array(ApiEvent), cursor: Type.String() })
export type EventPage = Static<typeof EventPage>

const HostPage = Type.Object({
  hosts: Type.Array(ServedHost),
  next_marker: Nullable(Type.String()),
})
const Problem = Type.Object({ code: Type.String(), detail: Type.String() })

const Allocated = Type.Object({
  id: Type.String(),
  block_id: Type.String(),
  address: Type.String(),
  expires_at: Nullable(Type.String()),
})
export type Allocated = Static<typeof Allocated>

const Outcome = Type.Object({
  status: Type.Integer(),
  allocations: Type.Optional(Type.Array(Allocated)),
  problem: Type.Optional(Problem),
})
const Outcomes = Type.Object({ outcomes: Type.Array(Outcome) })
export type Outcome = Static<typeof Outcome>

const Refused = Type.Object({ id: Type.String(), reason: Type.String() })
const Accepted = Type.Object({ accepted: Type.Integer(), refused: Type.Array(Refused) })

/** The API refuses, or does not answer. */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure'
  /** Of the answer; null if there is none. */
  readonly status: number | null
  /** The stable code of its problem. */
  readonly code: string | null

  constructor(message: string, status: number | null, code: string | null = null) {
    super(message)
    this.status = status
    this.code = code
  }

  /** Whether the same request is worth another try. */
  get isPassing(): boolean {
    return this.status === null || this.status === 429 || this.status >= 500
  }
}

export type ApiOptions = {
  readonly url: string
  readonly token: string
  readonly ca: Buffer | undefined
}

/** What of the API machines' servers use. All methods throw `ApiFailure`. */
export type Api = ReturnType<typeof createApi>

const timeoutSeconds = 30
const hostsPerPage = 5000

export function createApi({ url, token, ca }: ApiOptions) {
  const http = createHttpClient({
    peer: 'the API',
    timeout_seconds: timeoutSeconds,
    ca,
    insecure: false,
    answer_bytes_max: 64 * 1024 * 1024,
  })
  const base = url.replace(/\/+$/, '')
  const headers = { authorization: `Bearer ${token}` }

  async function ask<S extends TSchema>(
    check: Check<S>,
    path: string,
    rest: Partial<HttpRequest> = {},
  ): Promise<Static<S>> {
    const target = new URL(path.startsWith('http') ? path : base + path)
    const { status, body } = await http
      .send({ method: 'GET', ...rest, url: target, headers })
      .catch(error => {
        throw new ApiFailure((error as Error).message, null)
      })
    if (status < 200 || status > 299) throw refusalOf(status, body)
    if (!check.Check(body)) {
      const what = `${rest.method ?? 'GET'} ${target.pathname}`
      throw new ApiFailure(`the API answers ${what} in a way that is not understood`, status)
    }
    return body
  }

  return {
    /** Events behind a cursor, as soon as there are some, or none after `wait` seconds. */
    events(after: string, wait: number, signal: AbortSignal): Promise<EventPage> {
      return ask(checks.events, `/v2/events?after=${after}&wait=${wait}&limit=1000`, {
        timeout_seconds: wait + timeoutSeconds,
        signal,
      })
    },

    /** The cursor behind all events that there are. */
    async newestCursor(): Promise<string> {
      return (await ask(checks.events, '/v2/events?after=latest&limit=1')).cursor
    },

    /** A network; null if there is none of this id. */
    async network(id: string): Promise<ServedNetwork | null> {
      return nullIfNone(ask(checks.network, `/v2/networks/${id}/dhcp`))
    },

    /** All hosts of a network, page by page. */
    async *hosts(network_id: string): AsyncGenerator<ServedHost[]> {
      const path = `/v2/networks/${network_id}/dhcp/hosts?limit=${hostsPerPage}`
      let marker: string | null = ''
      while (marker !== null) {
        const from: string = marker && `&marker=${marker}`
        const page: Static<typeof HostPage> | null = await nullIfNone(
          ask(checks.hosts, path + from),
        )
        if (page) yield page.hosts
        marker = page?.next_marker ?? null
      }
    },

    /** Those of these hosts that there are. */
    async hostsNamed(network_id: string, ids: readonly string[]): Promise<ServedHost[]> {
      const query = ids.map(id => `id=${encodeURIComponent(id)}`).join('&')
      const path = `/v2/networks/${network_id}/dhcp/hosts?${query}`
      return (await nullIfNone(ask(checks.hosts, path)))?.hosts ?? []
    },

    /** Takes addresses; what is refused has a problem, and stops none of the others. */
    async allocate(items: readonly object[]): Promise<Outcome[]> {
      const body = { on_error: 'continue', items }
      return (await ask(checks.outcomes, '/v2/allocations/bulk', { method: 'POST', body })).outcomes
    },

    /** A hold lasts so long from now. */
    renew(allocation_id: string, lifetime_seconds: number): Promise<Allocated> {
      const path = `/v2/allocations/${allocation_id}/renew`
      return ask(checks.allocated, path, { method: 'POST', body: { lifetime_seconds } })
    },

    /** Those that were refused come back; they are so for ever. */
    async report(server: string, leases: readonly LeaseReport[]) {
      const body = { server, leases }
      return (await ask(checks.accepted, '/v2/leases', { method: 'POST', body })).refused
    },

    close: () => http.close(),
  }
}

/** Answers of a newer API may say more. */
function tolerant<S extends TSchema>(schema: S) {
  const open = JSON.stringify(schema, (key, value) =>
    key === 'additionalProperties' && value === false ? undefined : value,
  )
  return Compile(JSON.parse(open)) as unknown as Check<S>
}
type Check<S extends TSchema> = { Check(value: unknown): value is Static<S> }

const checks = {
  events: tolerant(EventPage),
  network: tolerant(ServedNetwork),
  hosts: tolerant(HostPage),
  outcomes: tolerant(Outcomes),
  allocated: tolerant(Allocated),
  accepted: tolerant(Accepted),
  problem: tolerant(Problem),
}

function refusalOf(status: number, body: unknown): ApiFailure {
  if (!checks.problem.Check(body)) return new ApiFailure(`the API answers ${status}`, status)
  return new ApiFailure(`the API answers ${status}: ${body.detail}`, status, body.code)
}

async function nullIfNone<V>(asked: Promise<V>): Promise<V | null> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof ApiFailure && error.code === 'network_not_found') return null
    throw error
  }
}
