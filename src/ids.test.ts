import { expect, test } from 'vitest'
import { newId } from './ids.ts'

// More than the 4096 that one millisecond has room for.
const ids = Array.from({ length: 20_000 }, newId)

test('makes UUIDs of version 7 that bear the time', () => {
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  expect(ids.filter(id => !form.test(id))).toEqual([])
  const times = ids.map(id => Number.parseInt(id.replace('-', '').slice(0, 12), 16))
  expect(Math.max(...times.map(time => Math.abs(time - Date.now())))).toBeLessThan(60_000)
})

test('makes each greater than the one before it, so none twice', () => {
  expect(ids.filter((id, index) => index > 0 && id <= (ids[index - 1] ?? ''))).toEqual([])
})
