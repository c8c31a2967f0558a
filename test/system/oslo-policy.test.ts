import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Caller } from '../../src/auth/caller.ts'
import { callerAttributes, credentialsOf } from '../../src/policy/credentials.ts'
import { ruleDefaults } from '../../src/policy/defaults.ts'
import { evaluate, type Target } from '../../src/policy/evaluate.ts'
import { parseCheck } from '../../src/policy/language.ts'
import { PolicyError } from '../../src/policy/policy-error.ts'
import { asCaller } from '../helpers/callers.ts'

/** Debian's package is seen by Debian's Python only. */
const python = '/usr/bin/python3'
const hasOslo = spawnSync(python, ['-c', 'import oslo_policy.shell']).status === 0
if (!hasOslo) console.warn('no oslo.policy: `npm run setup:debian` installs it for these tests')

type Case = {
  readonly check: unknown
  readonly caller: Caller
  readonly target: Target
  readonly rules: Readonly<Record<string, string>>
}
type Verdict = boolean | null

/** What oslo.policy says; null where it raises an exception. */
function askOslo(cases: readonly Case[]): Verdict[] {
  const script = fileURLToPath(new URL('oslo-policy.py', import.meta.url))
  const lines = cases.map(({ caller, ...rest }) =>
    JSON.stringify({ ...rest, creds: credentialsOf(caller) }),
  )
  const input = `${lines.join('\n')}\n`
  const printed = execFileSync(python, [script], { input, maxBuffer: 1e9, encoding: 'utf8' })
  return printed
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Verdict)
}

/** What we say; null where the check is refused. */
function askOurs({ check, caller, target, rules }: Case): Verdict {
  const known = new Map<string, boolean>()
  const parsed = new Map(Object.entries(rules).map(([name, text]) => [name, parseCheck(text)]))
  const credentials = credentialsOf(caller)
  try {
    const around = { credentials, target, checkOf: (name: string) => parsed.get(name), known }
    return evaluate(parseCheck(check), around)
  } catch (error) {
    if (error instanceof PolicyError) return null
    throw error
  }
}

const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number): T[] =>
  fc.sample(arbitrary, { numRuns, seed: 42 })

const ids = fc.constantFrom('p1', 'p2', 'Admin', 'admin', 'None', 'True', '7')
const roles = fc.subarray(['admin', 'Member', 'reader', 'service', 'P1', 'É', 'None'])
const idOf = (isNullable: boolean) => (isNullable ? fc.option(ids) : ids)

const callers = (isNullable: boolean): fc.Arbitrary<Caller> =>
  fc
    .record({
      user_id: ids,
      user_domain_id: idOf(isNullable),
      project_id: idOf(isNullable),
      project_domain_id: idOf(isNullable),
      domain_id: idOf(isNullable),
      system_scope: isNullable ? fc.constantFrom('all', null) : fc.constant('all' as const),
      roles,
      service: fc.record({ user_id: ids, project_id: idOf(isNullable), roles }),
    })
    .map(members => asCaller(members as Partial<Caller>))

const values = (isNullable: boolean): fc.Arbitrary<string | boolean | number | null> =>
  fc.oneof(idOf(isNullable), fc.boolean(), fc.integer({ min: -9, max: 9 }))

