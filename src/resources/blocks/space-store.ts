import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type Sql, sql } from '../../db/sql.ts'
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
export function giveRange(tx: Database, block: Block, range: Range): Promise<void> {
  return give(tx, block, { ...range, since: sql`'-infinity'` })
}

/** Gives a range to the free space that was in use until now: where ages are kept, it comes last. */
export function giveUsedRange(tx: Database, block: Block, range: Range): Promise<void> {
  const since = sql`(select changed_at from block_usage where block_id = ${block.id})`
  return give(tx, block, { ...range, since })
}

async function give(tx: Database, block: Block, { since, ...range }: Range & { since: Sql }) {
  const { first, last } = ends(block, range)
  const age = block.strategy === 'least_recently_used' ? since : sql`null`
  await tx.query(sql`select give_range(${block.id}, ${first}, ${last}, ${age})`)
}

/** Counts what a block keeps back. */
export async function countExcluded(tx: Database, { id }: Block, excluded: readonly Range[]) {
  const count = excluded.reduce((sum, range) => sum + rangeSize(range), 0n)
  await tx.query(sql`
    update block_usage set excluded = ${String(count)} where block_id = ${id}`)
}

/**
 * Lays the free space of a block anew that has neither allocations nor children: all of it for a
 * `container`, which cuts children; less what is excluded for a `leaf`, which gives out addresses.
 */
export async function resetSpace(tx: Database, block: Block, role: 'leaf' | 'container') {
  const excluded = role === 'leaf' ? excludedRanges(block) : []
  const free = role === 'leaf' ? freeRangesOfEmpty(block) : [prefixRange(prefixOf(block))]
  await countExcluded(tx, block, excluded)
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
