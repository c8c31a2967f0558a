import type { Config } from '../config.ts'
import type { Environment } from './clouds-file.ts'
import { loadCredentials } from './credentials.ts'
import { createHttpClient } from './http.ts'
import type { KeystoneObserver } from './observer.ts'
import { createSession } from './session.ts'
import { createValidator, type Validator } from './validator.ts'

export type Keystone = Validator & {
  /** Where clients are sent that have no valid token. */
  readonly www_authenticate_uri: string
  /** Whether the certificate of Keystone is not checked; worth a warning. */
  readonly insecure: boolean
  close(): void
}

/**
 * Keystone as an authority of Melange.
 *
 * @throws {ConfigError} if Melange's own credentials are not complete.
 */
export function connectKeystone(
  settings: Config['keystone'],
  environment: Environment,
  observer?: KeystoneObserver,
): Keystone {
  const credentials = loadCredentials(settings, environment)
  const { www_authenticate_uri, cafile, insecure } = credentials
  const http = createHttpClient({ timeout_seconds: settings.timeout_seconds, cafile, insecure })
  const session = createSession({ credentials, http, observer })
  const { validate } = createValidator({ session, settings, observer })
  return { validate, www_authenticate_uri, insecure, close: http.close }
}
