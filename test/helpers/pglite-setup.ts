import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../src/db/migrate.ts'
import { pgliteDatabase } from '../../src/db/pglite.ts'

/** Makes the migrated database of which each test file gets a copy: `initdb` takes seconds. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'melange-pglite-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove) // Also of a run that is interrupted.
  const dataDir = join(folder, 'postgres')
  const db = await pgliteDatabase({ dataDir })
  await migrate(db)
  await db.close()
  const lite = await PGlite.create({ dataDir })
  const copy = await lite.dumpDataDir('none')
  await lite.close()
  const template = join(folder, 'template.tar')
  await writeFile(template, new Uint8Array(await copy.arrayBuffer()))
  project.provide('template', template)
  return async () => remove()
}
