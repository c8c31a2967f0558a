import { afterAll, beforeAll, expect, test } from 'vitest'
import { audit } from '../../src/audit/store.ts'
import type { OpenDatabase } from '../../src/db/database.ts'
import { Sql } from '../../src/db/sql.ts'
import { emptyDatabase, newDatabase } from '../helpers/databases.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { step } from './lives/run.ts'
import { Lives } from './lives/world.ts'

/** `MELANGE_LIVES_SEEDS=1000` hunts for what a few do not find. */
const seeds = Number(process.env.MELANGE_LIVES_SEEDS ?? 4)
const firstSeed = Number(process.env.MELANGE_LIVES_SEED ?? 1)
const steps = Number(process.env.MELANGE_LIVES_STEPS ?? 150)
const every = Number(process.env.MELANGE_LIVES_EVERY ?? 50)

let db: OpenDatabase
beforeAll(async () => {
  db = await newDatabase()
})
afterAll(() => db?.close())

const query = async (text: string) =>
  (await db.query(new Sql([text], []))) as Record<string, unknown>[]

test.each(Array.from({ length: seeds }, (_, n) => firstSeed + n))(
  'whatever becomes of addresses under policies, nothing contradicts itself: life %i (I1-I7, I9)',
  { timeout: 60_000 + steps * 500 },
  async seed => {
    await emptyDatabase(db)
    const lives = new Lives(db, seed)
    await lives.begin()
    for (let n = 1; n <= steps; n++) {
      await step(lives)
      if (n % every !== 0) continue
      expect({ after: n, found: await findContradictions(query) }).toEqual({ after: n, found: [] })
      expect((await audit(db)).differences).toEqual([])
    }
    if (process.env.MELANGE_LIVES_SHOW) console.info(Object.fromEntries([...lives.outcomes].sort()))
  },
)
