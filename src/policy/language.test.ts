import fc from 'fast-check'
import { expect, test } from 'vitest'
import { callerAttributes } from './credentials.ts'
import { type Check, depthMax, lengthMax, parseCheck, printCheck } from './language.ts'
import { PolicyError } from './policy-error.ts'

const place = fc
  .constantFrom('project_id', 'scope.project_id', 'network:tenant_id', 'a-b')
  .map(target => ({ target }))
/** No blanks; brackets at an end would be those of the check string. */
const text = fc.stringMatching(/^[\w%:'"\\é(-]{0,6}[\w%:é'"]$/)
const value = fc
  .tuple(fc.option(text), fc.array(place, { maxLength: 2 }), fc.option(text))
  .map(([before, places, after]) => {
    const parts = [before, ...places, after].filter(part => part !== null)
    const isTwoTexts = typeof parts[0] === 'string' && typeof parts[1] === 'string'
    return isTwoTexts ? [`${parts[0]}${parts[1]}`] : parts
  })
  .filter(parts => parts.length > 0)

const leaf: fc.Arbitrary<Check> = fc.oneof(
  fc.constant<Check>({ kind: 'all' }),
  fc.constant<Check>({ kind: 'none' }),
  fc.constantFrom('a', 'blocks:create', 'x.y-z').map((name): Check => ({ kind: 'rule', name })),
  value.map((value): Check => ({ kind: 'role', value })),
  fc
    .tuple(fc.constantFrom(...Object.keys(callerAttributes)), value)
    .map(([attribute, value]) => ({ kind: 'attribute', attribute, value }) as Check),
  fc
    .tuple(fc.constantFrom('', 'admin', 'True', '-7', 'a(b)', "it's", 'the"one'), value)
    .filter(([literal, value]) => {
      const last = value.at(-1)
      // Both quotes are needed inside: such a check cannot be written.
      return !(literal.includes('"') && typeof last === 'string' && last.endsWith("'"))
    })
    .filter(([literal, value]) => {
      const last = value.at(-1)
      return !(literal.includes("'") && typeof last === 'string' && last.endsWith('"'))
    })
    .map(([text, value]): Check => ({ kind: 'literal', text, value })),
)

const { check } = fc.letrec<{ check: Check }>(tie => ({
  check: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    leaf,
    tie('check').map((check): Check => ({ kind: 'not', check })),
    fc
      .tuple(fc.constantFrom('and', 'or'), fc.array(tie('check'), { minLength: 2, maxLength: 4 }))
      .map(([kind, checks]) => ({ kind, checks }) as Check),
  ),
}))

test('what is printed parses to the same', () => {
  fc.assert(
    fc.property(check, check => {
      expect(parseCheck(printCheck(check))).toEqual(check)
    }),
    { numRuns: 1000 },
  )
})

const words = [
  '(',
  ')',
  'and',
  'or',
  'NOT',
  'role:a',
  "'x':%(y)s",
  'http://z',
  "'q'",
  '@',
  ' ',
  '%',
]

test('a text either parses, and prints to what parses to the same, or is refused as such', () => {
  const pieces = fc.array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 12 })
  const source = fc.oneof(
    fc.string({ unit: 'binary' }),
    pieces.map(all => all.join(' ')),
    pieces.map(all => all.join('')),
    fc.array(fc.oneof(pieces, fc.string(), fc.anything())),
    fc.anything(),
  )
  let parsed = 0
  fc.assert(
    fc.property(source, source => {
      const check = parseOrRefuse(source)
      if (!check) return
      parsed++
      expect(parseCheck(printCheck(check))).toEqual(check)
    }),
    { numRuns: 3000 },
  )
  expect(parsed).toBeGreaterThan(50)
})

function parseOrRefuse(source: unknown): Check | null {
  try {
    return parseCheck(source)
  } catch (error) {
    expect(error).toBeInstanceOf(PolicyError)
    expect((error as Error).message).not.toContain('\n')
    return null
  }
}

test.each([
  ['(', 8000],
  ['not ', 2000],
  [')', 8000],
  ['%', 8000],
  ['role:a and ', 700],
])('a long row of "%s" is refused at once', (piece, count) => {
  expect(() => parseCheck(piece.repeat(count))).toThrow(PolicyError)
})

test('the limits are what they say', () => {
  const nested = (depth: number) => `${'('.repeat(depth)}role:a${')'.repeat(depth)}`
  expect(parseCheck(nested(depthMax))).toEqual(parseCheck('role:a'))
  expect(() => parseCheck(nested(depthMax + 1))).toThrow(/nested deeper than 50/)
  const long = `role:${'a'.repeat(lengthMax - 5)}`
  expect(printCheck(parseCheck(long))).toBe(long)
  expect(() => parseCheck(`${long}a`)).toThrow(/longer than 8192 characters/)
  const list = Array.from({ length: 2000 }, () => ['role:a'])
  expect(() => parseCheck(list)).toThrow(/longer than 8192 characters/)
})

test.each([
  ['role:admin or', 'at character 14: a check is missing at the end'],
  ['role:admin role:x', '"role:x" at character 12: put "and" or "or" before it'],
  ['role:a or and role:b', 'character 11: a check is missing before "and"'],
  ['(role:admin', 'character 1: "(" is never closed'],
  ['role:admin)', 'character 11: nothing was opened that ")" closes'],
  ['role:a or ()', 'character 12: a check is missing before ")"'],
  ['admin', 'a check is KIND:VALUE, for instance role:admin'],
  ['"role:admin"', 'a quoted text is no check'],
  ['role:', 'character 5: there is nothing behind the colon'],
  ['role:%(a)d', 'character 6: "%" begins %(name)s'],
  ['@ or user_id:50%', 'character 16: "%" begins %(name)s'],
  ['rule:a/b', 'a rule has a name of letters'],
  ['http://policy.example/check', 'checks that ask a server are not supported'],
  ['https://policy.example/check', 'checks that ask a server are not supported'],
  ['projet_id:%(project_id)s', '"project_id" is meant?'],
  ['tenant:%(project_id)s', 'a caller has no attribute "tenant"; it has user_id, user_domain_id'],
  ["'a\\'b':x", 'quoted texts have no blank, no colon and no backslash'],
  ['1.5:%(x)s', 'a caller has no attribute "1.5"'],
  ['  ', 'write "@" for everyone'],
  ['role:a\u0000', 'character 7: remove the character that cannot be printed'],
  [null, 'a check is a text or a list, not empty'],
  [7, 'not a number'],
  [{ a: 1 }, 'not a mapping'],
  [[['role:a', 3]], 'a list has texts, or lists of texts, not a number'],
  [['role:a and role:b'], 'a text is one check'],
])('%j is refused: %s', (source, message) => {
  expect(() => parseCheck(source)).toThrow(message)
})

test.each([
  ['', '@'],
  ['role:a  AND\n(Not role:b)', 'role:a and not role:b'],
  ['role:a or role:b and role:c', 'role:a or role:b and role:c'],
  ['(role:a or role:b) and role:c', '(role:a or role:b) and role:c'],
  ['((role:a))', 'role:a'],
  ["'True':%(enabled)s", 'True:%(enabled)s'],
  ['"admin":%(role)s', "'admin':%(role)s"],
  [[], '@'],
  [[[]], '!'],
  [['role:a', ['role:b', 'rule:c:d']], 'role:a or role:b and rule:c:d'],
  [['@'], '@'],
])('%j means %s', (source, printed) => {
  expect(printCheck(parseCheck(source))).toBe(printed)
})
