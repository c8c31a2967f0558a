import type { Authority } from '../auth/authority.ts'
import type { Config } from '../config.ts'
import type { Environment } from './clouds-file.ts'
import { loadCredentials } from './credentials.ts'
import { createKeystoneClient } from './http.ts'
import type { KeystoneObserver } from './observer.ts'
import { createSession } from './session.ts'
import { createValidator, type Validator } from './validator.ts'

export type KeystoneSettings = Config['keystone']

export type Keystone = Validator & {
  /** The authority for all tokens that are nobody else's. */
  readonly authority: Authority
  /** The value of WWW-Authenticate that OpenStack's clients look for: where to get a token. */
  readonly challenge: string
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
  settings: KeystoneSettings,
  environment: Environment,
  observer?: KeystoneObserver,
): Keystone {
  const credentials = loadCredentials(settings, environment)
  const { www_authenticate_uri, cafile, insecure } = credentials
  const http = createKeystoneClient({ timeout_seconds: settings.timeout_seconds, cafile, insecure })
  const session = createSession({ credentials, http, observer })
  const { validate, remembers } = createValidator({ session, settings, observer })
  return {
    validate,
    remembers,
    authority: {
      remembers,
      async validate({ token, serviceToken, method, url }) {
        const outcome = await validate(token, { serviceToken, method, path: url })
        if (outcome.kind !== 'unavailable') return outcome
        return { ...outcome, reason: `${outcome.reason}.` }
      },
    },
    challenge: `Keystone uri="${www_authenticate_uri}"`,
    insecure,
    close: http.close,
  }
}
