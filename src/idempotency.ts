import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { doneByOf } from './audit-trail/done-by.ts'
import { callerOf } from './auth/authenticate.ts'
import { ownerOf } from './auth/authority.ts'
import { type Database, inNameOf } from './db/database.ts'
import { IpamError } from './errors.ts'
import { type IdempotencyKey, runOnce } from './idempotency-store.ts'

const keyLengthMax = 255
const isKey = (text: string): boolean => /^[ -~]+$/.test(text) && text.length <= keyLengthMax

/** What `once` needs of a reply; the reply knows its request. */
type Reply = Pick<FastifyReply, 'header'> & { readonly request: Request }
type Request = Pick<FastifyRequest, 'getDecorator'>

/** Reads the `Idempotency-Key` of every write to the routes of an app; `keyOf` returns it. */
export function readIdempotencyKeys(
  app: Pick<FastifyInstance, 'decorateRequest' | 'addHook'>,
): void {
  app.decorateRequest('idempotency', null)
  // Before validation, which adds defaults to the body: a fingerprint is of what was sent, so that
  // it stays the same when the next version of the program has other defaults.
  app.addHook('preValidation', (request, _reply, done) => {
    const key = request.headers['idempotency-key']
    if (key !== undefined && request.method !== 'GET' && request.method !== 'HEAD') {
      if (typeof key !== 'string' || !isKey(key)) {
        const detail = `idempotency-key: must be 1 to ${keyLengthMax} printable ASCII characters`
        throw new IpamError('invalid_request', detail, { field: 'idempotency-key' })
      }
      const caller = ownerOf(callerOf(request))
      const idempotency = { caller, key, fingerprint: fingerprintOf(request) }
      request.setDecorator<IdempotencyKey>('idempotency', idempotency)
    }
    done()
  })
}

/** The key that a request came with. */
export const keyOf = (request: Request): IdempotencyKey | null =>
  request.getDecorator<IdempotencyKey | null>('idempotency')

/** Says that an answer is that of an earlier request. */
export function markRepeated(reply: Reply): void {
  reply.header('idempotency-replayed', 'true')
}

/**
 * Does what a write asks for; if it came with a key, then only once, and repeated requests get the
 * first result. Whatever the answer says has to follow from the result. The transactions of the
 * work are noted as done by whoever asks.
 *
 * @throws {IpamError} `idempotency_key_reused`
 */
export async function once<T>(
  { db, reply }: { db: Database; reply: Reply },
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const key = keyOf(reply.request)
  const noting = inNameOf(db, doneByOf(reply.request))
  if (!key) return work(noting)
  const { result, isRepeated } = await runOnce(noting, key, work)
  if (isRepeated) markRepeated(reply)
  return result
}

function fingerprintOf({ method, url, body }: FastifyRequest): string {
  const [path, query] = url.split('?', 2)
  const parameters = new URLSearchParams(query)
  parameters.sort()
  const asked = body === undefined ? '' : canonicalJson(body)
  return createHash('sha256').update(`${method} ${path}?${parameters}\n${asked}`).digest('hex')
}

const depthMax = 64

/**
 * The one text of all that are the same JSON: no spaces, members in the order of their names
 * (RFC 8785).
 *
 * @throws {IpamError} `invalid_request` for what is nested deeper than any request has to be
 */
export function canonicalJson(value: unknown, depth = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (depth === depthMax) {
    throw new IpamError('invalid_request', 'body: is nested too deeply', { field: 'body' })
  }
  const write = (inner: unknown) => canonicalJson(inner, depth + 1)
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`
  const members = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, inner]) => `${JSON.stringify(name)}:${write(inner)}`)
  return `{${members.join(',')}}`
}
