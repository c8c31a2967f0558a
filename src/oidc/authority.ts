import { createHash } from 'node:crypto'
import { decodeJwt, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose'
import type { Authority, Verdict } from '../auth/authority.ts'
import type { Caller } from '../auth/caller.ts'
import type { OidcSettings } from '../oidc-config.ts'
import { type IssuerSettings, readClaims } from './claims.ts'
import { createIssuerKeys, IssuerAway, type IssuerKeys } from './issuer-keys.ts'

export type OidcOptions = {
  readonly settings: OidcSettings
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

type Issuer = { readonly settings: IssuerSettings; readonly keys: IssuerKeys }
type Verified = {
  readonly caller: Caller
  readonly until: number
  readonly keys: IssuerKeys
  readonly version: number
}

/**
 * The authority for tokens that OpenID Connect issuers signed (RFC 7519, RFC 9068). Those of other
 * issuers are somebody else's. A token that was found valid is so until it expires, as long as its
 * issuer keeps its keys as they are.
 */
export function createOidc({ settings, now = Date.now }: OidcOptions): Authority {
  const issuers = new Map<string, Issuer>(
    settings.issuers.map(one => [
      one.issuer,
      { settings: one, keys: createIssuerKeys({ ...settings, issuer: one.issuer, now }) },
    ]),
  )
  const verified = new Map<string, Verified>()
  const tolerance = settings.clock_tolerance_seconds
  const ageMax = settings.token_age_seconds_max

  async function verify(token: string, issuer: Issuer, key: string): Promise<Verdict> {
    const { keys } = issuer
    const options: JWTVerifyOptions = {
      issuer: issuer.settings.issuer,
      audience: issuer.settings.audience,
      algorithms: issuer.settings.algorithms,
      clockTolerance: tolerance,
      currentDate: new Date(now()),
      requiredClaims: ['exp'],
      ...(ageMax !== undefined && { maxTokenAge: ageMax }),
    }
    try {
      const { payload, protectedHeader } = await jwtVerify(
        token,
        (header, jws) => keys.find(header, jws),
        options,
      )
      if (!isAccessToken(protectedHeader.typ))
        return invalid('it is not of the type JWT or at+jwt.')
      const verdict = readClaims(payload, issuer.settings)
      const version = keys.version()
      if (verdict.kind === 'valid' && version !== null) {
        if (verified.size >= settings.cache_max) verified.clear()
        verified.set(key, { caller: verdict.caller, until: endOf(payload), keys, version })
      }
      return verdict
    } catch (error) {
      if (error instanceof IssuerAway) {
        return { kind: 'unavailable', reason: `The issuer of the token: ${error.message}.` }
      }
      if (error instanceof errors.JOSEError) return invalid(explain(error))
      throw error
    }
  }

  function endOf({ exp = 0, iat = 0 }: JWTPayload): number {
    const end = ageMax === undefined ? exp : Math.min(exp, iat + ageMax)
    return (end + tolerance) * 1000
  }

  function recall(key: string): Verified | undefined {
    const known = verified.get(key)
    if (!known) return undefined
    if (known.until > now() && known.keys.version() === known.version) return known
    verified.delete(key)
    return undefined
  }

  return {
    remembers: token => isJwt(token) && recall(keyOf(token)) !== undefined,
    validate({ token }) {
      if (issuers.size === 0 || !isJwt(token)) return undefined
      if (token.length > settings.token_bytes_max) {
        return Promise.resolve(invalid(`it is larger than ${settings.token_bytes_max} bytes.`))
      }
      const key = keyOf(token)
      const known = recall(key)
      if (known) return Promise.resolve({ kind: 'valid', caller: known.caller })
      const issuer = issuers.get(issuerOf(token) ?? '')
      return issuer && verify(token, issuer, key)
    },
  }
}

const keyOf = (token: string) => createHash('sha256').update(token).digest('base64')

/** Three parts in base64url; the last one is empty if nobody signed. */
const isJwt = (token: string): boolean => /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)

function issuerOf(token: string): string | undefined {
  try {
    const { iss } = decodeJwt(token)
    return typeof iss === 'string' ? iss : undefined
  } catch {
    return undefined
  }
}

/** Other types, such as logout tokens, are signed with the same keys for other ends (RFC 8725 §3.11). */
const isAccessToken = (type: string | undefined): boolean =>
  type === undefined || /^(application\/)?(at\+)?jwt$/i.test(type)

function explain(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'it has expired, or is too old.'
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'aud' ? 'it is not for this service (aud).' : `${error.message}.`
  }
  if (error instanceof errors.JWKSNoMatchingKey) return 'the issuer has no key of this kid and alg.'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'its algorithm is not one that counts here.'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is not right.'
  return `${error.message}.`
}

const invalid = (reason: string): Verdict => ({ kind: 'invalid', reason: `The token: ${reason}` })
