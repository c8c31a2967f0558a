import { Type } from 'typebox'
import { beforeAll, beforeEach } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import { reclaimDue } from '../../src/resources/allocations/hold-store.ts'
import type { Api } from './api.ts'

/** The time of a database, as its own decisions see it. It stands still until it is advanced. */
export type Clock = {
  /** Moves the time on by so many seconds; returns what it is then. */
  advance(seconds: number): Promise<string>
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
  return {
    async advance(seconds) {
      const [moved] = await rows(db, Now)`
        update test_clock set at = at + make_interval(secs => ${seconds}) returning at as now`
      if (moved) return moved.now
      const [set] = await rows(db, Now)`
        insert into test_clock values (clock_timestamp() + make_interval(secs => ${seconds}))
        returning at as now`
      if (!set) throw new Error('the clock has no time')
      return set.now
    },
    async sweep() {
      while ((await reclaimDue(db, { blocks_max: 10, at_most: 1000 })) > 0);
    },
  }
}

const anHour = 3600

/** A clock for the tests of a file. It begins ahead of the real time, at which blocks are made. */
export function useClock(api: Api): Clock {
  let clock: Clock
  beforeAll(async () => {
    clock = await controlClock(api.db)
  })
  beforeEach(() => clock.advance(anHour))
  return {
    advance: seconds => clock.advance(seconds),
    sweep: () => clock.sweep(),
  }
}
