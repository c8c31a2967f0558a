import { type Static, Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { formatAddress, parseAddress } from '../../ip/address.ts'
import { formatPrefix, prefixRange } from '../../ip/prefix.ts'
import { prefixesOf, rangeSize } from '../../ip/range.ts'
import { AddressText } from '../../schema.ts'
import { prefixOf } from './rules.ts'
import { Block, type blockSorts, Utilisation } from './schema.ts'

export const blockColumns = sql`
  id, scope_id, parent_id, cidr, family(cidr) as version, network_id, project_id, name,
  description, tags, gateway_ip, dns_nameservers, allocate_network_address, strategy, generation,
  created_at, updated_at`

/** @throws {IpamError} `block_not_found` */
export async function getBlock(db: Database, id: string): Promise<Block> {
  const [block] = await rows(db, Block)`select ${blockColumns} from blocks where id = ${id}`
  if (!block) throw new IpamError('block_not_found', `There is no block ${id}.`)
  return block
}

export type BlockFilter = {
  readonly scope_id?: string | undefined
  readonly parent_id?: string | undefined
  readonly network_id?: string | undefined
  readonly project_id?: string | undefined
  readonly name?: string | undefined
  readonly tag?: readonly string[] | undefined
  readonly version?: 4 | 6 | undefined
  readonly cidr?: string | undefined
  readonly contains?: string | undefined
  readonly within?: string | undefined
  readonly overlaps?: string | undefined
}

/** What orders a list, and the type that the text in a marker has to have for the database. */
const sortColumns: Record<(typeof blockSorts)[number], Sql> = {
  id: sql`id::text`,
  cidr: sql`cidr`,
  name: sql`name`,
  created_at: sql`created_at`,
}

export type BlockPage = {
  readonly sort: (typeof blockSorts)[number]
  readonly limit: number
  /** The sort value and the id of the block behind which the page begins. */
  readonly after: readonly string[] | null
}

/** One block more than a page holds, so that the caller sees whether there is another page. */
export function listBlocks(db: Database, filter: BlockFilter, { sort, limit, after }: BlockPage) {
  const conditions = blockConditions(filter)
  const column = sortColumns[sort]
  if (after) conditions.push(sql`(${column}, id) > (${after[0]}, ${after[1]})`)
  const order = sort === 'id' ? sql`id` : sql`${column}, id`
  if (after && sort === 'id') conditions.splice(-1, 1, sql`id > ${after[1]}`)
  return rows(db, Block)`
    select ${blockColumns} from blocks
    where ${allOf(conditions)} order by ${order} limit ${limit + 1}`
}

function blockConditions(filter: BlockFilter): Sql[] {
  const { scope_id, parent_id, network_id, project_id, name, tag, version } = filter
  const { cidr, contains, within, overlaps } = filter
  const conditions: Sql[] = []
  if (scope_id) conditions.push(sql`scope_id = ${scope_id}`)
  if (parent_id === 'none') conditions.push(sql`parent_id is null`)
  else if (parent_id) conditions.push(sql`parent_id = ${parent_id}`)
  if (network_id) conditions.push(sql`network_id = ${network_id}`)
  if (project_id) conditions.push(sql`project_id = ${project_id}`)
  if (name !== undefined) conditions.push(sql`name = ${name}`)
  if (tag) conditions.push(sql`tags @> ${tag}`)
  if (version) conditions.push(sql`family(cidr) = ${version}`)
  if (cidr) conditions.push(sql`cidr = ${cidr}`)
  if (contains) conditions.push(sql`cidr >>= ${contains}::inet`)
  if (within) conditions.push(sql`cidr <<= ${within}::inet`)
  if (overlaps) conditions.push(sql`cidr && ${overlaps}::inet`)
  return conditions
}

/**
 * Exact counts of a block and all that is below it, from the counts of each block: what a block
 * has given to children is counted there.
 *
 * @throws {IpamError} `block_not_found`
 */
export async function getUtilisation(db: Database, id: string): Promise<Utilisation> {
  const [counts] = await rows(db, Utilisation)`
    select own.total, own.in_children, sum(u.allocated) as allocated, sum(u.held) as held,
      sum(u.quarantined) as quarantined, sum(u.excluded) as excluded, sum(u.free) as free
    from blocks top join block_usage own on own.block_id = top.id
      join blocks b on b.scope_id = top.scope_id and b.cidr <<= top.cidr::inet
      join block_usage u on u.block_id = b.id
    where top.id = ${id} group by own.total, own.in_children`
  if (!counts) throw new IpamError('block_not_found', `There is no block ${id}.`)
  return counts
}

const RangeRow = Type.Object({ first: AddressText, last: AddressText })
type RangeRow = Static<typeof RangeRow>

const sizeOf = ({ first, last }: RangeRow): bigint =>
  rangeSize({ first: parseAddress(first)?.value ?? 0n, last: parseAddress(last)?.value ?? -1n })

export type FreePage = { readonly limit: number; readonly after: string | null }

/** The free ranges of a block, lowest first; one more than a page holds. */
export async function listFreeRanges(db: Database, id: string, { limit, after }: FreePage) {
  await getBlock(db, id)
  const found = await rows(db, RangeRow)`
    select first, last from free_ranges
    where block_id = ${id} ${after ? sql`and last > ${after}` : sql``}
    order by last limit ${limit + 1}`
  return found.map(range => ({ ...range, size: String(sizeOf(range)) }))
}

/**
 * The fewest prefixes that cover the free space of a block, lowest first, without those smaller
 * than `length`; one more than a page holds.
 */
export async function listFreePrefixes(
  db: Database,
  id: string,
  { limit, after, length }: FreePage & { readonly length: number },
): Promise<string[]> {
  const { version } = prefixOf(await getBlock(db, id))
  // Each of these ranges has at least one prefix that is wanted, so a page never needs more.
  const found = await rows(db, RangeRow)`
    select case when first <= ${after ?? '0.0.0.0'} then ${after ?? '0.0.0.0'}::inet + 1
      else first end as first, last
    from free_ranges
    where block_id = ${id} and largest_prefix <= ${length}
      ${after ? sql`and last > ${after}` : sql``}
    order by last limit ${limit + 2}`
  const prefixes: string[] = []
  for (const range of found) {
    const first = parseAddress(range.first)?.value ?? 0n
    const last = parseAddress(range.last)?.value ?? 0n
    for (const prefix of prefixesOf({ first, last }, version)) {
      if (prefix.length <= length) prefixes.push(formatPrefix(prefix))
      if (prefixes.length > limit) return prefixes
    }
  }
  return prefixes
}

/** The last address of a CIDR, as text. */
export function lastAddressOf(cidr: string): string {
  const prefix = prefixOf({ cidr })
  return formatAddress({ version: prefix.version, value: prefixRange(prefix).last })
}
