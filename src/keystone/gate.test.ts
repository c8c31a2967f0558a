import { expect, test } from 'vitest'
import { createGate, GateFull } from './gate.ts'

function setUp(limits: { under_way_max: number; waiting_max: number }) {
  let time = 0
  const gate = createGate({ ...limits, wait_seconds: 5, now: () => time })
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const run = (name: string, preferred = false) =>
    gate.run(() => {
      begun.push(name)
      return new Promise<void>(resolve => ends.set(name, resolve))
    }, preferred)
  const end = async (name: string) => {
    ends.get(name)?.()
    await new Promise(setImmediate)
  }
  const wait = (seconds: number) => {
    time += seconds * 1000
  }
  return { gate, run, end, begun, wait }
}

test('so many run at a time, the others in their order, those that are preferred first', async () => {
  const { gate, run, end, begun } = setUp({ under_way_max: 2, waiting_max: 10 })
  const all = [run('a'), run('b'), run('c'), run('d'), run('known', true)]
  expect(begun).toEqual(['a', 'b'])
  expect([gate.underWay(), gate.waiting()]).toEqual([2, 3])
  await end('a')
  expect(begun).toEqual(['a', 'b', 'known'])
  await end('b')
  await end('known')
  expect(begun).toEqual(['a', 'b', 'known', 'c', 'd'])
  await end('c')
  await end('d')
  await Promise.all(all)
  expect([gate.underWay(), gate.waiting()]).toEqual([0, 0])
})

test('a crowd that waits is refused, and keeps nobody out who is preferred', async () => {
  const { run, end, begun } = setUp({ under_way_max: 1, waiting_max: 1 })
  const first = run('first')
  const second = run('second')
  await expect(run('third')).rejects.toThrow(GateFull)
  const known = run('known', true)
  await expect(run('known too', true)).rejects.toThrow(GateFull)
  for (const name of ['first', 'known', 'second']) await end(name)
  await Promise.all([first, second, known])
  expect(begun).toEqual(['first', 'known', 'second'])
})

test('who has waited for too long is refused when it would be its turn', async () => {
  const { gate, run, end, begun, wait } = setUp({ under_way_max: 1, waiting_max: 5 })
  const first = run('first')
  const early = run('early')
  const refused = expect(early).rejects.toThrow('waited')
  wait(4)
  const late = run('late')
  wait(2)
  await end('first')
  await refused
  expect(begun).toEqual(['first', 'late'])
  await end('late')
  await Promise.all([first, late])
  expect(gate.underWay()).toBe(0)
})

test('a task that fails leaves its place', async () => {
  const { gate } = setUp({ under_way_max: 1, waiting_max: 1 })
  await expect(gate.run(() => Promise.reject(new Error('no')), false)).rejects.toThrow('no')
  await expect(gate.run(async () => 'yes', false)).resolves.toBe('yes')
})
