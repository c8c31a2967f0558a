import { hash } from 'node:crypto'
import { createBoundedMap } from '../bounded-map.ts'
import { type Answerer, expired, notValid, type Verdict } from './answerer.ts'
import type { KeystoneObserver, Lookup } from './observer.ts'

export type VerdictSettings = {
  /** How long an answer is believed; 0 asks for each request. */
  readonly token_cache_seconds: number
  readonly token_cache_max: number
  /** How long a refusal is believed; 0 asks for each request. */
  readonly negative_cache_seconds: number
  readonly negative_cache_max: number
  /** How much longer a good answer is believed while Keystone is away. */
  readonly stale_seconds: number
}

export type VerdictOptions = {
  readonly answerer: Answerer
  readonly settings: VerdictSettings
  readonly now: () => number
  readonly observer?: KeystoneObserver | undefined
}

/** What Keystone says of a token, or said not long ago. */
export type Verdicts = {
  /** With `expiredToo` a token counts that Keystone still knows, although it has expired. */
  check(token: string, expiredToo: boolean): Promise<Verdict>
  /** Whether a token was good that has not expired, as long ago as is believed without Keystone. */
  remembers(token: string): boolean
}

type GoodVerdict = Extract<Verdict, { kind: 'good' }>
/** What was true when Keystone was asked. */
type Known = { readonly verdict: GoodVerdict; readonly at: number }
type Asked = { readonly key: string; readonly flight: string; readonly askedAt: number }
type Refused = { readonly reason: string; readonly until: number }
type Question = {
  readonly token: string
  readonly key: string
  readonly expiredToo: boolean
  readonly isPreferred: boolean
}

/** A healthy Keystone answers sooner; who is known does not wait longer for one that is not. */
const patienceMilliseconds = 2000

/**
 * Remembers what Keystone said, by the hash of the token. Refusals are kept apart, so that garbage
 * never drives out what is good.
 */
export function createVerdicts({ answerer, settings, now, observer }: VerdictOptions): Verdicts {
  const good = createBoundedMap<Known>(settings.token_cache_max)
  const refused = createBoundedMap<Refused>(settings.negative_cache_max)
  const underWay = new Map<string, Promise<Verdict>>()
  const cacheMilliseconds = settings.token_cache_seconds * 1000
  const staleMilliseconds = cacheMilliseconds + settings.stale_seconds * 1000

  function tell<V extends Verdict>(lookup: Lookup, verdict: V): V {
    observer?.onLookup(lookup)
    return verdict
  }

  async function check(token: string, expiredToo: boolean): Promise<Verdict> {
    if (!isTokenLike(token)) return tell('malformed', notValid)
    const key = keyOf(token)
    const known = good.get(key)
    if (known && !expiredToo && hasExpired(known)) return tell('negative_hit', expired)
    if (known && isFresh(known)) return tell('hit', known.verdict)
    const refusal = refused.get(flightOf({ key, expiredToo }))
    if (refusal && now() < refusal.until) {
      return tell('negative_hit', { kind: 'bad', reason: refusal.reason })
    }
    const asked = ask({ token, key, expiredToo, isPreferred: known !== undefined })
    if (known) return withPatience(known, asked)
    return tellAsked(await asked)
  }

  const hasExpired = ({ verdict }: Known) => verdict.identity.expires_at <= now()

  /** Of an expired token only an answer counts that Keystone gave after it had expired. */
  const isFresh = (known: Known) =>
    now() < known.at + cacheMilliseconds &&
    (!hasExpired(known) || known.at >= known.verdict.identity.expires_at)

  const isCredible = (known: Known) => !hasExpired(known) && now() < known.at + staleMilliseconds

  function remembers(token: string): boolean {
    const known = isTokenLike(token) && good.get(keyOf(token))
    return known ? isCredible(known) : false
  }

  /** While Keystone is away, what it said before holds: until the token's end, and not for ever. */
  async function withPatience(known: Known, asked: Promise<Verdict>): Promise<Verdict> {
    const mayServe = () => isCredible(known)
    const soon = mayServe() ? await within(patienceMilliseconds, asked) : await asked
    const isAway = soon === undefined || (soon.kind === 'unknown' && !soon.isBusy)
    if (isAway && mayServe()) return tell('stale', known.verdict)
    return tellAsked(await asked)
  }

  const tellAsked = (verdict: Verdict) =>
    tell(verdict.kind === 'unknown' && verdict.isBusy ? 'overloaded' : 'miss', verdict)

  /** One question at a time about a token, however many wait for the answer. */
  function ask({ token, key, expiredToo, isPreferred }: Question): Promise<Verdict> {
    const flight = flightOf({ key, expiredToo })
    const other = underWay.get(flight)
    if (other) return other
    const askedAt = now()
    const asked = answerer
      .ask(token, { expiredToo, isPreferred })
      .then(verdict => {
        remember(verdict, { key, flight, askedAt })
        return verdict
      })
      .finally(() => underWay.delete(flight))
    underWay.set(flight, asked)
    return asked
  }

  function remember(verdict: Verdict, { key, flight, askedAt }: Asked): void {
    if (verdict.kind === 'good') {
      refused.delete(flight)
      if (cacheMilliseconds > 0) good.set(key, { verdict, at: askedAt })
    } else if (verdict.kind === 'bad') {
      good.delete(key)
      const milliseconds = settings.negative_cache_seconds * 1000
      if (milliseconds === 0) return
      refused.set(flight, { reason: verdict.reason, until: now() + milliseconds })
    }
  }

  return { check, remembers }
}

const keyOf = (token: string) => hash('sha256', token, 'base64url')

/** What is refused as expired may be good where expired tokens are allowed. */
const flightOf = ({ key, expiredToo }: Pick<Question, 'key' | 'expiredToo'>) =>
  expiredToo ? `${key}+` : key

/** Fernet tokens have some 200 characters, JWS tokens up to 2000. What is none costs no request. */
const isTokenLike = (token: string) => /^[\w.~+/=%-]{16,4096}$/.test(token)

/** What a promise comes to, or undefined when it takes longer. */
function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, milliseconds, undefined)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
