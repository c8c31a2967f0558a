import type { FastifyInstance, FastifyRequest } from 'fastify'
import { IpamError } from '../errors.ts'
import { networkOf, readClientAddress } from './client-address.ts'
import { createPathLog } from './logged-path.ts'

type Answered = {
  readonly method: string
  readonly route: string | undefined
  readonly status: number
  readonly milliseconds: number
}

export type GuardOptions = {
  readonly api: { readonly headers_max: number; readonly url_bytes_max: number }
  /** Patterns of paths that the app's own routes do not show. */
  readonly paths: readonly string[]
  readonly onAnswered: (answered: Answered) => void
  readonly onRefused: (reason: 'url' | 'headers') => void
}

/** The address of the client of a request, for logs. */
export const clientAddressOf = (request: FastifyRequest): string =>
  request.getDecorator<string>('clientAddress')
/** What a request counts for, where addresses are counted. */
export const clientNetworkOf = (request: FastifyRequest): string =>
  networkOf(clientAddressOf(request))

/**
 * What holds for every request: its id and the headers of its answer, the bounds of its URL and
 * headers, its line in the log. To be called before any route is added.
 */
export function guardRequests(app: FastifyInstance, options: GuardOptions): void {
  const { api, paths, onAnswered, onRefused } = options
  const pathLog = createPathLog()
  for (const path of paths) pathLog.learn(path)
  app.addHook('onRoute', ({ url }) => pathLog.learn(url))
  app.decorateRequest('clientAddress', '')

  app.addHook('onRequest', async (request, reply) => {
    request.setDecorator<string>('clientAddress', readClientAddress(request))
    reply.header('x-openstack-request-id', request.id)
    // What is answered is somebody's, may change at any time, and is no page.
    reply.header('cache-control', 'no-store')
    reply.header('x-content-type-options', 'nosniff')
    const { rawHeaders, url = '' } = request.raw
    // The parser lets only ASCII into a URL, so that its length is its size.
    if (url.length > api.url_bytes_max) {
      onRefused('url')
      throw new IpamError('uri_too_long', `Path and query may have ${api.url_bytes_max} bytes.`)
    }
    if (rawHeaders.length > 2 * api.headers_max) {
      onRefused('headers')
      throw new IpamError('headers_too_large', `There may be ${api.headers_max} headers.`)
    }
  })

  app.addHook('onResponse', async (request, reply) => {
    const { method } = request
    const { statusCode: status, elapsedTime: milliseconds } = reply
    onAnswered({ method, route: request.routeOptions.url, status, milliseconds })
    const path = pathLog.show(request.url)
    const address = clientAddressOf(request)
    request.log.info({ method, path, status, milliseconds, address }, 'answered')
  })
}
