import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createEventFile } from './event-file.ts'
import { type LeaseEvent, leaseLine, readEvents, scriptText } from './lease-events.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-events-'))
  path = join(folder, 'events')
  writeFileSync(join(folder, 'script'), scriptText, { mode: 0o700 })
})
afterEach(() => rmSync(folder, { recursive: true }))

const tell = (args: readonly string[], env: Record<string, string> = {}) =>
  execFileSync(join(folder, 'script'), args, { env, encoding: 'latin1' })

const v4 = ['02:00:00:00:00:01', '10.0.0.5'] as const

test('what dnsmasq says comes here as it is, whatever clients and relays put into it', () => {
  const hostile = 'x"; rm -rf $HOME `id`\n\'add\\0'
  tell(['add', ...v4, 'name'], {
    DNSMASQ_CLIENT_ID: '01:02:00:00:00:00:01',
    DNSMASQ_LEASE_EXPIRES: '1000',
    DNSMASQ_TIME_REMAINING: '900',
    DNSMASQ_SUPPLIED_HOSTNAME: hostile,
    DNSMASQ_RELAY_ADDRESS: '10.0.0.1',
    DNSMASQ_CIRCUIT_ID: hostile,
  })
  tell(['old', '00:03:00:01:02:00:00:00:00:01', 'fd00::5'], {
    DNSMASQ_IAID: '7',
    DNSMASQ_MAC: '02:00:00:00:00:01',
    DNSMASQ_LEASE_EXPIRES: '0',
    DNSMASQ_DATA_MISSING: '1',
  })
  tell(['tftp', '1', '2'])
  const bytes = readFileSync(path)
  const { events, length } = readEvents(bytes)
  expect(length).toBe(bytes.length)
  expect(events).toEqual([
    {
      action: 'add',
      version: 4,
      address: '10.0.0.5',
      mac_address: '02:00:00:00:00:01',
      client_id: '01020000000001',
      duid: null,
      iaid: null,
      host_name: hostile.replace('\n', ''),
      relay: {
        address: '10.0.0.1',
        circuit_id: Buffer.from(hostile).toString('hex'),
        remote_id: null,
      },
      expires: 1000,
      at: 100,
      isStripped: false,
    },
    {
      action: 'old',
      version: 6,
      address: 'fd00::5',
      mac_address: '02:00:00:00:00:01',
      client_id: null,
      duid: '00030001020000000001',
      iaid: 7,
      host_name: null,
      relay: null,
      expires: null,
      at: null,
      isStripped: true,
    },
  ])
  for (let end = 0; end < bytes.length; end += 1) {
    const part = readEvents(bytes.subarray(0, end))
    expect(part.length).toBeLessThanOrEqual(end)
    expect(events).toEqual(expect.arrayContaining(part.events))
  }
})

test('dnsmasq begins with the leases that it is given', () => {
  tell(['add', ...v4], { DNSMASQ_CLIENT_ID: '01:02', DNSMASQ_LEASE_EXPIRES: '1000' })
  const [event] = readEvents(readFileSync(path)).events
  if (!event) throw new Error('no event')
  const line = leaseLine(event)
  expect(line).toBe('1000 02:00:00:00:00:01 10.0.0.5 * 01:02')
  writeFileSync(join(folder, 'leases'), `${line}\n`)
  expect(tell(['init'])).toBe(`${line}\n`)
})

test('none is lost while nobody reads, nor when the file is set aside; what was taken is not again', async () => {
  const taken: string[] = []
  const faults: (string | null)[] = []
  const open = () =>
    createEventFile({
      path,
      take: async (events: readonly LeaseEvent[]) => {
        taken.push(...events.map(({ address }) => address))
      },
      onFault: fault => faults.push(fault),
    })
  let count = 0
  const add = (many: number) => {
    const records = Array.from({ length: many }, () => {
      count += 1
      const fields = ['add', v4[0], `10.${count >> 16}.${(count >> 8) & 255}.${count & 255}`]
      return [...fields, ...Array.from({ length: 10 }, () => ''), '\n'].join('\0')
    })
    appendFileSync(path, records.join(''))
  }
  add(10)
  const first = open()
  await first.start()
  expect(taken).toHaveLength(10)
  add(120_000) // More than a file may have.
  await first.drain()
  add(5)
  await first.drain()
  expect(taken).toHaveLength(count)
  expect(readFileSync(path).length).toBeLessThan(1000)
  await first.stop()
  add(7)
  const second = open()
  await second.start()
  await second.stop()
  expect(taken).toHaveLength(count)
  expect(new Set(taken).size).toBe(count)
  expect(faults.every(fault => fault === null)).toBe(true)
})
