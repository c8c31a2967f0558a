import type { Caller } from '../auth/caller.ts'
import { credentialsOf } from './credentials.ts'
import type { RuleName } from './defaults.ts'
import { evaluate, evaluateForAny, type Target } from './evaluate.ts'
import type { Rules, ScopeType } from './rules.ts'

/** Whether a request is allowed, and the rule that decided. */
export type Verdict = {
  readonly allowed: boolean
  readonly rule: RuleName
  readonly check: string
  /** What refused: the check, or the scope of the token, which is not one of the rule's. */
  readonly refused_by: 'check' | 'scope' | null
}

/** Asks the rule of that name whether the caller may do this to the target. */
export function authorize(
  rules: Rules,
  caller: Caller,
  action: RuleName,
  target: Target = {},
): Verdict {
  const rule = rules.get(action)
  if (!rule) throw new Error(`no rule ${action}`)
  const { check, text, scope_types } = rule
  const scope = scopeOf(caller)
  if (scope_types.length > 0 && !(scope && scope_types.includes(scope))) {
    return { allowed: false, rule: action, check: text, refused_by: 'scope' }
  }
  const allowed = evaluate(check, {
    credentials: credentialsOf(caller),
    target,
    checkOf: name => rules.get(name)?.check,
    known: new Map(),
  })
  return { allowed, rule: action, check: text, refused_by: allowed ? null : 'check' }
}

/** The same for whatever target; null if it depends on that. */
export function authorizeForAny(rules: Rules, caller: Caller, action: RuleName): boolean | null {
  const rule = rules.get(action)
  if (!rule) throw new Error(`no rule ${action}`)
  const scope = scopeOf(caller)
  if (rule.scope_types.length > 0 && !(scope && rule.scope_types.includes(scope))) return false
  const checkOf = (name: string) => rules.get(name)?.check
  return evaluateForAny(rule.check, { credentials: credentialsOf(caller), checkOf })
}

/** Null is a token without scope. */
export function scopeOf({ system_scope, domain_id, project_id }: Caller): ScopeType | null {
  if (system_scope !== null) return 'system'
  if (domain_id !== null) return 'domain'
  return project_id === null ? null : 'project'
}

/** What the log says of a refusal: who asked, and what decided. There is no token in it. */
export function denialOf({ rule, check, refused_by }: Verdict, caller: Caller) {
  const { user_id, project_id, domain_id, system_scope, roles, service } = caller
  return {
    rule,
    check,
    refused_by,
    user_id,
    project_id,
    domain_id,
    system_scope,
    roles,
    service_user_id: service?.user_id ?? null,
    service_roles: service?.roles ?? [],
  }
}
