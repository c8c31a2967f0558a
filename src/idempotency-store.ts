import { Type } from 'typebox'
import { type Database, lostRace, retryTransaction, rows } from './db/database.ts'
import { sql } from './db/sql.ts'
import { IpamError } from './errors.ts'

/** What makes two requests the same one, sent twice. */
export type IdempotencyKey = {
  /** Who asks, and in which scope: keys of different users and projects never meet. */
  readonly caller: string
  readonly key: string
  /** SHA-256 of what is asked, in hexadecimal digits. */
  readonly fingerprint: string
}

const Claimed = Type.Object({ key: Type.String() })
const First = Type.Object({ is_same: Type.Boolean(), answer: Type.Unknown() })

/**
 * Does the work of a request, and remembers what came of it in the transaction of the work itself;
 * a request with a key that is known gets what the first one got. Of two at the same time the
 * second waits for the first. What is refused is not remembered.
 *
 * The result must survive JSON.
 *
 * @throws {IpamError} `idempotency_key_reused`
 */
export function runOnce<T>(
  db: Database,
  { caller, key, fingerprint }: IdempotencyKey,
  work: (tx: Database) => Promise<T>,
): Promise<{ result: T; isRepeated: boolean }> {
  return retryTransaction(db, async tx => {
    // The first lock of the transaction: who waits here holds nothing that others wait for.
    const claimed = await rows(tx, Claimed)`
      insert into idempotency_keys (caller, key, fingerprint)
      values (${caller}, ${key}, decode(${fingerprint}, 'hex'))
      on conflict (caller, key) do nothing returning key`
    if (claimed.length === 0) {
      const answer = await firstAnswer(tx, { caller, key, fingerprint })
      return { result: answer as T, isRepeated: true }
    }
    const result = await work(tx)
    await tx.query(sql`
      update idempotency_keys set answer = ${JSON.stringify(result ?? null)}
      where caller = ${caller} and key = ${key}`)
    return { result, isRepeated: false }
  })
}

async function firstAnswer(tx: Database, { caller, key, fingerprint }: IdempotencyKey) {
  const [first] = await rows(tx, First)`
    select fingerprint = decode(${fingerprint}, 'hex') as is_same, answer
    from idempotency_keys where caller = ${caller} and key = ${key}`
  // It was so old that it has been removed since: to run again is right, as after a lost race.
  if (!first) throw lostRace('the key has gone')
  if (first.is_same) return first.answer
  throw new IpamError(
    'idempotency_key_reused',
    `The key ${key} came with another request before.`,
    {
      field: 'idempotency-key',
    },
  )
}

/** Forgets at most `limit` keys older than `hours`; tells how many. */
export async function removeOldKeys(
  db: Database,
  { hours, limit }: { hours: number; limit: number },
): Promise<number> {
  const removed = await rows(db, Claimed)`
    delete from idempotency_keys where (caller, key) in (
      select caller, key from idempotency_keys
      where created_at < now() - make_interval(hours => ${hours})
      order by created_at limit ${limit})
    returning key`
  return removed.length
}
