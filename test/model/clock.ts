import { Type } from 'typebox'
import { type Database, rows } from '../../src/db/database.ts'

/** When every run begins: later than any time at which a test can really run. */
export const beginning = '2100-01-01T00:00:00.000000Z'

/** A time so much later; times are texts with microseconds, which sort as the times do. */
export function later(time: string, seconds: number): string {
  const moved = new Date(Date.parse(`${time.slice(0, 23)}Z`) + Math.round(seconds * 1000))
  return `${moved.toISOString().slice(0, 23)}${time.slice(23)}`
}

/** What a second lock in one command makes of a time. */
export const justAfter = (time: string) =>
  time.replace(/\d{6}Z$/, digits => {
    return `${String(Number(digits.slice(0, 6)) + 1).padStart(6, '0')}Z`
  })

/** Sets the clock that a test has put in the place of the database's own; it stands still. */
export async function setClock(db: Database, time: string): Promise<void> {
  await rows(db, Type.Object({}))`
    with before as (delete from test_clock)
    insert into test_clock values (${time})`
}
