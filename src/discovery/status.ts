import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { splitListen } from '../config.ts'
import { urlOf } from '../server/origin.ts'

/** How the process fares. */
export type Status = {
  /** Whether machines are answered. */
  readonly is_ready: boolean
  readonly version: string
  readonly driver: string
  readonly networks: number
  readonly hosts: number
  readonly api: {
    readonly is_connected: boolean
    /** When it answered last, in seconds since 1970; null if it never did. */
    readonly answered_at: number | null
    /** Why it does not. */
    readonly reason: string | null
  }
  readonly leases_pending: number
  /** What does not work, a line each. Machines may well be answered all the same. */
  readonly problems: readonly string[]
}

export type StatusServer = { readonly url: string; close(): Promise<void> }

/**
 * /healthz: 200 as long as the process is up, with what is wrong; /readyz: 200 when machines are answered,
 * else 503; /metrics for Prometheus.
 */
export async function serveStatus(
  listen: string,
  { status, registry }: { readonly status: () => Status; readonly registry: Registry },
): Promise<StatusServer> {
  const sendJson = (response: ServerResponse, code: number, body: object) => {
    response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  const server = createServer((request, response) => {
    if (request.method !== 'GET') return sendJson(response, 405, { error: 'only GET' })
    const now = status()
    switch (request.url) {
      case '/healthz': {
        const isWell = now.problems.length === 0 && now.api.is_connected && now.is_ready
        return sendJson(response, 200, { status: isWell ? 'ok' : 'degraded', ...now })
      }
      case '/readyz':
        return sendJson(response, now.is_ready ? 200 : 503, now)
      case '/metrics':
        registry.metrics().then(
          text => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
          () => sendJson(response, 500, { error: 'the metrics could not be collected' }),
        )
        return
      default:
        return sendJson(response, 404, { error: 'there are /healthz, /readyz and /metrics' })
    }
  })
  server.requestTimeout = 5000
  server.maxConnections = 64
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(splitListen(listen), () => resolve())
  })
  return { url: urlOf(server.address() as AddressInfo, 'http'), close: () => closeServer(server) }
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise(resolve => server.close(() => resolve()))
}
