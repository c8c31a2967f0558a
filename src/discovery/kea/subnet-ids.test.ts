import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { openSubnetIds } from './subnet-ids.ts'

test('a subnet keeps its number, and no two have the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'melange-ids-'))
  const path = join(folder, 'ids.json')
  const ids = openSubnetIds(path)
  const names = Array.from({ length: 2000 }, (_, n) => ['network', `block ${n}`] as const)
  const given = names.map(name => ids.of(...name))
  expect(new Set(given).size).toBe(2000)
  expect(given.every(id => Number.isInteger(id) && id > 0 && id < 2 ** 31)).toBe(true)
  expect(ids.of('other network', 'block 1')).not.toBe(given[1])
  await vi.waitFor(() =>
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')))).toHaveLength(2001),
  )
  const again = openSubnetIds(path)
  expect(
    names
      .toReversed()
      .map(name => again.of(...name))
      .toReversed(),
  ).toEqual(given)
  rmSync(folder, { recursive: true })
})
