import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ServedHost, ServedNetwork } from '../dhcp/served.ts'
import type { Change } from './driver.ts'
import { openJournal } from './journal.ts'
import { openKept } from './keep.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-kept-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const network = (id: string): ServedNetwork => ({
  id,
  project_id: null,
  name: id,
  mtu: 1500,
  subnets: [],
})
const host = (id: string, host_name: string | null = null): ServedHost => ({
  id,
  type: 'interface',
  mac_address: '52:54:00:00:00:01',
  client_id: null,
  duid: null,
  iaid: null,
  host_name,
  addresses: [],
  options: [],
})
const hostOf = (network_id: string, id: string, host_name?: string): Change => ({
  type: 'host',
  network_id,
  host: host(id, host_name),
})
const there: Change[] = [
  { type: 'network', network: network('a') },
  { type: 'network', network: network('b') },
  hostOf('a', 'a1'),
  hostOf('b', 'b1'),
]

async function open(wanted: readonly string[] = ['a', 'b']) {
  const journal = await openJournal({ path: join(folder, 'served.ndjson'), sync: false })
  return { kept: openKept(journal, new Set(wanted)), close: () => journal.close() }
}

test('what is served is known again, and from where on to follow', async () => {
  const first = await open()
  expect(first.kept).toMatchObject({ isComplete: false, cursor: null })
  expect(first.kept.take(there, null)).toHaveLength(4)
  first.kept.take([], '7')
  expect(first.kept.take([hostOf('a', 'a1'), hostOf('a', 'a2')], '8')).toEqual([hostOf('a', 'a2')])
  const { served } = first.kept.replica
  await first.close()
  const second = await open()
  expect(second.kept).toMatchObject({ isComplete: true, cursor: '8' })
  expect(second.kept.replica.served).toEqual(served)
  await second.close()
})

test('what was read in part is read again as a whole', async () => {
  const first = await open()
  first.kept.take(there, null)
  await first.close()
  const second = await open()
  expect(second.kept).toMatchObject({ isComplete: false, cursor: null })
  await second.close()
})

test('another network is read; what is not wanted any longer is forgotten', async () => {
  const first = await open(['a', 'b'])
  first.kept.take(there, '7')
  await first.close()
  const second = await open(['b', 'c'])
  expect(second.kept).toMatchObject({ isComplete: true, cursor: null })
  expect([...second.kept.replica.served.keys()]).toEqual(['b'])
  await second.close()
})

test('a file that has become long begins anew, with the same in it', async () => {
  const first = await open()
  first.kept.take(there, '1')
  const name = 'x'.repeat(200)
  for (let count = 0; count < 30_000; count += 1) {
    first.kept.take([hostOf('a', `h${count % 300}`, `${name}${count}`)], String(count + 2))
    if (count % 500 === 0) await new Promise(setImmediate)
  }
  const { served } = first.kept.replica
  await first.close()
  const journal = await openJournal({ path: join(folder, 'served.ndjson'), sync: false })
  expect(journal.lines.length).toBeLessThan(25_000)
  await journal.close()
  const second = await open()
  expect(second.kept.cursor).toBe('30001')
  expect(second.kept.replica.served).toEqual(served)
  await second.close()
})
