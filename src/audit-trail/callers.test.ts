import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Caller } from '../auth/caller.ts'
import { admin } from '../auth/token-store.ts'
import type { Database } from '../db/database.ts'
import { hostOf } from './asker.ts'
import { createCallers } from './callers.ts'

const hour = 3_600_000
let asked: number
let answer: () => Promise<{ id: number }[]>
/** Numbers callers one after the other, or is away. */
const db = {
  query: () => {
    asked++
    return answer()
  },
} as unknown as Database
const origin = { ip: '192.0.2.1', headers: { 'user-agent': 'client/1.0' } }
const member: Caller = { ...admin, user_id: 'mia', roles: ['member'] }

beforeEach(() => {
  vi.useFakeTimers()
  asked = 0
  answer = async () => [{ id: asked }]
})
afterEach(() => vi.useRealTimers())

test('asks once for each caller, operation and place, however many ask', async () => {
  const callers = createCallers(db)
  const one = () => callers.idOf(origin, member, 'POST /v2/networks')
  expect(await Promise.all([one(), one(), one()])).toEqual([1, 1, 1])
  expect(one()).toBe(1)
  // The same caller, as an answer about another token has it.
  expect(callers.idOf(origin, { ...member }, 'POST /v2/networks')).toBe(1)
  expect(asked).toBe(1)
  expect(await callers.idOf(origin, member, 'POST /v2/macs')).toBe(2)
  expect(await callers.idOf({ ...origin, ip: '192.0.2.2' }, member, 'POST /v2/macs')).toBe(3)
  expect(await callers.idOf(origin, admin, 'POST /v2/macs')).toBe(4)
})

test('looks again after an hour, for which nobody waits, and waits after half a day', async () => {
  const callers = createCallers(db)
  const one = () => callers.idOf(origin, member, 'POST /v2/networks')
  await one()
  vi.advanceTimersByTime(hour)
  answer = () => Promise.reject(new Error('away'))
  expect([one(), one()]).toEqual([1, 1])
  expect(asked).toBe(2)
  await vi.advanceTimersByTimeAsync(59_000)
  expect([one(), asked]).toEqual([1, 2])
  await vi.advanceTimersByTimeAsync(2000)
  answer = async () => [{ id: 1 }]
  expect([one(), asked]).toEqual([1, 3])
  await vi.advanceTimersByTimeAsync(hour - 1000)
  expect([one(), asked]).toEqual([1, 3])
  vi.advanceTimersByTime(13 * hour)
  answer = async () => [{ id: 9 }]
  expect(await one()).toBe(9)
})

test('a caller who could not be noted is asked for again', async () => {
  const callers = createCallers(db)
  const one = () => callers.idOf(origin, member, 'POST /v2/networks')
  answer = () => Promise.reject(new Error('away'))
  await expect(one()).rejects.toThrow('away')
  answer = async () => [{ id: 5 }]
  expect(await one()).toBe(5)
})

test.each([
  ['curl/7.88.1', {}, 'curl/7.88.1'],
  ['openstacksdk/4.0.0 keystoneauth1/5.3.0 CPython/3.11.2', {}, undefined],
  ['client abcdefgh', { 'x-auth-token': 'abcdefgh' }, null],
  ['client abcdefgh', { authorization: 'Bearer abcdefgh' }, null],
  ['client abcdefgh', { 'x-service-token': ' abcdefgh ' }, null],
  [`client melange_${'x'.repeat(43)}`, {}, null],
  ['client 0123456789abcdef0123456789abcdef', {}, null],
  ['a\u0000b\nc', {}, 'abc'],
  ['x '.repeat(400), {}, 'x '.repeat(400).slice(0, 255)],
  ['', {}, null],
])('of a client that calls itself %j is kept what is no secret', (agent, more, kept) => {
  const headers = { 'user-agent': agent, ...more }
  expect(hostOf({ ip: '::1', headers })).toEqual({
    address: '::1',
    agent: kept === undefined ? agent : kept,
  })
})
