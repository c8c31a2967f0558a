import {
  type Static,
  type TArray,
  type TNull,
  type TProperties,
  type TSchema,
  type TString,
  type TUnion,
  Type,
} from 'typebox'
import { type ErrorCode, errorCatalogue, IpamError } from './errors.ts'

/** A shared schema by its `$id`: a `$ref` in OpenAPI, the full type in TypeScript. */
export function ref<S extends TSchema>(schema: S & { $id?: string }) {
  return Type.Unsafe<Static<S>>({ $ref: `${schema.$id}#` })
}

/** An object that refuses members it does not know. */
export function closed<P extends TProperties>(properties: P, options: { $id?: string } = {}) {
  return Type.Object(properties, { ...options, additionalProperties: false })
}

export const Nullable = <S extends TSchema>(schema: S, options: { description?: string } = {}) =>
  Type.Union([schema, Type.Null()], options)

/** One of some words. */
export const oneOf = <const W extends string>(words: readonly W[], options: object = {}) =>
  Type.Unsafe<W>({ type: 'string', enum: words, ...options })

/** A failure (RFC 9457); see docs/errors.md. */
export const Problem = closed(
  {
    type: Type.String({ examples: ['/problems/block_full'] }),
    code: oneOf(Object.keys(errorCatalogue) as ErrorCode[]),
    status: Type.Integer(),
    title: Type.String(),
    detail: Type.String({ description: 'What happened to this request.' }),
    advice: Type.String({ description: 'What to do.' }),
    field: Type.Optional(Type.String({ description: 'The member of the request that is wrong.' })),
    suggestion: Type.Optional(Type.String({ description: 'What would have been right.' })),
    conflicts: Type.Optional(
      Type.Array(
        closed({
          type: oneOf(['block', 'allocation', 'quarantine', 'mac']),
          id: Type.String(),
          address: Type.String(),
        }),
        { description: 'What is in the way; a few of them.' },
      ),
    ),
    items: Type.Optional(
      Type.Array(closed({ index: Type.Integer(), code: Type.String(), detail: Type.String() }), {
        description: 'Of a request for many things, those that were refused; a few of them.',
      }),
    ),
  },
  { $id: 'Problem' },
)

/** The answer of a GET that `sendTagged` tags. */
export const taggedByContent = <S extends TSchema>(schema: S) =>
  Type.Unsafe<Static<S>>({
    description: 'Default Response',
    headers: { ETag: { type: 'string', description: 'The entity tag: a hash of the content.' } },
    content: { 'application/json': { schema } },
  })

/** Failures that every operation can end in. */
const everywhere = [
  'invalid_request',
  'authentication_required',
  'forbidden',
  'request_timeout',
  'uri_too_long',
  'too_many_requests',
  'headers_too_large',
  'identity_unavailable',
  'internal',
] as const
const whileChanging = [
  'payload_too_large',
  'unsupported_media_type',
  'idempotency_key_reused',
  'overloaded',
] as const

/** Response schemas, by status, for the failures an operation can end in. */
export function problems(...codes: readonly ErrorCode[]): Record<number, TSchema> {
  return byStatus([...everywhere, 'database_unavailable', ...codes])
}

/** The same for an operation that changes something. */
export function changeProblems(...codes: readonly ErrorCode[]): Record<number, TSchema> {
  return byStatus([...everywhere, ...whileChanging, 'database_unavailable', ...codes])
}

function byStatus(codes: readonly ErrorCode[]): Record<number, TSchema> {
  const statuses = new Set(codes.map(code => errorCatalogue[code].status))
  return Object.fromEntries([...statuses].map(status => [status, problem(status, codes)]))
}

const problem = (status: number, codes: readonly ErrorCode[]): TSchema =>
  Type.Unsafe({
    description: codes
      .filter(code => errorCatalogue[code].status === status)
      .map(code => `\`${code}\`: ${errorCatalogue[code].title}.`)
      .join(' '),
    content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
  })

// Members that many resources have.

export const DryRun = Type.Optional(
  Type.Boolean({ description: 'Answer what would be done now, and do nothing. It is no promise.' }),
)

