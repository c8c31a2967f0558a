import { randomUUID } from 'node:crypto'
import ajvCompiler, {
  type BuildCompilerFromPool,
  type RouteDefinition,
  type ValidatorFactory,
} from '@fastify/ajv-compiler'
import fastifySwagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  LogController,
} from 'fastify'
import { createAuthenticator } from './auth/authenticate.ts'
import type { OpenDatabase } from './db/database.ts'
import { IpamError, toProblem } from './errors.ts'
import { addressScopeRoutes } from './resources/address-scopes/routes.ts'
import {
  AddressScope,
  AddressScopePatch,
  AddressScopeRequest,
} from './resources/address-scopes/schema.ts'
import {
  type Allocator,
  type AllocatorOptions,
  createAllocator,
} from './resources/allocations/allocator-store.ts'
import { allocationRoutes } from './resources/allocations/routes.ts'
import {
  Allocation,
  AllocationPatch,
  AllocationRequest,
  ReleaseRequest,
} from './resources/allocations/schema.ts'
import { blockRoutes } from './resources/blocks/routes.ts'
import {
  Block,
  BlockPatch,
  BlockRequest,
  ChildrenRequest,
  FreeRange,
  Utilisation,
} from './resources/blocks/schema.ts'
import { Event, eventRoutes } from './resources/events/routes.ts'
import { watchEvents } from './resources/events/watch.ts'
import { Problem } from './schema.ts'
import { statusRoutes } from './status-routes.ts'

const sharedSchemas = [
  AddressScope,
  AddressScopePatch,
  AddressScopeRequest,
  Allocation,
  AllocationPatch,
  AllocationRequest,
  Block,
  BlockPatch,
  BlockRequest,
  ChildrenRequest,
  Event,
  FreeRange,
  Problem,
  ReleaseRequest,
  Utilisation,
]

export type AppOptions = {
  readonly db: OpenDatabase
  readonly version: string
  readonly admin_token: string | undefined
  readonly allocator: AllocatorOptions
  readonly tokens: { readonly cache_seconds: number; readonly cache_max: number }
  readonly api: { readonly body_bytes_max: number; readonly request_timeout_seconds: number }
  readonly logger?: FastifyBaseLogger
  /** Takes the place of the built-in allocator: the benchmark compares others with it. */
  readonly customAllocator?: Allocator
}

/** The API over a database; it neither listens nor reads the environment. */
export async function buildApp(options: AppOptions) {
  const { db, version, api, logger } = options
  const app = Fastify({
    ...(logger && { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: api.body_bytes_max,
    requestTimeout: api.request_timeout_seconds * 1000,
    genReqId: () => `req-${randomUUID()}`,
    routerOptions: { maxParamLength: 255 },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    schemaController: {
      compilersFactory: { buildValidator: strictValidator as unknown as ValidatorFactory },
    },
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.removeContentTypeParser('text/plain')

  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Melange',
        description: 'The address service of a cloud.',
        version,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          token: { type: 'apiKey', in: 'header', name: 'X-Auth-Token' },
          bearer: { type: 'http', scheme: 'bearer' },
        },
      },
      security: [{ token: [] }, { bearer: [] }],
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `def-${index}`),
    },
  })
  for (const schema of sharedSchemas) app.addSchema(schema)
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
  answerInProblems(app)

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-openstack-request-id', request.id)
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method, url } = request
    const { statusCode: status, elapsedTime: milliseconds } = reply
    request.log.info({ method, url, status, milliseconds }, 'answered')
  })

  const watch = watchEvents(db)
  app.addHook('preClose', () => watch.close())
  const lanes = Math.max(1, Math.min(options.allocator.lanes, Math.floor(db.connections / 3)))
  const allocator = options.customAllocator ?? createAllocator(db, { ...options.allocator, lanes })
  const authenticate = createAuthenticator({
    db,
    admin_token: options.admin_token,
    ...options.tokens,
  })

  await app.register(statusRoutes, { db, version })
  await app.register(async v2 => {
    v2.addHook('onRequest', authenticate)
    await v2.register(addressScopeRoutes, { db })
    await v2.register(blockRoutes, { db })
    await v2.register(allocationRoutes, { db, allocator })
    await v2.register(eventRoutes, { db, watch })
  })
  await app.ready()
  return app
}

type App = Pick<FastifyInstance, 'setNotFoundHandler' | 'setErrorHandler'>

/** Every failure is answered as a problem document (RFC 9457), and no bug tells its inside. */
function answerInProblems(app: App): void {
  app.setNotFoundHandler(({ method, url }) => {
    throw new IpamError('route_not_found', `There is no ${method} ${url.split('?')[0]}.`)
  })
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = error instanceof IpamError ? error : asIpamError(error)
    if (!known) request.log.error({ err: error }, 'bug')
    else if (known.code === 'database_unavailable') request.log.warn({ err: error }, 'no database')
    const problem = toProblem(
      known ?? new IpamError('internal', `See the server log at ${request.id}.`),
    )
    if (problem.status === 401) reply.header('www-authenticate', 'Bearer realm="melange"')
    if (problem.status === 503) reply.header('retry-after', '1')
    return reply.code(problem.status).type('application/problem+json').send(problem)
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
  if (error.statusCode === 413)
    return new IpamError('payload_too_large', undefined, { cause: error })
  if (error.statusCode === 415) {
    return new IpamError('unsupported_media_type', undefined, { cause: error })
  }
  const isClientFault = error.statusCode !== undefined && error.statusCode < 500
  if (!isClientFault) return null
  return new IpamError('invalid_request', error.message, { field: 'body', cause: error })
}

/** Bodies are taken as sent; only what arrives as text (path, query, headers) is converted. */
function strictValidator(schemas: Parameters<BuildCompilerFromPool>[0]) {
  const compiler = (coerceTypes: false | 'array') =>
    ajvCompiler()(schemas, { customOptions: { coerceTypes, removeAdditional: false } })
  const body = compiler(false)
  const text = compiler('array')
  return (route: RouteDefinition) => (route.httpPart === 'body' ? body : text)(route)
}
