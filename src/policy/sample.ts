import { callerAttributes } from './credentials.ts'
import { ruleDefaults } from './defaults.ts'
import type { RuleDefault } from './rules.ts'

const defaults: readonly [string, RuleDefault][] = Object.entries(ruleDefaults)

/** A policy file with all rules, commented out: what is not changed keeps following the defaults. */
export function samplePolicy(): string {
  const entries = defaults.map(([name, { check, description, operations, scope_types }]) => {
    const comments = [
      ...wrap(description, 98),
      ...operations,
      ...(scope_types.length > 0 ? [`Scopes of the token: ${scope_types.join(', ')}.`] : []),
    ]
    return [...comments.map(text => `# ${text}`), `#"${name}": ${JSON.stringify(check)}`].join('\n')
  })
  return entries.join('\n\n')
}

function wrap(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line === '') lines[lines.length - 1] = word
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines
}

/** The rules as tables of a Markdown document: those that others refer to, then those of operations. */
export function describeRules(): string {
  const base = defaults.filter(([, rule]) => rule.scope_types.length === 0)
  const operations = defaults.filter(([, rule]) => rule.scope_types.length > 0)
  return [
    '| rule | check | meaning |',
    '|---|---|---|',
    ...base.map(([name, { check, description }]) => row(code(name), code(check), description)),
    '',
    '| rule | check | meaning | operations |',
    '|---|---|---|---|',
    ...operations.map(([name, { check, description, operations }]) =>
      row(code(name), code(check), description, operations.map(code).join('<br>')),
    ),
  ].join('\n')
}

/** What check strings may ask of a caller, as a table. */
export function describeCaller(): string {
  const rows = Object.entries(callerAttributes).map(([name, meaning]) => row(code(name), meaning))
  return ['| attribute | is |', '|---|---|', ...rows].join('\n')
}

const code = (text: string): string => `\`${text}\``
const row = (...cells: readonly string[]): string => `| ${cells.join(' | ')} |`
