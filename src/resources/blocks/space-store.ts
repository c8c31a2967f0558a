import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import type { Conflict } from '../../errors.ts'
import { formatAddress } from '../../ip/address.ts'
import { prefixRange } from '../../ip/prefix.ts'
import { type Range, rangeSize } from '../../ip/range.ts'
import { excludedRanges, freeRangesOfEmpty, prefixOf } from './rules.ts'
import type { Block } from './schema.ts'

// The free space of one block. The caller has locked the block.

const ends = (block: Block, { first, last }: Range) => ({
  first: formatAddress({ version: block.version, value: first }),
  last: formatAddress({ version: block.version, value: last }),
})

/** What is new in a block that gives out the least recently used address was never used. */
const neverUsed = ({ strategy }: Block) =>
  strategy === 'least_recently_used' ? sql`'-infinity'::timestamptz` : sql`null::timestamptz`

/** Takes a range out of the free space; false if not all of it is free. */
export async function takeRange(tx: Database, block: Block, range: Range): Promise<boolean> {
  const { first, last } = ends(block, range)
  const [row] = await rows(tx, Type.Object({ taken: Type.Boolean() }))`
    select take_range(${block.id}, ${first}, ${last}) as taken`
  return row?.taken === true
}

/** Gives a range to the free space. */
export async function giveRange(tx: Database, block: Block, range: Range): Promise<void> {
  const { first, last } = ends(block, range)
  await tx.query(sql`select give_range(${block.id}, ${first}, ${last}, ${neverUsed(block)})`)
}

/**
 * Lays the free space of a block anew that has neither allocations nor children: all of it for a
 * `container`, which cuts children; less what is excluded for a `leaf`, which gives out addresses.
 */
export async function resetSpace(tx: Database, block: Block, role: 'leaf' | 'container') {
  const excluded = role === 'leaf' ? excludedRanges(block) : []
  const free = role === 'leaf' ? freeRangesOfEmpty(block) : [prefixRange(prefixOf(block))]
  const count = excluded.reduce((sum, range) => sum + rangeSize(range), 0n)
  await tx.query(sql`
    update block_usage set excluded = ${String(count)} where block_id = ${block.id}`)
  await tx.query(sql`delete from free_ranges where block_id = ${block.id}`)
  for (const range of free) await giveRange(tx, block, range)
}

const Holder = Type.Object({ id: Type.String(), address: Type.String() })
const holdersMax = 10

/** Allocations of a block that lie in one of the ranges, a few of them, to name them. */
export async function allocationsIn(
  tx: Database,
  block: Block,
  ranges: readonly Range[],
): Promise<Conflict[]> {
  const found: Conflict[] = []
  for (const range of ranges) {
    const { first, last } = ends(block, range)
    const holders = await rows(tx, Holder)`
      select id, address from allocations
      where scope_id = ${block.scope_id} and address between ${first} and ${last}
        and block_id = ${block.id}
      union
      select id, address from allocations
      where scope_id = ${block.scope_id} and is_prefix and address >>= ${first}::inet
        and block_id = ${block.id}
      order by address limit ${holdersMax}`
    found.push(...holders.map(holder => ({ type: 'allocation' as const, ...holder })))
  }
  return found.slice(0, holdersMax)
}
