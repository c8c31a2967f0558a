import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nearestName } from './policy-error.ts'

const names = ['blocks:create', 'blocks:delete', 'networks:create']

test.each([
  ['block:create', 'blocks:create'],
  ['blocks:craete', 'blocks:create'],
  ['network:create', 'networks:create'],
  ['something:else:entirely', null],
])('%s is near to %s', (name, nearest) => {
  expect(nearestName(name, names)).toBe(nearest)
})

test('a name is nearest to itself, and what was inserted is found', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.constantFrom('x', 'yy'), (name, more) => {
      expect(nearestName(name + more, [name, 'none of all of these here'])).toBe(name)
      expect(nearestName(name, [`${name}!`, name])).toBe(name)
    }),
  )
})
