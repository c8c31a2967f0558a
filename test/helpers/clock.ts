import { Type } from 'typebox'
import { beforeAll, beforeEach } from 'vitest'
import { type OpenDatabase, rows } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { Time } from '../../src/schema.ts'

/** The clock of a database, which stands still until a test moves it. */
export type Clock = {
  /** Moves the clock, and tells what time it is then. */
  advance(by: { days?: number; seconds?: number }): Promise<string>
  now(): Promise<string>
}

/** Before each test the clock of the database stands at this time; call it after `useApi`. */
export function useClock(api: { readonly db: OpenDatabase }, start: string): Clock {
  beforeAll(async () => {
    await api.db.execute(`
      create table test_clock (at timestamptz not null);
      create or replace function wall_time() returns timestamptz language sql volatile as $$
        select at from test_clock
      $$`)
  })
  beforeEach(async () => {
    await api.db.query(sql`insert into test_clock values (${start})`)
  })
  const read = async (found: Promise<{ at: string }[]>) => {
    const [row] = await found
    if (!row) throw new Error('the clock has gone')
    return row.at
  }
  return {
    advance: ({ days = 0, seconds = 0 }) =>
      read(rows(api.db, Type.Object({ at: Time }))`
        update test_clock set at = at + make_interval(days => ${days}, secs => ${seconds})
        returning at`),
    now: () => read(rows(api.db, Type.Object({ at: Time }))`select at from test_clock`),
  }
}
