import type { Credentials } from './credentials.ts'
import type { Check, Template } from './language.ts'

/**
 * What a request is about. Members are reached by `%(name)s`, those of members by dots:
 * `%(scope.project_id)s`; `target.` may stand before, as in Keystone's rules.
 * Whoever makes one names each member: a body of a request as a whole would bring members of its own.
 */
export type Target = { readonly [name: string]: TargetValue }
export type TargetValue = string | number | boolean | null | undefined | Target

/** In what a check is evaluated. */
export type Surroundings = {
  readonly credentials: Credentials
  readonly target: Target
  /** The check of a rule; of rules that are loaded there is each. */
  readonly checkOf: (rule: string) => Check | undefined
  /** What rules came to, so that each is evaluated once. */
  readonly known: Map<string, boolean>
}

/** Whether the check allows it. What is missing allows nothing. */
export function evaluate(check: Check, around: Surroundings): boolean {
  switch (check.kind) {
    case 'all':
      return true
    case 'none':
      return false
    case 'not':
      return !evaluate(check.check, around)
    case 'and':
      return check.checks.every(part => evaluate(part, around))
    case 'or':
      return check.checks.some(part => evaluate(part, around))
    case 'rule':
      return evaluateRule(check.name, around)
    case 'role': {
      const role = fill(check.value, around.target)?.toLowerCase()
      const { roles } = around.credentials
      return Array.isArray(roles) && roles.some(held => held.toLowerCase() === role)
    }
    case 'attribute':
      return hasValue(around.credentials[check.attribute], check.value, around.target)
    case 'literal':
      return fill(check.value, around.target, 'None') === check.text
  }
}

/**
 * What the check comes to whatever the target is; null if that depends on the target. So whoever may do
 * something everywhere needs no look at what it is done to.
 */
export function evaluateForAny(
  check: Check,
  around: Pick<Surroundings, 'credentials' | 'checkOf'>,
): boolean | null {
  const inner = (part: Check) => evaluateForAny(part, around)
  switch (check.kind) {
    case 'not': {
      const verdict = inner(check.check)
      return verdict === null ? null : !verdict
    }
    case 'and':
    case 'or': {
      const decisive = check.kind === 'or'
      const verdicts = check.checks.map(inner)
      if (verdicts.includes(decisive)) return decisive
      return verdicts.includes(null) ? null : !decisive
    }
    case 'rule': {
      const found = around.checkOf(check.name)
      return found === undefined ? false : inner(found)
    }
    case 'attribute':
      if (around.credentials[check.attribute] === null && isFilled(check.value)) return false
  }
  const asks = 'value' in check && isFilled(check.value)
  return asks ? null : evaluate(check, { ...around, target: {}, known: new Map() })
}

const isFilled = (value: Template): boolean => value.some(part => typeof part !== 'string')

function evaluateRule(name: string, around: Surroundings): boolean {
  const known = around.known.get(name)
  if (known !== undefined) return known
  const check = around.checkOf(name)
  const verdict = check !== undefined && evaluate(check, around)
  around.known.set(name, verdict)
  return verdict
}

/** Null is like no value that is taken from the target, not even another null. */
function hasValue(
  attribute: Credentials[keyof Credentials],
  value: Template,
  target: Target,
): boolean {
  if (attribute === null) return value.length === 1 && value[0] === 'None'
  const text = fill(value, target)
  if (text === null) return false
  if (Array.isArray(attribute)) return attribute.includes(text)
  return textOf(attribute as string | boolean) === text
}

/** Null if something is missing in the target, or is null and `textOfNull` is not given. */
function fill(value: Template, target: Target, textOfNull: string | null = null): string | null {
  let text = ''
  for (const part of value) {
    const found = typeof part === 'string' ? part : findInTarget(target, part.target)
    const filled = found === null ? textOfNull : textOf(found)
    if (filled === null) return null
    text += filled
  }
  return text
}

/** As Python writes it; null of what has no text. */
function textOf(value: TargetValue): string | null {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  return Number.isSafeInteger(value) ? String(value) : null
}

export function findInTarget(target: Target, name: string): TargetValue {
  const found = findByPath(target, name)
  if (found !== undefined || !name.startsWith('target.')) return found
  return findByPath(target, name.slice('target.'.length))
}

function findByPath(target: Target, name: string): TargetValue {
  if (Object.hasOwn(target, name)) return target[name]
  let found: TargetValue = target
  for (const member of name.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, member)) {
      return undefined
    }
    found = (found as Target)[member]
  }
  return found
}
