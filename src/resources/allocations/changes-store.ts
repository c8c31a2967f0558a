import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type Sql, sql } from '../../db/sql.ts'
import { Id } from '../../schema.ts'
import { newestEvent, refuseExpired } from '../events/store.ts'
import { type Owner, ofOwner } from './hold-store.ts'
import { Allocation } from './schema.ts'
import { endedOf, presentOf } from './store.ts'

/**
 * How far somebody has read: through the event of this number; with an id only the allocations up
 * to it, of what the owner held when that was the newest event.
 */
export type ChangeCursor = { readonly seq: number; readonly id?: string | undefined }

export type Changes = {
  readonly allocations: Allocation[]
  readonly cursor: ChangeCursor
  /** Whether there is more behind the cursor already. */
  readonly more: boolean
}

type Question = {
  readonly owner: Owner
  readonly after: ChangeCursor
  readonly limit: number
}

/**
 * The allocations of an owner that changed behind a cursor, each once and as it is now. From the
 * start that is all that the owner holds, and then what changed since that was read.
 *
 * No change is missed: the cursor is read before the allocations, and once it has been read no
 * event up to it can still appear (I9). So what changes later is behind the cursor.
 *
 * @throws {IpamError} `events_expired` when events behind the cursor have been removed
 */
export async function listChanges(db: Database, question: Question): Promise<Changes> {
  const { seq, id } = question.after
  if (seq > 0 && id === undefined) return listChanged(db, question)
  const start = id === undefined ? await newestEvent(db) : seq
  return listHeld(db, question, { seq: start, id })
}

const lowestId = '00000000-0000-0000-0000-000000000000'

async function listHeld(
  db: Database,
  { owner, limit }: Question,
  { seq, id = lowestId }: ChangeCursor,
): Promise<Changes> {
  const found = await rows(db, Allocation)`
    select ${presentOf(sql`a`)} from allocations a
    where a.id > ${id} and ${ofOwner(owner, sql`a`)} order by a.id limit ${limit + 1}`
  await refuseExpired(db, seq)
  const allocations = found.slice(0, limit)
  const more = found.length > limit
  return { allocations, cursor: { seq, id: more ? allocations.at(-1)?.id : undefined }, more }
}

/** How many events one call looks at, however few allocations they are about. */
const scannedMax = 10_000

const Changed = Type.Object({
  id: Id,
  seq: Type.Integer(),
  scanned: Type.Integer(),
  scanned_to: Type.Integer(),
})

async function listChanged(
  db: Database,
  { owner, after: { seq }, limit }: Question,
): Promise<Changes> {
  const newest = Math.max(await newestEvent(db), seq)
  // What changed twice is told of at the place of its later event, and so but once.
  const found = await rows(db, Changed)`
    with scanned as (
      select e.seq, e.object_id from events e
      where e.seq > ${seq} and e.seq <= ${newest} and e.type like 'allocation.%'
        and e.owner_id = ${owner.owner_id} and e.project_id = ${owner.project_id}
        and ${inData(owner)}
      order by e.seq limit ${scannedMax}
    )
    select object_id as id, max(seq) as seq, (select count(*) from scanned) as scanned,
      (select max(seq) from scanned) as scanned_to
    from scanned group by object_id order by 2 limit ${limit + 1}`
  const changed = found.slice(0, limit)
  const allocations = await readAll(db, changed)
  await refuseExpired(db, seq)
  const [{ scanned, scanned_to } = { scanned: 0, scanned_to: newest }] = found
  if (found.length > limit) {
    return { allocations, cursor: { seq: changed.at(-1)?.seq ?? seq }, more: true }
  }
  const more = scanned === scannedMax
  return { allocations, cursor: { seq: more ? scanned_to : newest }, more }
}

/** Events have project and owner as columns; the rest of the owner is in the object. */
function inData({ owner_type, block_id }: Owner): Sql {
  const type = owner_type === undefined ? sql`true` : sql`e.data ->> 'owner_type' = ${owner_type}`
  return block_id === undefined ? type : sql`${type} and e.data ->> 'block_id' = ${block_id}`
}

/** Allocations as they are, in the order of asking; one statement sees each just once. */
async function readAll(db: Database, wanted: readonly { id: string }[]): Promise<Allocation[]> {
  const ids = wanted.map(({ id }) => id)
  const found = await rows(db, Allocation)`
    select ${presentOf(sql`a`)} from allocations a where a.id = any (${ids})
    union all
    select ${endedOf(sql`h`)} from allocation_history h where h.id = any (${ids})`
  const byId = new Map(found.map(one => [one.id, one]))
  return ids.flatMap(id => byId.get(id) ?? [])
}
