import { Type } from 'typebox'
import { beforeAll, beforeEach } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import { reclaimDue } from '../../src/resources/allocations/hold-store.ts'
import type { Api } from './api.ts'

/** The time of a database, as its own decisions see it. It stands still until it is advanced. */
export type Clock = {
  /** Moves the time on by so many seconds, or days; returns what it is then. */
  advance(by: number | { days?: number; seconds?: number }): Promise<string>
  now(): Promise<string>
  /** Ends all that is due by now, as a server does from time to time. */
  sweep(): Promise<void>
}

const Now = Type.Object({ now: Type.String() })

/** Puts a clock of the test in the place of the database's own; until it is set it runs with it. */
export async function controlClock(db: Database): Promise<Clock> {
  await db.execute(`
    create table if not exists test_clock (at timestamptz not null);
    create or replace function wall_time() returns timestamptz language sql volatile as $$
      select coalesce((select at from test_clock), clock_timestamp())
    $$`)
  const now = async () => {
    const [row] = await rows(db, Now)`select wall_time() as now`
    if (!row) throw new Error('the clock has no time')
    return row.now
  }
  return {
    async advance(by) {
      const { days = 0, seconds = 0 } = typeof by === 'number' ? { seconds: by } : by
      await setClock(db, await now(), { days, seconds })
      return now()
    },
    now,
    async sweep() {
      while ((await reclaimDue(db, { blocks_max: 10, at_most: 1000 })) > 0);
    },
  }
}

async function setClock(db: Database, start: string, { days = 0, seconds = 0 } = {}) {
  await rows(db, Type.Object({}))`delete from test_clock`
  await rows(db, Type.Object({}))`
    insert into test_clock
    values (${start}::timestamptz + make_interval(days => ${days}, secs => ${seconds}))`
}

const anHour = 3600

/**
 * A clock for the tests of a file; call it after `useApi`. Before each test it stands at `start`,
 * or ahead of the real time, at which blocks are made.
 */
export function useClock(api: Pick<Api, 'db'>, start?: string): Clock {
  let clock: Clock
  beforeAll(async () => {
    clock = await controlClock(api.db)
  })
  beforeEach(async () => {
    if (start !== undefined) await setClock(api.db, start)
    else await clock.advance(anHour)
  })
  return {
    advance: by => clock.advance(by),
    now: () => clock.now(),
    sweep: () => clock.sweep(),
  }
}
