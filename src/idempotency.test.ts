import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalJson } from './idempotency.ts'

test('what is the same JSON has one text, and what is not has another', () => {
  const value = fc.jsonValue()
  fc.assert(
    fc.property(value, value, (a, b) => {
      expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(JSON.stringify(a)))
      expect(canonicalJson(reversed(a))).toBe(canonicalJson(a))
      expect(canonicalJson(a) === canonicalJson(b)).toBe(isSame(a, b))
    }),
  )
})

test.each([
  [{ b: [1, 1.0, '1'], a: { d: null, c: true } }, '{"a":{"c":true,"d":null},"b":[1,1,"1"]}'],
  [{ 10: 'x', 9: 'y' }, '{"10":"x","9":"y"}'],
  ['\u20ac\n"', '"€\\n\\""'],
  [[], '[]'],
])('%j is %s', (value, text) => {
  expect(canonicalJson(value)).toBe(text)
})

test('what is nested without end is refused, not followed', () => {
  const nested = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`)
  expect(canonicalJson(nested(64))).toHaveLength(128)
  for (const depth of [65, 500_000]) {
    expect(() => canonicalJson(nested(depth))).toThrow(
      expect.objectContaining({ code: 'invalid_request', facts: { field: 'body' } }),
    )
  }
})

/** The same value, with the members of every object the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([name, inner]) => [name, reversed(inner)])
  return Object.fromEntries(members.toReversed())
}

function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) {
    return a === b || (a === 0 && b === 0)
  }
  const [names, others] = [Object.keys(a), Object.keys(b)]
  return (
    Array.isArray(a) === Array.isArray(b) &&
    names.length === others.length &&
    names.every(
      name =>
        Object.hasOwn(b, name) &&
        isSame((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]),
    )
  )
}
