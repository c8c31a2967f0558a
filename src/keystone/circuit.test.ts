import { expect, test } from 'vitest'
import { createCircuit } from './circuit.ts'

function setUp() {
  let time = 0
  const circuit = createCircuit({
    failures_max: 3,
    rest_seconds: 1,
    rest_seconds_max: 5,
    now: () => time,
    random: () => 1,
  })
  const fail = (times: number) => {
    for (let index = 0; index < times; index++) {
      expect(circuit.enter()).toBe(true)
      circuit.failed()
    }
  }
  const wait = (seconds: number) => {
    time += seconds * 1000
  }
  return { circuit, fail, wait }
}

test('it lets all pass until three in a row have failed', () => {
  const { circuit, fail } = setUp()
  fail(2)
  circuit.succeeded()
  fail(3)
  expect(circuit.enter()).toBe(false)
})

test('after a rest one may try, and the others only when it has succeeded', () => {
  const { circuit, fail, wait } = setUp()
  fail(3)
  wait(0.99)
  expect(circuit.enter()).toBe(false)
  wait(0.01)
  expect([circuit.enter(), circuit.enter()]).toEqual([true, false])
  circuit.succeeded()
  expect([circuit.enter(), circuit.enter()]).toEqual([true, true])
})

test('rests get longer with each trial that fails, up to the longest', () => {
  const { circuit, fail, wait } = setUp()
  fail(3)
  const rests = [1, 2, 4, 5, 5].map(seconds => {
    expect(circuit.retryAfter()).toBe(seconds)
    wait(seconds - 0.01)
    expect(circuit.enter()).toBe(false)
    wait(0.01)
    fail(1)
    return seconds
  })
  expect(rests).toHaveLength(5)
  circuit.succeeded()
  fail(3)
  expect(circuit.retryAfter()).toBe(1)
})

test('who began before it opened makes no rest longer', () => {
  const { circuit, fail, wait } = setUp()
  expect([circuit.enter(), circuit.enter()]).toEqual([true, true])
  fail(3)
  circuit.failed()
  circuit.failed()
  wait(1)
  expect(circuit.enter()).toBe(true)
})
