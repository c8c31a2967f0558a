import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type FollowedFile, followFile, type Position } from './follow-file.ts'

let folder: string
let path: string
let followed: FollowedFile | undefined
let taken: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-follow-'))
  path = join(folder, 'leases.csv')
  taken = []
})
afterEach(async () => {
  await followed?.close()
  rmSync(folder, { recursive: true })
})

async function follow(take = async (lines: readonly string[]) => void taken.push(...lines)) {
  const begins: Position[] = []
  const errors: Error[] = []
  followed = await followFile({
    path,
    take: async (lines, begin) => {
      begins.push(begin)
      await take(lines)
    },
    onError: error => errors.push(error),
  })
  return { begins, errors, file: followed }
}
const hasTaken = (...lines: string[]) =>
  vi.waitFor(() => expect(taken).toEqual(lines), { timeout: 10_000, interval: 5 })

test('what is there is taken at once, and then what comes, by whole lines', async () => {
  writeFileSync(path, 'one\ntwo\nthr')
  const { file } = await follow()
  expect(taken).toEqual(['one', 'two'])
  expect(file.position()?.offset).toBe(8)
  appendFileSync(path, 'ee\nfo')
  await hasTaken('one', 'two', 'three')
  appendFileSync(path, 'ur\n')
  await hasTaken('one', 'two', 'three', 'four')
})

test('a file that is not there yet is waited for', async () => {
  const { file } = await follow()
  expect(file.position()).toBeNull()
  writeFileSync(path, 'one\n')
  await hasTaken('one')
})

test('of a file that is renamed the end is read before the next one', async () => {
  writeFileSync(path, 'one\n')
  const { begins } = await follow()
  appendFileSync(path, 'two\n')
  renameSync(path, `${path}.1`)
  appendFileSync(`${path}.1`, 'three\n')
  writeFileSync(path, 'four\n')
  await hasTaken('one', 'two', 'three', 'four')
  expect(new Set(begins.map(({ file }) => file)).size).toBe(2)
  expect(begins.at(-1)?.offset).toBe(0)
})

test('a file that is begun anew in place is read from its beginning', async () => {
  writeFileSync(path, 'one\ntwo\n')
  await follow()
  truncateSync(path)
  await vi.waitFor(() => expect(followed?.position()?.offset).toBe(0), { timeout: 10_000 })
  appendFileSync(path, 'new\n')
  await hasTaken('one', 'two', 'new')
})

test('lines that could not be taken come again', async () => {
  writeFileSync(path, 'one\n')
  let failures = 0
  const { errors } = await follow(async lines => {
    if (lines.includes('two') && failures++ < 1) throw new Error('not now')
    taken.push(...lines)
  })
  appendFileSync(path, 'two\nthr')
  await hasTaken('one', 'two')
  appendFileSync(path, 'ee\n')
  await hasTaken('one', 'two', 'three')
  expect(errors.map(({ message }) => message)).toEqual(['not now'])
})
