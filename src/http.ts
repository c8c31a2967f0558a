import ajvCompiler, {
  type BuildCompilerFromPool,
  type RouteDefinition,
} from '@fastify/ajv-compiler'
import {
  type Serializer,
  type SerializerFactory,
  SerializerSelector,
} from '@fastify/fast-json-stringify-compiler'
import type { FastifyError, FastifyInstance } from 'fastify'
import { IpamError, toProblem } from './errors.ts'

// What every route shares between the socket and its handler.

type App = Pick<
  FastifyInstance,
  | 'addContentTypeParser'
  | 'getDefaultJsonParser'
  | 'removeContentTypeParser'
  | 'setErrorHandler'
  | 'setNotFoundHandler'
>

/** Bodies are JSON, in texts that can be stored as they were sent. */
export function readJson(app: App): void {
  app.removeContentTypeParser('text/plain')
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    // Many clients name the media type with a DELETE too, which has no body.
    if (body === '') return done(null, undefined)
    // Half a surrogate pair can only be written as an escape, and could not be stored as sent.
    if (/\\u[dD][89a-fA-F]/.test(String(body)) && hasHalfSurrogates(String(body))) {
      const detail = 'The body has half of a UTF-16 surrogate pair in a text.'
      return done(new IpamError('invalid_request', detail, { field: 'body' }))
    }
    return parseJson(request, String(body), done)
  })
}

function hasHalfSurrogates(json: string): boolean {
  try {
    // JSON.stringify escapes halves, and only them.
    return /(?<!\\)(\\\\)*\\ud[89a-f]/.test(JSON.stringify(JSON.parse(json)))
  } catch {
    return false // The parser says what is wrong.
  }
}

/** Every failure is answered as a problem document (RFC 9457), and no bug tells its inside. */
export function answerInProblems(app: App): void {
  app.setNotFoundHandler(({ method, url }) => {
    throw new IpamError('route_not_found', `There is no ${method} ${url.split('?')[0]}.`)
  })
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = error instanceof IpamError ? error : asIpamError(error)
    if (!known) request.log.error({ err: error }, 'bug')
    else if (known.code === 'database_unavailable') request.log.warn({ err: error }, 'no database')
    else if (known.code === 'identity_unavailable')
      request.log.warn({ err: error }, 'no identity service')
    const problem = toProblem(
      known ?? new IpamError('internal', `See the server log at ${request.id}.`),
    )
    return reply.code(problem.status).type('application/problem+json').send(problem)
  })
}

/**
 * Every 401 says what token is wanted (RFC 9110, section 11.6.1), and every 503 when to try again,
 * whatever answers.
 */
export function explainRefusals(app: Pick<FastifyInstance, 'addHook'>, challenge: string): void {
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (reply.statusCode === 401) reply.header('www-authenticate', challenge)
    if (reply.statusCode === 503 && !reply.hasHeader('retry-after')) {
      reply.header('retry-after', '1')
    }
    done(null, payload)
  })
}

/** What Fastify itself refuses, in our terms. */
function asIpamError(error: FastifyError): IpamError | null {
  const [problem] = error.validation ?? []
  if (problem) {
    const { missingProperty, additionalProperty } = problem.params as Record<string, string>
    const { allowedValues = [] } = problem.params as Record<string, readonly string[]>
    const inside = problem.instancePath.slice(1)
    const member = missingProperty ?? additionalProperty
    const field = [inside, member].filter(Boolean).join('/') || error.validationContext || 'body'
    const choice = allowedValues.length > 0 ? `: ${allowedValues.join(', ')}` : ''
    const detail = additionalProperty ? 'is not a known member' : `${problem.message}${choice}`
    return new IpamError('invalid_request', `${field}: ${detail}`, { field, cause: error })
  }
  if (error.statusCode === 413) {
    return new IpamError('payload_too_large', undefined, { cause: error })
  }
  if (error.statusCode === 415) {
    return new IpamError('unsupported_media_type', undefined, { cause: error })
  }
  const isClientFault = error.statusCode !== undefined && error.statusCode < 500
  if (!isClientFault) return null
  return new IpamError('invalid_request', error.message, { field: 'body', cause: error })
}

/**
 * Bodies are taken as sent; only what arrives as text (path, query, headers) is converted. Fastify
 * asks for a compiler for each plugin; one pool lets all of an app share two.
 */
export function strictValidators(): (
  schemas: Parameters<BuildCompilerFromPool>[0],
) => (route: RouteDefinition) => ReturnType<ReturnType<BuildCompilerFromPool>> {
  const pool = ajvCompiler()
  return schemas => {
    const compiler = (coerceTypes: false | 'array') =>
      pool(schemas, {
        customOptions: { coerceTypes, removeAdditional: false },
        // The `urn:uuid:` that the usual format allows is nothing that PostgreSQL takes for a UUID.
        onCreate: ajv => void ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i),
      })
    const body = compiler(false)
    const text = compiler('array')
    return route => (route.httpPart === 'body' ? body : text)(route)
  }
}

/**
 * Serializers of answers, one for each schema. Fastify would compile one for each answer of each
 * route, among them a problem document for each status: most of what a start costs.
 */
export function sharedSerializers(): SerializerFactory {
  const build = SerializerSelector()
  const pool = new Map<string, Map<string, Serializer>>()
  return (schemas, options) => {
    const compile = build(schemas, options)
    const shared = JSON.stringify(schemas)
    const known = pool.get(shared) ?? new Map<string, Serializer>()
    pool.set(shared, known)
    return route => {
      const schema = JSON.stringify(route.schema)
      const serializer = known.get(schema) ?? compile(route)
      known.set(schema, serializer)
      return serializer
    }
  }
}
