import { expect, test } from 'vitest'
import { createBoundedMap } from './bounded-map.ts'

test('it forgets what was not used for longest', () => {
  const map = createBoundedMap<{ n: number }>(2)
  map.set('a', { n: 1 })
  map.set('b', { n: 2 })
  expect(map.get('a')).toEqual({ n: 1 })
  map.set('c', { n: 3 })
  expect(['a', 'b', 'c'].map(key => map.get(key)?.n)).toEqual([1, undefined, 3])
  map.set('a', { n: 4 })
  expect(map.size()).toBe(2)
  map.delete('a')
  expect([map.get('a'), map.size()]).toEqual([undefined, 1])
})