const targets = (isNullable: boolean): fc.Arbitrary<Target> =>
  fc.record(
    {
      project_id: values(isNullable),
      user_id: values(isNullable),
      enabled: values(isNullable),
      scope: fc.record({ project_id: values(isNullable), owner: fc.record({ id: ids }) }),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<Target>

const placeNames = fc.constantFrom(
  'project_id',
  'user_id',
  'enabled',
  'scope.project_id',
  'target.scope.project_id',
  'target.project_id',
  'scope.owner.id',
  'unheard_of',
)
const templates = fc.oneof(
  { weight: 4, arbitrary: placeNames.map(name => `%(${name})s`) },
  { weight: 2, arbitrary: fc.oneof(ids, fc.constantFrom('all', 'False', 'é', 'a(b', 'x%%y')) },
  { weight: 1, arbitrary: fc.tuple(ids, placeNames).map(([id, name]) => `${id}%(${name})s`) },
)
const attributes = fc.constantFrom(...Object.keys(callerAttributes))
const literals = fc.constantFrom("'admin'", '"p1"', 'True', 'False', 'None', '7', '-7', "''")
const leaves = fc.oneof(
  fc.tuple(attributes, templates).map(parts => parts.join(':')),
  fc.tuple(literals, templates).map(parts => parts.join(':')),
  fc.tuple(fc.constantFrom('role'), templates).map(parts => parts.join(':')),
  fc.constantFrom('rule:first', 'rule:second:third', 'rule:none_such', '@', '!'),
)
const signs = fc.constantFrom('and', 'or', 'AND', 'not', 'not', '(', ')')

/** Checks by the grammar, deep and with more brackets than are needed. */
const { expressions } = fc.letrec<{ expressions: string }>(tie => ({
  expressions: fc.oneof(
    { maxDepth: 4 },
    leaves,
    fc
      .tuple(fc.constantFrom('and', 'or', 'Or'), tie('expressions'), tie('expressions'))
      .map(([operator, left, right]) => `${left} ${operator} ${right}`),
    tie('expressions').map(inner => `(${inner})`),
    tie('expressions').map(inner => `not (${inner} )`),
    tie('expressions').map(inner => `not ${inner}`),
  ),
}))
/** Rows of words that are mostly none. */
const rows = fc.array(fc.oneof(leaves, signs), { maxLength: 8 }).map(words => words.join(' '))
const lists = fc.array(fc.oneof(leaves, fc.array(leaves, { maxLength: 3 })), { maxLength: 3 })

const cases = (checks: fc.Arbitrary<unknown>, isNullable: boolean): fc.Arbitrary<Case> =>
  fc
    .record({
      check: checks,
      caller: callers(isNullable),
      target: targets(isNullable),
      rules: fc.record({ first: leaves, 'second:third': fc.constant('rule:first or role:admin') }),
    })
    // A rule that refers to itself is refused when rules are loaded.
    .filter(({ rules }) => !rules.first.startsWith('rule:'))

/** The cases on which both say something else, the first few of them. */
function differences(all: readonly Case[]): unknown[] {
  const oslo = askOslo(all)
  return all
    .map((one, index) => ({ ...one, oslo: oslo[index], ours: askOurs(one) }))
    .filter(({ oslo, ours }) => ours !== oslo)
    .slice(0, 3)
}

describe.skipIf(!hasOslo)('verdicts are those of oslo.policy', () => {
  beforeAll(() => {
    const all = sample(cases(expressions, false), 1000)
    const verdicts = all.map(askOurs)
    // Else nothing would be compared below.
    for (const verdict of [true, false]) {
      expect(verdicts.filter(ours => ours === verdict).length).toBeGreaterThan(200)
    }
  })

  test('of checks by the grammar', () => {
    expect(differences(sample(cases(expressions, false), 6000))).toEqual([])
  })

  test('of the older lists', () => {
    expect(differences(sample(cases(lists, false), 2000))).toEqual([])
  })

  test('of the rules in code', () => {
    const rules = Object.fromEntries(
      Object.entries(ruleDefaults).map(([name, { check }]) => [name, check]),
    )
    const checks = fc.constantFrom(...Object.keys(rules)).map(name => `rule:${name}`)
    const all = sample(cases(checks, false), 3000).map(one => ({ ...one, rules }))
    expect(differences(all)).toEqual([])
  })

  test('of rows of words: what we refuse, oslo.policy denies', () => {
    const all = sample(cases(rows, false), 4000)
    const oslo = askOslo(all)
    const refused = all.filter((one, index) => {
      const ours = askOurs(one)
      // It denies what it cannot parse, or raises an exception.
      const theirs = ours === null ? (oslo[index] ?? false) : oslo[index]
      expect({ ...one, verdict: theirs }).toEqual({ ...one, verdict: ours ?? false })
      return ours === null
    })
    expect(refused.length).toBeGreaterThan(1000)
    expect(all.length - refused.length).toBeGreaterThan(500)
  })

  test('where something is null, too, except that null is not equal to null of the target', () => {
    const all = sample(cases(leaves, true), 6000)
    const oslo = askOslo(all)
    const differing = all.filter((one, index) => askOurs(one) !== oslo[index])
    expect(differing.length).toBeGreaterThan(10)
    for (const one of differing) {
      expect(askOurs(one)).toBe(false)
      expect(JSON.stringify([one.caller, one.target])).toContain('null')
      const texts = [String(one.check), ...Object.values(one.rules)]
      expect(texts.some(text => /^(role|[a-z_]+):.*%\(/.test(text))).toBe(true)
    }
  })
})

test.skipIf(!hasOslo).each([
  ['1.5:%(half)s', true],
  ['0x7:%(seven)s', true],
  ['role:%(seven)d', true],
  ['user_id:%s', false],
  ['user_id:50%', null],
  ['7th:%(seven)s', null],
  ['tenant:p1', false],
  ['role:', false],
  ['rule:', false],
])('%s, which we refuse, is %j to oslo.policy', (check, verdict) => {
  const caller = asCaller({ user_id: '7', roles: ['7'] })
  const one = { check, caller, target: { seven: 7, half: 1.5 }, rules: {} }
  expect([askOurs(one), askOslo([one])]).toEqual([null, [verdict]])
})
