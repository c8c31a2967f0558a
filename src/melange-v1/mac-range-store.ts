import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { formatMacPrefix } from '../ip/mac.ts'
import { createMacRange, deleteMacRange } from '../resources/macs/range-store.ts'
import { Id, Time } from '../schema.ts'
import { Fault } from './fault.ts'
import { isUuid } from './ids.ts'
import { readMacPrefix } from './values.ts'

const Row = Type.Object({
  id: Id,
  name: Type.String(),
  prefix: Type.String(),
  created_at: Time,
  updated_at: Time,
})

/** A range of MACs, with its CIDR as it was written. */
export type MacRangeRow = Omit<Static<typeof Row>, 'name' | 'prefix'> & { readonly cidr: string }

const select = sql`
  select id, name, mac_text(first) || '/' || prefix_length as prefix, created_at, updated_at
  from mac_ranges`

/** The name of a range made here is its CIDR as it was written. */
function show({ name, prefix, ...row }: Static<typeof Row>): MacRangeRow {
  const written = readMacPrefix(name)
  const isSame = written !== null && formatMacPrefix(written) === prefix
  return { ...row, cidr: isSame ? name : prefix }
}

const rangesMax = 10_000

export async function listV1MacRanges(db: Database): Promise<MacRangeRow[]> {
  const found = await rows(db, Row)`${select} order by created_at, id limit ${rangesMax}`
  return found.map(show)
}

/** Null if there is none. */
export async function findMacRange(db: Database, id: string): Promise<MacRangeRow | null> {
  const [range] = isUuid(id) ? await rows(db, Row)`${select} where id = ${id}` : []
  return range ? show(range) : null
}

/** @throws {Fault} 400 @throws {IpamError} `mac_range_overlaps`, `mac_range_in_use` */
export async function createV1MacRange(tx: Database, cidr: string): Promise<MacRangeRow> {
  const read = readMacPrefix(cidr)
  if (!read) throw new Fault(400, `${cidr} is no range of MAC addresses`)
  const prefix = formatMacPrefix(read)
  const { id } = await createMacRange(tx, { prefix, name: cidr })
  const range = await findMacRange(tx, id)
  if (!range) throw new Error('a MAC range that was created did not come back')
  return range
}

/** Deletes a range. Who has a MAC of it keeps it, of no range from now on. */
export async function deleteV1MacRange(tx: Database, id: string): Promise<void> {
  await deleteMacRange(tx, { id, keepMacs: true })
}
