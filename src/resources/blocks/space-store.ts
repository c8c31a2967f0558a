import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import type { Conflict } from '../../errors.ts'
import { formatAddress } from '../../ip/address.ts'
import type { Range } from '../../ip/range.ts'
import type { Block } from './schema.ts'

// The free space of one block. The caller has locked the block.

const ends = (block: Block, { first, last }: Range) => ({
  first: formatAddress({ version: block.version, value: first }),
  last: formatAddress({ version: block.version, value: last }),
})

/** Takes a range out of the free space; false if not all of it is free. */
export async function takeRange(tx: Database, block: Block, range: Range): Promise<boolean> {
  const { first, last } = ends(block, range)
  const [row] = await rows(tx, Type.Object({ taken: Type.Boolean() }))`
    select take_range(${block.id}, ${first}, ${last}) as taken`
  return row?.taken === true
}

/** Takes a range that nothing but the caller can have. */
export async function takeFreeRange(tx: Database, block: Block, range: Range): Promise<void> {
  if (!(await takeRange(tx, block, range))) throw lostSpace(block)
}

/** A bug: space that nothing holds is not free either. */
export const lostSpace = ({ cidr }: Block) => new Error(`${cidr} has lost some of its free space`)

/** Gives a range to the free space that was never used: where ages are kept, it comes first. */
export async function giveRange(tx: Database, block: Block, range: Range): Promise<void> {
  const { first, last } = ends(block, range)
  await tx.query(sql`
    select give_range(b.id, ${first}, ${last}, age_of(b, '-infinity'), b.excluded_octets)
    from blocks b where b.id = ${block.id}`)
}

/** Lays the free space of a block anew that has neither allocations nor children: all is free. */
export async function resetSpace(tx: Database, { id }: Block): Promise<void> {
  await tx.query(sql`select reset_space(${id})`)
}

/** Makes all free that a block keeps back; its rules are to be applied again. */
export async function keepNothing(tx: Database, { id }: Block): Promise<void> {
  await tx.query(sql`
    select keep_ranges(${id}, '[]', null, (select changed_at from block_usage where block_id = ${id}))`)
}

const Holder = Type.Object({
  type: Type.Union([Type.Literal('allocation'), Type.Literal('quarantine')]),
  id: Type.String(),
  address: Type.String(),
})
const holdersMax = 10

/** Allocations and quarantined addresses of a block in one of the ranges, a few, to name them. */
export async function allocationsIn(
  tx: Database,
  block: Block,
  ranges: readonly Range[],
): Promise<Conflict[]> {
  const found: Conflict[] = []
  for (const range of ranges) {
    const { first, last } = ends(block, range)
    found.push(
      ...(await rows(tx, Holder)`
        select 'allocation' as type, id, address from allocations
        where scope_id = ${block.scope_id} and address between ${first} and ${last}
          and block_id = ${block.id}
        union
        select 'allocation', id, address from allocations
        where scope_id = ${block.scope_id} and is_prefix and address >>= ${first}::inet
          and block_id = ${block.id}
        union
        select 'quarantine', allocation_id, address from quarantine
        where block_id = ${block.id} and first_of(address) <= ${last}::inet
          and last_of(address) >= ${first}::inet
        order by address limit ${holdersMax}`),
    )
  }
  return found.slice(0, holdersMax)
}
