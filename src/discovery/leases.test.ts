import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { LeaseReport } from '../dhcp/served.ts'
import { ApiFailure } from './api.ts'
import type { LeaseNews } from './driver.ts'
import { openJournal } from './journal.ts'
import { createLeases, type LeaseLog } from './leases.ts'

const log = pino({ level: 'silent' })
const noon = Date.parse('2030-01-01T12:00:00Z')
const news: LeaseNews = {
  allocation_id: '00000000-0000-4000-8000-000000000001',
  network_id: '00000000-0000-4000-8000-000000000002',
  address: '10.0.0.5',
  mac_address: '52:54:00:00:00:01',
  client_id: null,
  duid: null,
  iaid: null,
  host_name: 'web',
  relay: null,
  state: 'bound',
  at: noon,
  ends_at: noon + 60_000,
}

let folder: string
let stopping: AbortController
/** What the API was told, batch by batch, and what it answers. */
let told: LeaseReport[][]
let sent: (readonly LeaseReport[])[]
let answer: () => { id: string; reason: string }[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-leases-'))
  stopping = new AbortController()
  told = []
  sent = []
  answer = () => []
})
afterEach(() => rmSync(folder, { recursive: true }))

async function open() {
  const journal = await openJournal({ path: join(folder, 'leases.ndjson'), sync: true })
  const api = {
    report: async (_server: string, leases: readonly LeaseReport[]) => {
      sent.push(leases)
      const refused = answer()
      told.push([...leases])
      return refused
    },
  }
  const leases = createLeases({ journal, api, server: 'node-1', log })
  return { leases, close: () => journal.close() }
}

/** Lets a log report until nothing is pending. */
async function reportAll(leases: LeaseLog) {
  const running = leases.report(stopping.signal)
  await expect.poll(() => leases.pending(), { interval: 5, timeout: 15_000 }).toBe(0)
  stopping.abort()
  await running
  return told.flat()
}

test('what is told again goes on with the same lease; a gap begins another', async () => {
  const { leases, close } = await open()
  await leases.record(news)
  await leases.record({ ...news, at: noon + 30_000, ends_at: noon + 90_000 })
  const [lease, ...others] = await reportAll(leases)
  expect(others).toEqual([])
  expect(lease).toMatchObject({
    started_at: '2030-01-01T12:00:00.000Z',
    told_at: '2030-01-01T12:00:30.000Z',
    ends_at: '2030-01-01T12:01:30.000Z',
  })
  stopping = new AbortController()
  await leases.record({ ...news, at: noon + 90_001, ends_at: noon + 150_000 })
  const [, next] = await reportAll(leases)
  expect(next?.id).not.toBe(lease?.id)
  await close()
})

test.each<[string, Partial<LeaseNews>]>([
  ['another machine', { mac_address: '52:54:00:00:00:02' }],
  ['another address', { address: '10.0.0.6' }],
  ['another relay', { relay: { address: '10.0.0.1', circuit_id: '01', remote_id: null } }],
  ['another name', { host_name: 'db' }],
])('%s is another lease', async (_what, different) => {
  const { leases, close } = await open()
  await leases.record(news)
  await leases.record({ ...news, at: noon + 1000, ...different })
  expect(new Set((await reportAll(leases)).map(({ id }) => id)).size).toBe(2)
  await close()
})

test('what the API was not told survives the process, and goes on after it', async () => {
  const first = await open()
  await first.leases.record(news)
  await first.leases.record({ ...news, mac_address: null, duid: '0003', iaid: 7 })
  await first.close()
  const second = await open()
  expect(second.leases.pending()).toBe(2)
  await second.leases.record({ ...news, state: 'released', at: noon + 5000 })
  const reported = await reportAll(second.leases)
  expect(reported.map(({ state }) => state)).toEqual(['bound', 'released'])
  expect(reported[1]).toMatchObject({ started_at: '2030-01-01T12:00:00.000Z' })
  await second.close()
  const third = await open()
  expect(third.leases.pending()).toBe(0)
  await third.close()
})

test('nothing is lost while the API is away, or refuses everything', async () => {
  const { leases, close } = await open()
  const failures = [new ApiFailure('away', null), new ApiFailure('no', 403, 'forbidden')]
  answer = () => {
    const failure = failures.shift()
    if (failure) throw failure
    return []
  }
  for (let number = 0; number < 2500; number += 1) {
    void leases.record({ ...news, address: `10.0.0.${number}`, allocation_id: `a-${number}` })
  }
  const running = leases.report(stopping.signal)
  await expect.poll(() => leases.problems().length, { interval: 5 }).toBe(1)
  await expect.poll(() => leases.pending(), { interval: 5, timeout: 15_000 }).toBe(0)
  stopping.abort()
  await running
  expect(told.map(({ length }) => length)).toEqual([500, 500, 500, 500, 500])
  expect(new Set(told.flat().map(({ id }) => id)).size).toBe(2500)
  expect(leases.problems()).toEqual([])
  await close()
})

test('a journal that begins anew while machines are told loses none of it', async () => {
  const first = await open()
  const running = first.leases.report(stopping.signal)
  const host_name = 'x'.repeat(255)
  for (let round = 0; round < 60; round += 1) {
    for (let number = 0; number < 1500; number += 1) {
      const at = noon + 1000 * round
      const own = { allocation_id: `a-${number}`, address: `10.0.0.${number}`, host_name }
      void first.leases.record({ ...news, ...own, at, ends_at: at + 60_000 })
    }
    await first.leases.record({ ...news, allocation_id: 'last' })
  }
  stopping.abort()
  await running
  await first.close()
  expect(statSync(join(folder, 'leases.ndjson')).size).toBeLessThan(8_000_000)
  const seen = new Map(told.flat().map(lease => [lease.id, lease.told_at]))
  stopping = new AbortController()
  told = []
  const second = await open()
  for (const lease of await reportAll(second.leases)) seen.set(lease.id, lease.told_at)
  await second.close()
  expect(seen.size).toBe(1501)
  expect(new Set(seen.values())).toEqual(
    new Set([new Date(noon + 59_000).toISOString(), new Date(noon).toISOString()]),
  )
})

test('what the API never takes is not asked of it again', async () => {
  const { leases, close } = await open()
  answer = () => [{ id: 'x', reason: 'unknown' }]
  await leases.record(news)
  await reportAll(leases)
  expect(leases.counts).toEqual({ recorded: 1, reported: 0, refused: 1 })
  await close()
})

test('what a client gave back is settled when the API knows it', async () => {
  const { leases, close } = await open()
  const client = String(news.mac_address)
  await leases.record(news)
  expect(await leases.isSettled(client)).toBe(true)
  await leases.record({ ...news, state: 'released' })
  const settled = leases.isSettled(client)
  await reportAll(leases)
  expect(await settled).toBe(true)
  await leases.record({ ...news, state: 'released' })
  expect(await leases.isSettled(client)).toBe(false)
  await close()
})

test('a lease that the API cannot read is not in the way of others', async () => {
  const { leases, close } = await open()
  answer = () => {
    const batch = sent.at(-1) ?? []
    if (batch.some(({ address }) => address === 'bad')) throw new ApiFailure('no', 400)
    return []
  }
  for (let number = 0; number < 20; number += 1) {
    const address = number === 13 ? 'bad' : `10.0.0.${number}`
    void leases.record({ ...news, address, allocation_id: `a-${number}` })
  }
  await reportAll(leases)
  expect(told.flat()).toHaveLength(19)
  expect(leases.counts).toEqual({ recorded: 20, reported: 19, refused: 1 })
  await close()
})
