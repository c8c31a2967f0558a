import { type Static, Type } from 'typebox'
import { type Bound, boundedBeside } from '../../access/bound-store.ts'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { formatAddress, parseAddress } from '../../ip/address.ts'
import { formatPrefix, prefixRange } from '../../ip/prefix.ts'
import { prefixesOf, type Range, rangeSize } from '../../ip/range.ts'
import { AddressText, type FilterOf } from '../../schema.ts'
import { prefixOf } from './rules.ts'
import { Block, type BlockQuery, type blockSorts, type FreeRange, Utilisation } from './schema.ts'

export const blockColumns = sql`
  id, scope_id, parent_id, cidr, family(cidr) as version, network_id, project_id, name,
  description, tags, gateway_ip, dns_nameservers, allocate_network_address,
  own_strategy as strategy, policy_id, priority, generation, created_at, updated_at`

const notFound = (id: string) => new IpamError('block_not_found', `There is no block ${id}.`)

/** @throws {IpamError} `block_not_found` */
export async function getBlock(db: Database, id: string): Promise<Block> {
  const [block] = await rows(db, Block)`select ${blockColumns} from blocks where id = ${id}`
  if (!block) throw notFound(id)
  return block
}

/**
 * Locks the row of a block, without its space: what hangs on it is changed by one transaction at a
 * time, and it stays where it is.
 *
 * @throws {IpamError} `block_not_found`
 */
export async function holdBlock(tx: Database, id: string): Promise<Block> {
  const [block] = await rows(tx, Block)`
    select ${blockColumns} from blocks where id = ${id} for no key update`
  if (!block) throw notFound(id)
  return block
}

export type BlockFilter = FilterOf<BlockQuery>

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
  readonly bound: Bound
}

/** One block more than a page holds, so that the caller sees whether there is another page. */
export function listBlocks(db: Database, filter: BlockFilter, page: BlockPage) {
  const { sort, limit, after, bound } = page
  const conditions = blockConditions(filter)
  const column = sortColumns[sort]
  if (after) conditions.push(sql`(${column}, id) > (${after[0]}, ${after[1]})`)
  const order = sort === 'id' ? sql`id` : sql`${column}, id`
  if (after && sort === 'id') conditions.splice(-1, 1, sql`id > ${after[1]}`)
  const beside = boundedBeside(bound, visibleBeside(bound, filter), {
    ...{ table: sql`blocks`, conditions, order, limit: limit + 1 },
  })
  return rows(db, Block)`
    select ${blockColumns} from blocks
    where ${allOf([...conditions, ...beside])} order by ${order} limit ${limit + 1}`
}

/** What a project sees beside its own: what is granted to it, and the children of its own block. */
function visibleBeside(bound: Bound, { parent_id }: BlockFilter): Sql[] {
  if (bound.kind === 'all') return []
  const { project_id } = bound
  const granted = sql`id in (select blocks_granted_to(${project_id}))`
  if (parent_id === undefined || parent_id === 'none') return [granted]
  const handed = sql`(
    select p.project_id from blocks p where p.id = ${parent_id}) = ${project_id}`
  return [granted, handed]
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

export type FreePage = { readonly limit: number; readonly after: string | null }

/** The free ranges of a block, lowest first; one more than a page holds. */
export async function listFreeRanges(db: Database, id: string, page: FreePage) {
  const block = await getBlock(db, id)
  const show = (value: bigint) => formatAddress({ version: block.version, value })
  const ranges: Static<typeof FreeRange>[] = []
  for await (const range of readFreeRanges(db, block, { ...page, length: 128 })) {
    const { first, last, purpose } = range
    const size = String(rangeSize(range))
    ranges.push({ first: show(first), last: show(last), size, purpose: purpose || null })
    if (ranges.length > page.limit) break
  }
  return ranges
}

/**
 * The fewest prefixes that cover the free space of a block, lowest first, without those smaller
 * than `length`; one more than a page holds.
 */
export async function listFreePrefixes(
  db: Database,
  id: string,
  page: FreePage & { readonly length: number },
): Promise<string[]> {
  const block = await getBlock(db, id)
  const prefixes: string[] = []
  for await (const range of readFreeRanges(db, block, page)) {
    for (const prefix of prefixesOf(range, block.version)) {
      if (prefix.length <= page.length) prefixes.push(formatPrefix(prefix))
      if (prefixes.length > page.limit) return prefixes
    }
  }
  return prefixes
}

const RangeRow = Type.Object({ first: AddressText, last: AddressText, purpose: Type.String() })
const Strategy = Type.Object({ strategy: Type.String() })
const toValue = (text: string) => parseAddress(text)?.value ?? 0n

type PurposeRange = Range & { readonly purpose: string }

/**
 * The free ranges of a block behind an address, lowest first; those without a prefix of `length`
 * may be left out. Where ages are kept, neighbours of different age are rows of their own, but one
 * range; those of different purpose are not, for nothing is given out across them.
 *
 * @throws {IpamError} `marker_invalid`
 */
async function* readFreeRanges(
  db: Database,
  block: Block,
  { limit, after, length }: FreePage & { readonly length: number },
): AsyncGenerator<PurposeRange> {
  const { version } = block
  const { first: start, last: end } = prefixRange(prefixOf(block))
  const place = after === null ? null : parseAddress(after)
  if (place && place.version !== version) throw new IpamError('marker_invalid')
  const [rules] = await rows(db, Strategy)`select strategy from blocks where id = ${block.id}`
  const keepsAges = rules?.strategy === 'least_recently_used'
  const isWanted = keepsAges ? sql`` : sql`and largest_prefix <= ${length}`

  let next = place ? place.value + 1n : start
  let range: PurposeRange | null = null // Found, but what comes next may belong to it.
  while (next <= end) {
    const found: Static<typeof RangeRow>[] = await rows(db, RangeRow)`
      select first, last, purpose from free_ranges
      where block_id = ${block.id} and last >= ${formatAddress({ version, value: next })} ${isWanted}
      order by last limit ${limit + 2}`
    for (const row of found) {
      const [first, last] = [toValue(row.first), toValue(row.last)]
      const { purpose } = row
      if (range && range.last + 1n === first && range.purpose === purpose) {
        range = { first: range.first, last, purpose }
      } else {
        if (range) yield range
        range = { first: first < next ? next : first, last, purpose }
      }
    }
    if (!range || found.length < limit + 2) break
    next = range.last + 1n
  }
  if (range) yield range
}

/** The last address of a CIDR, as text. */
export function lastAddressOf(cidr: string): string {
  const prefix = prefixOf({ cidr })
  return formatAddress({ version: prefix.version, value: prefixRange(prefix).last })
}
