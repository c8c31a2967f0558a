import type { Caller } from '../auth/caller.ts'
import { type Asked, isAllowed } from './access-rules.ts'
import { type AnswererOptions, createAnswerer, type Verdict } from './answerer.ts'
import { createVerdicts, type VerdictSettings } from './verdicts.ts'

export type ValidatorOptions = Omit<AnswererOptions, 'settings'> & {
  readonly settings: AnswererOptions['settings'] &
    VerdictSettings & {
      /** A service token must hold one of these. */
      readonly service_token_roles: readonly string[]
    }
}

/** The request that a token shall be good for. */
export type TokenUse = Asked & {
  /** The token of the service that asks in the user's name (X-Service-Token). */
  readonly serviceToken?: string | undefined
}

export type Validation =
  | { readonly kind: 'valid'; readonly caller: Caller }
  | { readonly kind: 'invalid'; readonly reason: string }
  | {
      readonly kind: 'unavailable'
      readonly reason: string
      readonly retry_after_seconds: number
    }

export type Validator = {
  /** In whose name a request is made, if its tokens are good for it. */
  validate(token: string, use: TokenUse): Promise<Validation>
  /** Whether a token was found good lately; asks nobody. */
  remembers(token: string): boolean
}

type Service = NonNullable<Caller['service']>

/** Validates tokens as keystonemiddleware's auth_token does: docs/keystone.md says what differs. */
export function createValidator(options: ValidatorOptions): Validator {
  const { settings, now = Date.now, observer } = options
  const answerer = createAnswerer(options)
  const { check, remembers } = createVerdicts({ answerer, settings, now, observer })

  const refuse = (verdict: Exclude<Verdict, { kind: 'good' }>): Validation =>
    verdict.kind === 'bad'
      ? invalid(verdict.reason)
      : {
          kind: 'unavailable',
          reason: verdict.reason,
          retry_after_seconds: answerer.retryAfter(),
        }

  async function checkService(token: string, use: TokenUse): Promise<Service | Validation> {
    const verdict = await check(token.trim(), false)
    if (verdict.kind === 'bad') return invalid(`Of the service: ${verdict.reason}`)
    if (verdict.kind !== 'good') return refuse(verdict)
    const { user_id, project_id, roles } = verdict.identity.caller
    if (!settings.service_token_roles.some(role => roles.includes(role))) {
      return invalid('The service token has none of the roles that a service needs.')
    }
    if (!allows(verdict, use)) return invalid('The service token is not for this request.')
    return { user_id, project_id, roles }
  }

  function allows({ identity, lists_service }: Extract<Verdict, { kind: 'good' }>, use: Asked) {
    const { access_rules } = identity
    if (access_rules === null) return true
    return lists_service && isAllowed(access_rules, use, settings.service_type)
  }

  return {
    remembers,
    async validate(token, use) {
      const service =
        use.serviceToken === undefined ? null : await checkService(use.serviceToken, use)
      if (service !== null && 'kind' in service) return service
      const verdict = await check(token.trim(), service !== null)
      if (verdict.kind !== 'good') return refuse(verdict)
      // A service answers itself for what it does in a user's name.
      if (service === null && !allows(verdict, use)) {
        return invalid('The access rules of the token do not allow this request.')
      }
      // The same object as before, so that what the policy said of it is not asked again.
      const { caller } = verdict.identity
      return { kind: 'valid', caller: service === null ? caller : { ...caller, service } }
    },
  }
}

const invalid = (reason: string): Validation => ({ kind: 'invalid', reason })
