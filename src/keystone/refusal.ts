import { IpamError } from '../errors.ts'
import type { Validation } from './validator.ts'

/** What a request gets whose tokens are not good for it. */
export type Refusal = {
  readonly error: IpamError
  /** Headers of the answer beside those of every problem. */
  readonly headers: Readonly<Record<string, string>>
}

/** The value of WWW-Authenticate that OpenStack's clients look for; all 401 have it. */
export const challenge = (www_authenticate_uri: string): string =>
  `Keystone uri="${www_authenticate_uri}"`

/** 401 says where to get a token; 503 says why nobody knows, and when to try again. */
export function refusalOf(
  validation: Exclude<Validation, { kind: 'valid' }>,
  www_authenticate_uri: string,
): Refusal {
  if (validation.kind === 'invalid') {
    return {
      error: new IpamError('authentication_required', validation.reason),
      headers: { 'www-authenticate': challenge(www_authenticate_uri) },
    }
  }
  return {
    error: new IpamError('identity_unavailable', `${validation.reason}.`),
    headers: { 'retry-after': String(validation.retry_after_seconds) },
  }
}
