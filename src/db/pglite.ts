import { PGlite, type PGliteOptions, type Transaction, types } from '@electric-sql/pglite'
import { btree_gist } from '@electric-sql/pglite/contrib/btree_gist'
import {
  type Database,
  isoTime,
  type OpenDatabase,
  parseInt8,
  refuseNested,
  settingOf,
  translateError,
} from './database.ts'

/**
 * PostgreSQL inside this process, in the folder `dataDir`, or in memory without one. It has one
 * connection, and does not fsync: what is committed survives a killed process, but not a power cut.
 */
export async function pgliteDatabase(
  place: Pick<PGliteOptions, 'dataDir' | 'loadDataDir'> = {},
): Promise<OpenDatabase> {
  const lite = await PGlite.create({
    ...place,
    extensions: { btree_gist },
    parsers: { [types.TIMESTAMPTZ]: isoTime, [types.INT8]: parseInt8 },
  })
  await lite.exec('set time zone utc')
  const on = (client: PGlite | Transaction): Omit<Database, 'transaction'> => ({
    async query({ text, values }) {
      try {
        return (await client.query(text, [...values])).rows
      } catch (error) {
        throw translateError(error)
      }
    },
    async execute(script) {
      await client.exec(script)
    },
  })
  const { query, execute } = on(lite)
  const transaction: Database['transaction'] = async (work, doneBy) => {
    try {
      return await lite.transaction(async tx => {
        if (doneBy) await tx.exec(`set local melange.done_by = '${settingOf(doneBy)}'`)
        return work({ ...on(tx), transaction: refuseNested })
      })
    } catch (error) {
      throw translateError(error)
    }
  }
  // One at a time is run, and the others wait; PGlite does not tell how many.
  let underWay = 0
  const counted = async <T>(work: Promise<T>): Promise<T> => {
    underWay++
    try {
      return await work
    } finally {
      underWay--
    }
  }
  return {
    query: statement => counted(query(statement)),
    execute: script => counted(execute(script)),
    transaction: (work, doneBy) => counted(transaction(work, doneBy)),
    kind: 'pglite',
    connections: 1,
    connectionUse: () => {
      const busy = Math.min(underWay, 1)
      return { idle: 1 - busy, busy, waiting: underWay - busy }
    },
    close: () => lite.close(),
  }
}
