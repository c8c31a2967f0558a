import type http from 'node:http'
import type { RequestListener } from 'node:http'
import https from 'node:https'
import type { Tls } from './tls.ts'

export type ListenerSettings = {
  readonly body_bytes_max: number
  readonly header_bytes_max: number
  readonly header_timeout_seconds: number
  readonly request_timeout_seconds: number
  readonly keep_alive_seconds: number
}

/** How often clients that are too slow are looked for, in milliseconds. */
const connectionsCheckingInterval = 500

/** What Fastify is to make its server of. Without TLS it speaks HTTP. */
export function listenerOptions(api: ListenerSettings, tls: Tls | undefined) {
  const requestTimeout = api.request_timeout_seconds * 1000
  const keepAliveTimeout = api.keep_alive_seconds * 1000
  const bounds = {
    maxHeaderSize: api.header_bytes_max,
    headersTimeout: Math.min(api.header_timeout_seconds * 1000, requestTimeout),
    requestTimeout,
    keepAliveTimeout,
    connectionsCheckingInterval,
  }
  const common = { bodyLimit: api.body_bytes_max, requestTimeout, keepAliveTimeout }
  if (tls === undefined) return { ...common, http: bounds }
  const handshakeTimeout = api.header_timeout_seconds * 1000
  const serverFactory = (handler: unknown): http.Server => {
    const options = { ...bounds, handshakeTimeout, ...tls.context() }
    const server = https.createServer(options, handler as RequestListener)
    tls.follow(server)
    // All that is asked of it here, both kinds have.
    return server as unknown as http.Server
  }
  return { ...common, serverFactory }
}
