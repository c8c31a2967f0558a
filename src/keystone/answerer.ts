import { createCircuit } from './circuit.ts'
import { KeystoneFailure } from './failure.ts'
import { createGate, GateFull } from './gate.ts'
import type { KeystoneObserver } from './observer.ts'
import type { Session } from './session.ts'
import { type Identity, identityOf, listsService, readTokenBody } from './token-body.ts'

/** What is known of a token: whose it is, that it is worth nothing, or nothing. */
export type Verdict =
  | {
      readonly kind: 'good'
      readonly identity: Identity
      /** Whether its catalogue has this service; only asked where access rules count. */
      readonly lists_service: boolean
    }
  | { readonly kind: 'bad'; readonly reason: string }
  | {
      readonly kind: 'unknown'
      readonly reason: string
      /** Whether it was us who had too much to do, and not Keystone that was away. */
      readonly isBusy: boolean
    }

export type AnswererOptions = {
  readonly session: Session
  readonly settings: {
    readonly service_type: string
    readonly timeout_seconds: number
    readonly validations_max: number
    readonly waiting_max: number
  }
  readonly now?: () => number
  readonly random?: () => number
  readonly observer?: KeystoneObserver | undefined
}

export type Question = {
  /** Whether Keystone shall say of an expired token whose it was. */
  readonly expiredToo: boolean
  /** Goes before those that are not. */
  readonly isPreferred: boolean
}

/** Asks Keystone about tokens: so many at a time, and not while it is away. */
export type Answerer = {
  ask(token: string, question: Question): Promise<Verdict>
  /** Seconds after which it makes sense to ask again. */
  retryAfter(): number
}

const circuitLimits = { failures_max: 3, rest_seconds: 1, rest_seconds_max: 10 }

export const notValid = { kind: 'bad', reason: 'The token is not valid.' } as const
export const expired = { kind: 'bad', reason: 'The token has expired.' } as const
const unscoped = {
  kind: 'bad',
  reason: 'The token has no scope: ask for one of a project, a domain or the system.',
} as const

export function createAnswerer(options: AnswererOptions): Answerer {
  const { session, settings, now = Date.now, random = Math.random, observer } = options
  const { timeout_seconds, validations_max: under_way_max, waiting_max } = settings
  const gate = createGate({ under_way_max, waiting_max, wait_seconds: timeout_seconds, now })
  const circuit = createCircuit({ ...circuitLimits, now, random })
  let failure: string | null = null
  observer?.watchValidations(() => ({ under_way: gate.underWay(), waiting: gate.waiting() }))

  async function askIfThere(token: string, expiredToo: boolean): Promise<Verdict> {
    if (!circuit.enter()) {
      throw new KeystoneFailure(failure ?? 'Keystone is away', { isAway: true })
    }
    const begin = performance.now()
    const tell = (outcome: 'valid' | 'invalid' | 'unavailable') =>
      observer?.onValidation(outcome, (performance.now() - begin) / 1000)
    try {
      const verdict = await askKeystone(token, expiredToo)
      tell(verdict.kind === 'good' ? 'valid' : 'invalid')
      seen()
      return verdict
    } catch (error) {
      tell('unavailable')
      if (error instanceof KeystoneFailure && error.isAway) missed(error.message)
      else circuit.succeeded() // It answers, though not as it should.
      throw error
    }
  }

  function seen(): void {
    circuit.succeeded()
    if (failure !== null) observer?.onBack()
    failure = null
  }

  function missed(reason: string): void {
    circuit.failed()
    if (failure === null) observer?.onAway(reason)
    failure = reason
  }

  async function askKeystone(token: string, expiredToo: boolean): Promise<Verdict> {
    const answer = await getToken(token, { expiredToo, withCatalogue: false })
    if (answer === null) return notValid
    const identity = identityOf(answer)
    if (identity === null) return unscoped
    if (identity.expires_at <= now() && !expiredToo) return expired
    if (identity.access_rules === null) return { kind: 'good', identity, lists_service: false }
    const whole = await getToken(token, { expiredToo, withCatalogue: true })
    if (whole === null) return notValid
    return { kind: 'good', identity, lists_service: listsService(whole, settings.service_type) }
  }

  async function getToken(
    token: string,
    { expiredToo, withCatalogue }: { expiredToo: boolean; withCatalogue: boolean },
  ) {
    const parameters = [
      ...(withCatalogue ? [] : ['nocatalog']),
      ...(expiredToo ? ['allow_expired=1'] : []),
    ].join('&')
    const { status, body } = await session.get(
      parameters === '' ? '/auth/tokens' : `/auth/tokens?${parameters}`,
      { 'x-subject-token': token, 'openstack-identity-access-rules': '1' },
    )
    if (status === 404) {
      if (isKeystoneError(body)) return null
      throw new KeystoneFailure('What answers 404 is not Keystone', { isAway: false })
    }
    if (status === 403) {
      throw new KeystoneFailure("Melange's own user may not validate tokens: it has not the role", {
        isAway: false,
      })
    }
    if (status !== 200) {
      throw new KeystoneFailure(`Keystone answers ${status}`, { isAway: false })
    }
    const described = readTokenBody(body)
    if (described) return described
    throw new KeystoneFailure("Keystone's answer is not understood", { isAway: false })
  }

  return {
    async ask(token, { expiredToo, isPreferred }) {
      try {
        return await gate.run(() => askIfThere(token, expiredToo), isPreferred)
      } catch (error) {
        if (error instanceof GateFull) {
          return { kind: 'unknown', reason: error.message, isBusy: true }
        }
        if (error instanceof KeystoneFailure) {
          return { kind: 'unknown', reason: error.message, isBusy: false }
        }
        throw error
      }
    },
    retryAfter: circuit.retryAfter,
  }
}

/** A proxy's page for a path that it does not know is no word about a token. */
function isKeystoneError(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'error' in body
}
