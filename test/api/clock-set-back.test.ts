import { expect, test } from 'vitest'
import { useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)

const aDay = 86_400
/** An address is held and released, then its place is made anew under a clock that was set back. */
async function holdAgain(makeAnew: () => Promise<{ id: string }>) {
  const block = await api.createBlock('10.0.0.0/30')
  const before = await api.release(await api.allocateOne(block, { address: '10.0.0.2' }))
  await clock.advance(-aDay)
  await api.delete(`/v2/blocks/${block.id}`)
  const after = await api.allocateOne(await makeAnew(), { address: '10.0.0.2' })
  return { before, after }
}

test.each([
  ['the same block', () => api.createBlock('10.0.0.0/30')],
  ['a greater one', () => api.createBlock('10.0.0.0/24')],
  [
    'a part of another',
    async () => {
      const parent = await api.createBlock('10.0.0.0/24')
      return api.createBlock('10.0.0.0/29', { parent_id: parent.id })
    },
  ],
])('who gets an address in %s begins behind the end of who had it (I4)', async (_, makeAnew) => {
  const { before, after } = await holdAgain(makeAnew)
  expect(after.started_at >= (before.ended_at ?? '')).toBe(true)
})

test('so it does in a block whose children are gone (I4)', async () => {
  const parent = await api.createBlock('10.0.0.0/24')
  const child = await api.createBlock('10.0.0.0/30', { parent_id: parent.id })
  const before = await api.release(await api.allocateOne(child, { address: '10.0.0.2' }))
  await clock.advance(-aDay)
  await api.delete(`/v2/blocks/${child.id}`)
  const after = await api.allocateOne(parent, { address: '10.0.0.2' })
  expect(after.started_at >= (before.ended_at ?? '')).toBe(true)
})
