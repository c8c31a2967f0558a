import type { Caller } from '../auth/caller.ts'
import { scopeOf, type Verdict } from './check.ts'
import { credentialsOf } from './credentials.ts'
import { evaluate, findInTarget, type Surroundings, type Target } from './evaluate.ts'
import { type Check, printCheck, type Template } from './language.ts'
import type { Rules } from './rules.ts'

/** How a verdict came about, in lines: each check that was part of it, with what it came to. */
export function explainVerdict(
  rules: Rules,
  caller: Caller,
  { rule, refused_by }: Verdict,
  target: Target,
): string[] {
  const { check, scope_types = [] } = rules.get(rule) ?? {}
  if (!check) return []
  if (refused_by === 'scope') {
    const scope = scopeOf(caller)
    const has = scope === null ? 'has no scope' : `is of ${scope} scope`
    return [`  the token ${has}; the rule wants one of ${scope_types.join(' or ')} scope`]
  }
  const around: Surroundings = {
    credentials: credentialsOf(caller),
    target,
    checkOf: name => rules.get(name)?.check,
    known: new Map(),
  }
  const shown = new Set<string>([rule])
  const lines: string[] = []

  function show(part: Check, depth: number): void {
    const verdict = evaluate(part, around) ? 'yes' : 'no '
    lines.push(`${'  '.repeat(depth)}${verdict} ${printCheck(part)}${missingIn(part, target)}`)
    for (const inner of partsOf(part)) show(inner, depth + 1)
    if (part.kind !== 'rule' || shown.has(part.name)) return
    shown.add(part.name)
    const referred = around.checkOf(part.name)
    if (referred) show(referred, depth + 1)
  }
  show(check, 1)
  return lines
}

function partsOf(check: Check): readonly Check[] {
  if (check.kind === 'not') return [check.check]
  return check.kind === 'and' || check.kind === 'or' ? check.checks : []
}

function missingIn(check: Check, target: Target): string {
  if (!('value' in check)) return ''
  const names = namesOf(check.value).filter(name => findInTarget(target, name) === undefined)
  return names.length === 0 ? '' : ` (the target has no ${names.join(', ')})`
}

const namesOf = (value: Template): string[] =>
  value.flatMap(part => (typeof part === 'string' ? [] : [part.target]))
