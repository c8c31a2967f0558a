import { pino } from 'pino'
import { expect, test } from 'vitest'
import { createWishes, waitingMax, waitingOfNetworkMax } from './wishes.ts'

const log = pino({ level: 'silent' })

/** Wishes that are fulfilled when the test says so. */
function opened() {
  const wishes = createWishes({ log })
  const answered: string[] = []
  const open: (() => void)[] = []
  let made = 0
  const wish = (client: string, network_id = 'n', kind: 'allocate' | 'renew' = 'allocate') =>
    wishes.wish({
      kind,
      network_id,
      client,
      make() {
        made += 1
        return new Promise<string>(resolve => open.push(() => resolve(client)))
      },
      answer: outcome => void answered.push(outcome),
    })
  const settle = async () => {
    for (const fulfil of open.splice(0)) fulfil()
    await new Promise(resolve => setImmediate(resolve))
  }
  return { wishes, wish, settle, answered, made: () => made }
}

test('a wish is carried out, and its client answered', async () => {
  const { wishes, wish, settle, answered } = opened()
  expect(wish('a')).toBe(true)
  expect(wishes.waiting('allocate')).toBe(1)
  await settle()
  expect(answered).toEqual(['a'])
  expect(wishes.waiting('allocate')).toBe(0)
})

test('a client that asks again while it waits is asked for once, and answered what it asked last', async () => {
  const wishes = createWishes({ log })
  const answered: string[] = []
  let fulfil = () => {}
  const wish = (packet: string) =>
    wishes.wish({
      kind: 'allocate',
      network_id: 'n',
      client: 'a',
      make: () => new Promise<void>(resolve => (fulfil = resolve)),
      answer: () => void answered.push(packet),
    })
  wish('first')
  wish('second')
  fulfil()
  await new Promise(resolve => setImmediate(resolve))
  expect(answered).toEqual(['second'])
})

test('one network cannot take all room, and renewals have room of their own', async () => {
  const { wishes, wish, settle, made } = opened()
  const flood = (network: string) => {
    let taken = 0
    for (let n = 0; n < 2 * waitingOfNetworkMax; n += 1) taken += Number(wish(`${n}`, network))
    return taken
  }
  expect(flood('one')).toBe(waitingOfNetworkMax)
  expect(wish('x', 'two')).toBe(true)
  let taken = 0
  for (let n = 0; n < 20; n += 1) taken += flood(`more ${n}`)
  expect(taken).toBe(waitingMax - waitingOfNetworkMax - 1)
  expect(wish('y', 'three')).toBe(false)
  expect(wish('y', 'three', 'renew')).toBe(true)
  expect(wishes.waiting('renew')).toBe(1)
  expect(made()).toBe(waitingMax + 1)
  await settle()
  expect(wish('y', 'three')).toBe(true)
})

test('what goes wrong is over', async () => {
  const wishes = createWishes({ log })
  const fail = {
    kind: 'renew' as const,
    network_id: 'n',
    make: () => Promise.reject(new Error('no')),
  }
  const wrong = {
    kind: 'renew' as const,
    network_id: 'n',
    make: () => Promise.resolve(),
  }
  wishes.wish({ ...fail, client: 'a', answer: () => {} })
  wishes.wish({
    ...wrong,
    client: 'b',
    answer() {
      throw new Error('no')
    },
  })
  await new Promise(resolve => setImmediate(resolve))
  expect(wishes.waiting('renew')).toBe(0)
})
