import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openJournal } from './journal.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-journal-'))
  path = join(folder, 'things.ndjson')
})
afterEach(() => rmSync(folder, { recursive: true }))

const numbers = (count: number) => Array.from({ length: count }, (_, number) => ({ number }))

/** The lines that a journal has when it is opened again. */
async function linesNow() {
  const journal = await openJournal({ path, sync: false })
  await journal.close()
  return journal.lines
}

test.each([true, false])('lines are there when it is opened again (sync: %s)', async sync => {
  const journal = await openJournal({ path, sync })
  await Promise.all(numbers(50).map(line => journal.append(line)))
  await journal.append({ number: 50 })
  await journal.close()
  expect(await linesNow()).toEqual(numbers(51))
})

test('what was appended is in the file before it is closed', async () => {
  const journal = await openJournal({ path, sync: true })
  await journal.append({ a: 1 })
  expect(readFileSync(path, 'utf8')).toBe('{"a":1}\n')
  await journal.close()
})

test.each(['{"number":', '{"number":9}', '\0\0\0\n', ''])('a cut end %j is dropped', async end => {
  const journal = await openJournal({ path, sync: false })
  await journal.append({ number: 0 })
  await journal.close()
  appendFileSync(path, end)
  const again = await openJournal({ path, sync: false })
  expect(again.lines).toEqual([{ number: 0 }])
  await again.append({ number: 1 })
  await again.close()
  expect(await linesNow()).toEqual(numbers(2))
})

test('what is appended while it is rewritten is in the new file', async () => {
  const journal = await openJournal({ path, sync: true })
  await journal.append({ old: true })
  const rewriting = journal.rewrite(numbers(5000))
  for (const { number } of numbers(200)) {
    const appended = journal.append({ more: number })
    if (number % 20 === 0) await appended
  }
  await rewriting
  await journal.append({ last: true })
  await journal.close()
  const lines = await linesNow()
  expect(lines.slice(0, 5000)).toEqual(numbers(5000))
  expect(lines.slice(5000)).toEqual([
    ...numbers(200).map(({ number }) => ({ more: number })),
    { last: true },
  ])
})

test('it is long once more was appended than is worth keeping', async () => {
  const journal = await openJournal({ path, sync: false })
  expect(journal.isLong()).toBe(false)
  for (let count = 0; count < 5; count += 1) await journal.append({ text: 'x'.repeat(1_000_000) })
  expect(journal.isLong()).toBe(true)
  await journal.rewrite([{ number: 0 }])
  expect(journal.isLong()).toBe(false)
  await journal.close()
  expect(await linesNow()).toEqual(numbers(1))
})
