import fc from 'fast-check'
import { expect, test } from 'vitest'
import { allOf, type Sql, sql } from './sql.ts'

/** What the server would read: the text with its parameters put back in their places. */
const fill = ({ text, values }: Sql) =>
  text.replace(/\$(\d+)/g, (_, n) => JSON.stringify(values[Number(n) - 1]))

/** A statement made of statements, and what it should read as. */
const { nested } = fc.letrec<{ nested: { made: Sql; read: string } }>(tie => ({
  nested: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.integer().map(value => ({ made: sql`a = ${value}`, read: `a = ${value}` })),
    fc.constant({ made: sql`b`, read: 'b' }),
    fc.tuple(tie('nested'), fc.string(), tie('nested')).map(([left, value, right]) => ({
      made: sql`(${left.made} or c = ${value} or ${right.made})`,
      read: `(${left.read} or c = ${JSON.stringify(value)} or ${right.read})`,
    })),
  ),
}))

test('a statement in a hole is spliced in with its own parameters, however deep', () => {
  fc.assert(
    fc.property(nested, ({ made, read }) => {
      expect(fill(made)).toBe(read)
      const numbers = [...made.text.matchAll(/\$(\d+)/g)].map(([, n]) => Number(n))
      expect(numbers).toEqual(made.values.map((_, index) => index + 1))
    }),
  )
})

test('a value never becomes text', () => {
  const evil = "'; drop table blocks; --"
  const statement = sql`select ${evil}, ${[evil]}, ${null}`
  expect(statement.text).toBe('select $1, $2, $3')
  expect(statement.values).toEqual([evil, [evil], null])
})

test('conditions hold together, and none is no restriction', () => {
  expect(fill(allOf([]))).toBe('true')
  expect(fill(allOf([sql`a = ${1}`, sql`b`]))).toBe('true and a = 1 and b')
})

test('one text has one name whatever its values, and late texts have none', () => {
  const name = (n: number) => sql`select ${n}`.name
  expect(name(1)).toMatch(/^melange_\d+$/)
  expect(name(2)).toBe(name(1))
  expect(sql`select ${1}, 2`.name).not.toBe(name(1))
  const wide = (length: number) => allOf(Array.from({ length }, () => sql`a`)).name
  const names = Array.from({ length: 600 }, (_, index) => wide(index))
  expect(new Set(names.filter(Boolean)).size).toBe(names.filter(Boolean).length)
  expect(names.at(-1)).toBeUndefined()
  expect(name(3)).toBe(name(1))
})
