import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { type ErrorCode, IpamError, toProblem } from '../errors.ts'

type Refusal = 'headers' | 'timeout' | 'malformed'

const meanings: Readonly<Record<string, { readonly code: ErrorCode; readonly reason: Refusal }>> = {
  HPE_HEADER_OVERFLOW: { code: 'headers_too_large', reason: 'headers' },
  ERR_HTTP_REQUEST_TIMEOUT: { code: 'request_timeout', reason: 'timeout' },
}

export type ClientErrorOptions = {
  readonly log: Pick<FastifyBaseLogger, 'info' | 'debug'>
  readonly onRefused: (reason: Refusal) => void
}

/**
 * Answers what is no request, or none in time, and ends its connection. What was sent is in the error, and
 * may hold a token: only its code is logged.
 */
export function answerClientError(
  { code = '' }: NodeJS.ErrnoException,
  socket: Socket,
  { log, onRefused }: ClientErrorOptions,
): void {
  const isHttp = code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT'
  if (!isHttp) {
    // The client has gone, or does not speak TLS as we do.
    log.debug({ code }, 'connection broken')
    socket.destroy()
    return
  }
  const meaning = meanings[code] ?? { code: 'invalid_request', reason: 'malformed' }
  onRefused(meaning.reason)
  log.info({ code, address: socket.remoteAddress }, 'not a request')
  if (socket.writable) socket.write(rawAnswer(meaning.code))
  socket.destroySoon()
}

function rawAnswer(code: ErrorCode): string {
  const detail = code === 'invalid_request' ? 'This is no HTTP/1.1 request.' : undefined
  const problem = toProblem(new IpamError(code, detail))
  const body = JSON.stringify(problem)
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}
