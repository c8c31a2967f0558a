import {
  type CryptoKey,
  createLocalJWKSet,
  errors,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWSHeaderParameters,
} from 'jose'
import { getJson } from './get-json.ts'

export type IssuerKeysOptions = {
  readonly issuer: string
  readonly timeout_seconds: number
  readonly keys_seconds: number
  readonly keys_stale_seconds: number
  readonly cooldown_seconds: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** The keys of an issuer cannot be had; the message says why. */
export class IssuerAway extends Error {
  override readonly name = 'IssuerAway'
}

/** The keys with which an issuer signs. */
export type IssuerKeys = {
  /**
   * The key that a token names.
   *
   * @throws {IssuerAway} if it is not known, and the issuer does not answer
   * @throws {errors.JWKSNoMatchingKey} if the issuer does not have it
   */
  find(header?: JWSHeaderParameters, token?: FlattenedJWSInput): Promise<CryptoKey>
  /** Grows when the keys change; null if there are none that may be used. */
  version(): number | null
}

type Known = {
  readonly find: ReturnType<typeof createLocalJWKSet>
  readonly text: string
  readonly version: number
  readAt: number
}

/**
 * Finds the keys by discovery (OpenID Connect Discovery 1.0 §4, RFC 8414), and reads them again when
 * they are old, beside the requests, or when a token names one that is not known. Whatever tokens
 * say, the issuer is not asked again before the cooldown is over. While it is away the known keys
 * go on; jose's own set of remote keys would give them up as soon as they are old.
 */
export function createIssuerKeys(options: IssuerKeysOptions): IssuerKeys {
  const { issuer, keys_seconds, keys_stale_seconds, cooldown_seconds, now = Date.now } = options
  let known: Known | undefined
  let failure: string | undefined
  let reading: Promise<void> | undefined
  let askedAt = Number.NEGATIVE_INFINITY

  const age = () => (known ? (now() - known.readAt) / 1000 : Number.POSITIVE_INFINITY)
  const mayAsk = () => now() - askedAt >= cooldown_seconds * 1000

  async function read(): Promise<void> {
    try {
      const jwks = await readKeys(options)
      const text = JSON.stringify(jwks)
      const readAt = now()
      if (known?.text === text) known.readAt = readAt
      else {
        known = { find: createLocalJWKSet(jwks), text, version: (known?.version ?? 0) + 1, readAt }
      }
      failure = undefined
    } catch (error) {
      failure = (error as Error).message
    } finally {
      askedAt = now()
      reading = undefined
    }
  }

  /** Reads the keys, unless that is under way or was done just now. */
  function refresh(): Promise<void> {
    if (!reading && mayAsk()) reading = read()
    return reading ?? Promise.resolve()
  }

  function usable(): Known | undefined {
    if (age() > keys_seconds) void refresh()
    return age() > keys_stale_seconds ? undefined : known
  }

  const away = () => new IssuerAway(failure ?? `the keys of ${issuer} could not be read`)

  return {
    async find(header, token) {
      if (!usable()) await refresh()
      const before = usable()
      if (!before) throw away()
      try {
        return await before.find(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      }
      await refresh()
      const after = usable()
      if (failure !== undefined || !after) throw away()
      return after.find(header, token)
    },
    version: () => usable()?.version ?? null,
  }
}

async function readKeys({ issuer, timeout_seconds }: IssuerKeysOptions): Promise<JSONWebKeySet> {
  const path = '/.well-known/openid-configuration'
  const about = await getJson(issuer.replace(/\/$/, '') + path, { timeout_seconds })
  if (about.issuer !== issuer) {
    throw new Error(`${issuer}: it says that it is ${JSON.stringify(about.issuer)}`)
  }
  const url = String(about.jwks_uri)
  if (!isSafe(url)) throw new Error(`${issuer}: jwks_uri is no URL of https`)
  const jwks = await getJson(url, { timeout_seconds })
  if (!Array.isArray(jwks.keys)) throw new Error(`${url}: there are no keys`)
  return jwks as unknown as JSONWebKeySet
}

/** Keys come by https, or from this machine. */
function isSafe(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname } = new URL(url)
  const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
  return protocol === 'https:' || (protocol === 'http:' && isHere)
}
