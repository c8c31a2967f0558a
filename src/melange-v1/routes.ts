import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Callers } from '../audit-trail/callers.ts'
import { isWrite, nameWhoAsks } from '../audit-trail/done-by.ts'
import type { Authenticate } from '../auth/authenticate.ts'
import { type Database, inNameOf, retryTransaction } from '../db/database.ts'
import { errorCatalogue, IpamError } from '../errors.ts'
import type { Rules } from '../policy/rules.ts'
import { originOf } from '../server/origin.ts'
import { addressRoutes } from './addresses.ts'
import { allowedRoutes } from './allowed.ts'
import { blockRoutes } from './blocks.ts'
import { Fault, type FaultStatus, noSuchPath } from './fault.ts'
import { instanceRoutes } from './instances.ts'
import { interfaceRoutes } from './interfaces.ts'
import { ipRoutes } from './ip-routes.ts'
import { macRangeRoutes } from './mac-ranges.ts'
import { natMappingRoutes } from './nat.ts'
import { askedFormat, askedVersion, type Format, readPath } from './negotiate.ts'
import { policyRoutes } from './policies.ts'
import { readBody } from './request-body.ts'
import { type Answer, createRouter, type Match } from './route-table.ts'
import type { Settings } from './settings.ts'
import { reachOf, refuseByHeaders, tenantOf } from './tenancy.ts'
import type { Data } from './values.ts'
import { writeXml, writeXmlFault, writeXmlPage, xmlExtensions } from './xml-write.ts'

const routes = [
  ...natMappingRoutes,
  ...allowedRoutes,
  ...addressRoutes,
  ...ipRoutes,
  ...blockRoutes,
  ...policyRoutes,
  ...interfaceRoutes,
  ...instanceRoutes,
  ...macRangeRoutes,
]
const findRoute = createRouter(routes)

/** The paths below those of the versions, as patterns. */
export const paths: readonly string[] = routes.map(({ path }) => path)

export type MelangeV1Options = {
  readonly db: Database
  readonly settings: Settings
  readonly authenticate: Authenticate
  readonly rules: () => Rules
  readonly callers: Callers
}

/**
 * Melange's own API, v0.1 and v1.0. Its paths follow rules that no router of ours has (suffixes,
 * versions in a header), so that it has a table of its own behind a few wildcards.
 */
export async function melangeV1(
  app: FastifyInstance,
  { db, settings, authenticate, rules, callers }: MelangeV1Options,
): Promise<void> {
  app.decorateRequest('caller', null)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.setErrorHandler((error, request, reply) => sendFault(reply, request, asFault(error, request)))

  app.addHook('onRequest', authenticate)
  app.addHook('onRequest', async request => {
    if (settings.identity_headers) refuseByHeaders(request)
    reachOf(request, rules())(tenantOf(request))
  })

  const entrances = [
    '/v0.1',
    '/v0.1/*',
    '/v1.0',
    '/v1.0/*',
    '/ipam/*',
    '/extensions',
    '/extensions/*',
  ]
  const options = { exposeHeadRoute: false, schema: { hide: true } }
  for (const path of entrances) {
    app.all(path, options, async (request, reply) => {
      const format = formatOf(request)
      const { version, path, ...asked } = askedVersion(pathOf(request), request.headers.accept)
      if (version === null) {
        const isUnsupported = 'isUnsupported' in asked && asked.isUnsupported
        throw isUnsupported ? new Fault(406, 'version not supported') : noSuchPath()
      }
      if (settings.extensions && /^\/extensions(\.(json|xml))?$/.test(path)) {
        if (request.method === 'GET') return sendExtensions(reply, format)
      }
      const match = findRoute(version, request.method, path)
      if (!match) throw noSuchPath()
      const operation = `${request.method} /v${version}${match.path}`
      const doneBy = isWrite(request) ? await nameWhoAsks(request, { callers, operation }) : null
      const noting = inNameOf(db, doneBy)
      const answer = await answerOf(match, request, { db: noting, settings, rules: rules() })
      if (answer.fault) throw answer.fault
      return send(reply, format, answer)
    })
  }
}

const pathOf = ({ url }: FastifyRequest): string => readPath(url) ?? ''
const formatOf = (request: FastifyRequest): Format =>
  askedFormat(pathOf(request), request.headers.accept)

async function answerOf(
  { handler, params }: Match,
  request: FastifyRequest,
  {
    db,
    settings,
    rules,
  }: { readonly db: Database; readonly settings: Settings; readonly rules: Rules },
): Promise<Answer> {
  const { method, headers } = request
  const isWrite = method !== 'GET'
  // What stands in the body of a DELETE means nothing to anyone.
  const text = method === 'POST' || method === 'PUT' ? String(request.body ?? '') : ''
  const url = originOf(request) + request.url
  const query = new URL(url).searchParams
  const body = readBody(text, headers['content-type'])
  const call = { settings, params, query, body, url, reach: reachOf(request, rules) }
  if (!isWrite) return handler({ ...call, db })
  return untilNamed(settings.ip_allocation_retries, () =>
    retryTransaction(db, tx => handler({ ...call, db: tx })),
  )
}

/** Names that the original does not ask for are made up, and somebody may be faster with one. */
async function untilNamed<T>(attemptsMax: number, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const isTaken =
        error instanceof IpamError && /_name_taken$|^(network|interface)_exists$/.test(error.code)
      if (!isTaken || attempt === attemptsMax) throw error
    }
  }
}

function send(reply: FastifyReply, format: Format, { status, root, data, links }: Answer) {
  reply.code(status).type(`application/${format}`)
  if (root === undefined || data === undefined) return reply.send()
  if (format === 'json') {
    return reply.send(JSON.stringify({ [root]: data, ...(links && { [`${root}_links`]: links }) }))
  }
  if (links && Array.isArray(data)) return reply.send(writeXmlPage(root, data as Data[], links))
  return reply.send(writeXml(root, data))
}

function sendExtensions(reply: FastifyReply, format: Format) {
  reply.type(`application/${format}`)
  return reply.send(format === 'json' ? '{"extensions": []}' : xmlExtensions)
}

function sendFault(reply: FastifyReply, request: FastifyRequest, fault: Fault) {
  reply.code(fault.status)
  if (fault.isPlain) return reply.type('text/plain').send(fault.text)
  const format = formatOf(request)
  reply.type(`application/${format}`)
  if (format === 'xml') return reply.send(writeXmlFault(fault.body))
  const { name, ...members } = fault.body
  return reply.send(JSON.stringify({ [name]: members }))
}

const statuses: readonly number[] = [400, 401, 403, 404, 409, 413, 414, 415, 422, 429, 431, 503]

/** Any failure in the original's terms; no bug tells its inside. */
function asFault(error: unknown, request: FastifyRequest): Fault {
  if (error instanceof Fault) return error
  if (error instanceof IpamError && error.code !== 'internal') {
    const { status } = error.code === 'mac_taken' ? { status: 400 } : errorCatalogue[error.code]
    if (status === 503) request.log.warn({ err: error }, 'no database')
    const known = statuses.includes(status) ? (status as FaultStatus) : 409
    return new Fault(known, error.message)
  }
  const { statusCode, message } = error as { statusCode?: number; message?: string }
  if (statusCode !== undefined && statusCode < 500) {
    const known = statuses.includes(statusCode) ? (statusCode as FaultStatus) : 400
    return new Fault(known, message ?? null)
  }
  request.log.error({ err: error }, 'bug')
  return new Fault(500, `See the server log at ${request.id}.`)
}
