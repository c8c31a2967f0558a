import { type Check, isRuleName, parseCheck, printCheck } from './language.ts'
import { nearestName, PolicyError } from './policy-error.ts'

export type ScopeType = 'project' | 'domain' | 'system'

/** A rule that is written in code. */
export type RuleDefault = {
  readonly check: string
  readonly description: string
  /** What it decides, as `GET /v2/blocks`; nothing where it is a part of others. */
  readonly operations: readonly string[]
  /** Scopes of a token with which it allows anything; empty where it is a part of others. */
  readonly scope_types: readonly ScopeType[]
}

/** A rule in effect. */
export type Rule = {
  readonly name: string
  readonly check: Check
  /** The check as text. */
  readonly text: string
  readonly source: 'default' | 'file'
  readonly scope_types: readonly ScopeType[]
}
export type Rules = ReadonlyMap<string, Rule>

/** How many rules there may be, and how deep all their checks may nest within each other. */
export const rulesMax = 1000
export const totalDepthMax = 200

/**
 * The rules in code, and over them those of a file. A file may also add rules of its own, whose names
 * have no colon and which others refer to.
 *
 * @throws {PolicyError} if a rule does not parse, refers to none or in a circle, or is not known
 */
export function buildRules(
  defaults: Readonly<Record<string, RuleDefault>>,
  overrides: Readonly<Record<string, unknown>> = {},
): Rules {
  const rules = new Map<string, Rule>()
  for (const [name, { check, scope_types }] of Object.entries(defaults)) {
    rules.set(name, readRule(name, check, { source: 'default', scope_types }))
  }
  const own = Object.keys(overrides).filter(name => !rules.has(name))
  if (rules.size + own.length > rulesMax) {
    throw new PolicyError(`there are more than ${rulesMax} rules; remove some`)
  }
  for (const [name, source] of Object.entries(overrides)) {
    const scope_types = rules.get(name)?.scope_types ?? []
    if (!isRuleName(name) || (!rules.has(name) && name.includes(':'))) throw unknown(name, defaults)
    rules.set(name, readRule(name, source, { source: 'file', scope_types }))
  }
  const referredTo = checkReferences(rules)
  const unused = own.find(name => !referredTo.has(name))
  if (unused !== undefined) throw unknown(unused, defaults)
  return rules
}

function readRule(name: string, source: unknown, rest: Pick<Rule, 'source' | 'scope_types'>): Rule {
  try {
    const check = parseCheck(source)
    return { name, check, text: printCheck(check), ...rest }
  } catch (error) {
    if (error instanceof PolicyError) throw new PolicyError(`rule ${name}: ${error.message}`)
    throw error
  }
}

function unknown(name: string, defaults: Readonly<Record<string, RuleDefault>>): PolicyError {
  const nearest = nearestName(name, Object.keys(defaults))
  const meant = nearest
    ? `${nearest} is meant?`
    : '`melange policy list` shows those that there are'
  const isOwn = isRuleName(name) && !name.includes(':')
  const reason = isOwn
    ? 'there is no such rule, and no other refers to it'
    : 'there is no such rule'
  return new PolicyError(`rule ${name}: ${reason}; ${meant}`)
}

/** All names that are referred to. */
function checkReferences(rules: Rules): Set<string> {
  const depths = new Map<string, number>()
  const path: string[] = []
  const referredTo = new Set<string>()

  function depthOfRule(name: string, level: number): number {
    const known = depths.get(name)
    if (known !== undefined) return known
    const circle = path.indexOf(name)
    if (circle >= 0) {
      const names = [...path.slice(circle), name].join(' -> ')
      throw new PolicyError(`rule ${name}: refers to itself: ${names}`)
    }
    const rule = rules.get(name)
    if (!rule) {
      const nearest = nearestName(name, rules.keys())
      const meant = nearest ? `; ${nearest} is meant?` : ''
      throw new PolicyError(`rule ${path.at(-1)}: there is no rule ${name}${meant}`)
    }
    path.push(name)
    const depth = depthOf(rule.check, level + 1)
    path.pop()
    depths.set(name, depth)
    return depth
  }

  /** How deep a check is; `level` is how deep it stands, so that the way down ends in time. */
  function depthOf(check: Check, level: number): number {
    let depth = 1
    if (check.kind === 'rule') {
      referredTo.add(check.name)
      depth += depthOfRule(check.name, level)
    } else if (check.kind === 'not') {
      depth += depthOf(check.check, level + 1)
    } else if (check.kind === 'and' || check.kind === 'or') {
      depth += Math.max(...check.checks.map(part => depthOf(part, level + 1)))
    }
    if (Math.max(depth, level) <= totalDepthMax) return depth
    const reason = `nested deeper than ${totalDepthMax} with the rules that it refers to`
    throw new PolicyError(`rule ${path.at(-1)}: ${reason}`)
  }

  for (const name of rules.keys()) depthOfRule(name, 0)
  return referredTo
}