export const Id = Type.String({ format: 'uuid' })
export const Name = Type.String({ maxLength: 255 })
export const Description = Type.String({ maxLength: 4096 })
export const Tag = Type.String({ minLength: 1, maxLength: 255 })
export const Tags = Type.Array(Tag, { maxItems: 64, uniqueItems: true })
export const ProjectId = Type.String({ minLength: 1, maxLength: 255 })
export const AddressText = Type.String({ minLength: 1, maxLength: 45, examples: ['192.0.2.10'] })
export const CidrText = Type.String({ minLength: 1, maxLength: 49, examples: ['192.0.2.0/24'] })
export const Time = Type.String({ description: 'RFC 3339, in UTC, with microseconds.' })
export const Generation = Type.Integer({
  minimum: 1,
  maximum: 2_147_483_647,
  description: 'Grows by one with every change.',
})
/** Counts of addresses pass 2^53 in IPv6, so they are decimal strings. */
export const Count = Type.String({ pattern: '^[0-9]+$', examples: ['254'] })
export const ScopeId = Type.String({
  pattern: '^(public|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$',
  description: 'Id of an address scope, or `public`.',
})

// Pages of a list.

export const limitMax = 1000
export const PageQuery = {
  limit: Type.Integer({ minimum: 1, maximum: limitMax, default: 100 }),
  marker: Type.Optional(
    Type.String({ maxLength: 2048, description: 'Where the page before ended: its `next`.' }),
  ),
}
/** What a list is narrowed by: its query without what pages it. */
export type FilterOf<Query> = {
  readonly [K in Exclude<keyof Query, keyof typeof PageQuery | 'sort'>]?: Query[K] | undefined
}

/** A parameter that may be repeated. */
export const TagsQuery = Type.Optional(
  Type.Array(Tag, { maxItems: 16, description: 'Has all of these tags.' }),
)

const Link = closed({ rel: Type.Literal('next'), href: Type.String() })
type Link = typeof Link

/** One page: the items, and the marker and link of the page behind it, if there is one. */
export const pageOf = <S extends TSchema, K extends string>(key: K, item: S) =>
  closed({
    [key]: Type.Array(item),
    next_marker: Nullable(Type.String()),
    links: Type.Array(Link),
  } as { [P in K]: TArray<S> } & { next_marker: TUnion<[TString, TNull]>; links: TArray<Link> })

/** A marker holds the sort values of the last row, so it stays right when that row goes. */
export const writeMarker = (sort: string, values: readonly string[]): string =>
  Buffer.from(JSON.stringify([sort, ...values])).toString('base64url')

/** Whether a sort value of a marker is one that the database can compare with. */
export type SortShape = (value: string) => boolean
export const isText: SortShape = () => true
export const isId: SortShape = value => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)
export const isTime: SortShape = value =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(value) && !Number.isNaN(Date.parse(value))

/**
 * The sort values of a marker that was written for the same sort, each of its shape.
 *
 * @throws {IpamError} `marker_invalid`
 */
export function readMarker(marker: string, sort: string, shapes: readonly SortShape[]): string[] {
  try {
    const [writtenFor, ...values]: unknown[] = JSON.parse(
      Buffer.from(marker, 'base64url').toString(),
    )
    const isSound =
      writtenFor === sort &&
      values.length === shapes.length &&
      values.every((value, index) => typeof value === 'string' && shapes[index]?.(value))
    if (isSound) return values as string[]
  } catch {
    // Falls through to the refusal.
  }
  throw new IpamError('marker_invalid', undefined, { field: 'marker' })
}

/** Cuts a list that was read with one row too many into a page. */
export function toPage<const K extends string, T>(
  {
    key,
    url,
    limit,
    markerOf,
  }: { key: K; url: string; limit: number; markerOf: (item: T) => string },
  found: readonly T[],
) {
  const items = found.slice(0, limit)
  const last = items.at(-1)
  const next_marker = found.length > limit && last !== undefined ? markerOf(last) : null
  const links =
    next_marker === null ? [] : [{ rel: 'next' as const, href: withMarker(url, next_marker) }]
  return { [key]: items, next_marker, links } as { [P in K]: T[] } & {
    next_marker: string | null
    links: { rel: 'next'; href: string }[]
  }
}

/** The URL of the page that begins at a marker. */
export function withMarker(url: string, marker: string): string {
  const [path, query] = url.split('?')
  const parameters = new URLSearchParams(query)
  parameters.set('marker', marker)
  return `${path}?${parameters}`
}
