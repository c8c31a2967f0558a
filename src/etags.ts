import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { IpamError } from './errors.ts'

// The entity tag of an object is its generation (RFC 9110 §8.8.3): `"7"`. Addresses that an object
// shows come and go without it, so their digest is behind it: `"7-1f0c5a3b9d2e4f60"`. What is put
// together from several objects has a hash of its content: `"i1S…"`.

/** The entity tags that a caller would find right (`If-Match`); undefined if any is. */
export type Expected = readonly string[] | undefined

/** What an entity tag is made of. */
type Tagged = { readonly generation: number; readonly addresses?: readonly object[] | undefined }

const digestLength = 16

function tagOf({ generation, addresses = [] }: Tagged): string {
  if (addresses.length === 0) return `"${generation}"`
  const digest = createHash('sha256').update(JSON.stringify(addresses)).digest('hex')
  return `"${generation}-${digest.slice(0, digestLength)}"`
}

/** An object that is to be changed, if it still is as the caller knows it. */
export type Target = { readonly id: string; readonly expected?: Expected }

const anyTag = '(?:W/)?"[\\x21\\x23-\\x7e\\x80-\\xff]*"'
const tagList = new RegExp(`^${anyTag}(?:[ \\t]*,[ \\t]*${anyTag})*$`)
const tagsMax = 16

/**
 * The tags of a condition; null if it is met by whatever exists.
 *
 * @throws {IpamError} `invalid_request`
 */
function readTags(text: string, field: 'if-match' | 'if-none-match'): readonly string[] | null {
  if (text === '*') return null
  const tags = tagList.test(text) ? (text.match(new RegExp(anyTag, 'g')) ?? []) : []
  if (tags.length > 0 && tags.length <= tagsMax) return tags
  const detail = `${field}: must be * or at most ${tagsMax} entity tags such as "7", in their quotes`
  throw new IpamError('invalid_request', detail, { field })
}

/**
 * What a caller expects of an object that it wants to change. A weak tag never matches.
 *
 * @throws {IpamError} `invalid_request`
 */
export function readIfMatch(headers: { readonly 'if-match'?: string | undefined }): Expected {
  const { 'if-match': text } = headers
  const tags = text === undefined ? null : readTags(text, 'if-match')
  return tags?.filter(one => !one.startsWith('W/'))
}

/** The generations among the tags that a caller expects. */
export const generationsOf = (expected: readonly string[]): number[] =>
  expected.flatMap(tag => /^"([1-9]\d{0,9})"$/.exec(tag)?.[1] ?? []).map(Number)

/**
 * Refuses to change an object that is not as expected. The caller has locked it.
 *
 * @throws {IpamError} `precondition_failed`
 */
export function refuseUnexpected(object: Tagged, expected: Expected): void {
  if (!expected || expected.includes(tagOf(object))) return
  const { generation } = object
  const detail = `The object has generation ${generation}, and its entity tag is ${tagOf(object)}.`
  throw new IpamError('precondition_failed', detail, { field: 'if-match' })
}

/**
 * Every answer of these routes that is an object with a generation bears an entity tag. Who reads
 * an object and names the tag that it has (`If-None-Match`) is told so, in place of the object.
 */
export function tagAnswers(app: Pick<FastifyInstance, 'addHook'>): void {
  app.addHook<{ generation?: unknown; addresses?: object[] } | null>(
    'preSerialization',
    ({ method, headers }, reply, payload, done) => {
      const generation = payload?.generation
      if (typeof generation === 'number') {
        const tag = tagOf({ generation, addresses: payload?.addresses })
        const condition = method === 'GET' ? headers['if-none-match'] : undefined
        tagReply(reply, condition, tag)
      }
      done(null, payload)
    },
  )
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (reply.statusCode !== 304) return done(null, payload)
    reply.removeHeader('content-type')
    done(null, null)
  })
}

/** Answers a GET with what bears a hash of its content as its entity tag. */
export function sendTagged<T extends object>(
  { headers }: FastifyRequest,
  reply: Pick<FastifyReply, 'header' | 'code'>,
  body: T,
): T {
  const hash = createHash('sha256').update(JSON.stringify(body)).digest('base64url')
  tagReply(reply, headers['if-none-match'], `"${hash}"`)
  return body
}

/** A tag of `If-None-Match` may be a weak one (§13.1.2). */
function tagReply(
  reply: Pick<FastifyReply, 'header' | 'code'>,
  condition: string | undefined,
  tag: string,
): void {
  const known = condition === undefined ? [] : readTags(condition, 'if-none-match')
  if (known === null || known.some(one => one.replace(/^W\//, '') === tag)) reply.code(304)
  reply.header('etag', tag)
}
