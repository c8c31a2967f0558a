import {
  createHttpClient,
  type HttpAnswer,
  HttpFailure,
  type HttpOptions,
  type HttpRequest,
  readCertificates,
} from '../http-client.ts'
import { KeystoneFailure } from './failure.ts'

export type { HttpAnswer, HttpRequest } from '../http-client.ts'

export type HttpClient = {
  /** @throws {KeystoneFailure} */
  send(request: HttpRequest): Promise<HttpAnswer>
  close(): void
}

type KeystoneClientOptions = Pick<HttpOptions, 'timeout_seconds' | 'insecure'> & {
  readonly cafile: string | undefined
}

/** An answer with a catalogue of a hundred services in ten regions has some 500 kB. */
const answer_bytes_max = 4 * 1024 * 1024

/**
 * Sends requests to Keystone.
 *
 * @throws {ConfigError} if `cafile` cannot be read.
 */
export function createKeystoneClient({ cafile, ...options }: KeystoneClientOptions): HttpClient {
  const ca = cafile === undefined ? undefined : readCertificates('keystone.cafile', cafile)
  const http = createHttpClient({ ...options, ca, peer: 'Keystone', answer_bytes_max })
  return {
    send: request =>
      http.send(request).catch(error => {
        if (!(error instanceof HttpFailure)) throw error
        const { message, isAway, cause } = error
        throw new KeystoneFailure(message, { isAway, cause })
      }),
    close: http.close,
  }
}
