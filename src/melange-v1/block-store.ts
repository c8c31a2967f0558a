import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { type Sql, sql } from '../db/sql.ts'
import { publicScopeId } from '../resources/address-scopes/schema.ts'
import { Id, Nullable, oneOf, Time } from '../schema.ts'
import { notFound } from './fault.ts'
import { isUuid } from './ids.ts'
import { behindMarker } from './marker-store.ts'
import { networkName } from './network-store.ts'
import type { Page } from './page.ts'

const emptyMembers = ['network_id', 'policy_id'] as const
/** What may be said to be an empty text, which is not the same as nothing. */
export type EmptyMember = (typeof emptyMembers)[number]

const Row = Type.Object({
  id: Id,
  scope_id: Id,
  is_public: Type.Boolean(),
  cidr: Type.String(),
  version: Type.Union([Type.Literal(4), Type.Literal(6)]),
  parent_id: Nullable(Id),
  network: Nullable(Type.String()),
  network_id: Nullable(Id),
  policy_id: Nullable(Id),
  tenant_id: Type.String(),
  gateway_ip: Nullable(Type.String()),
  allocate_network_address: Type.Boolean(),
  keeps_last_address: Type.Boolean(),
  dns_nameservers: Type.Array(Type.String()),
  /** As they were given, if the block was described in this API. */
  gateway: Nullable(Type.String()),
  dns1: Nullable(Type.String()),
  dns2: Nullable(Type.String()),
  empty_members: Type.Array(oneOf(emptyMembers)),
  is_full: Type.Boolean(),
  ipv6_generator: Nullable(Type.String()),
  has_subnets: Type.Boolean(),
  created_at: Time,
  updated_at: Time,
})
/** A block with what this API shows of it. */
export type BlockRow = Static<typeof Row> & {
  /** Whether the tenant of the path may take addresses of it only under a grant. */
  readonly needs_grant?: boolean
}

const select = sql`
  select b.id, b.scope_id, b.scope_id = ${publicScopeId} as is_public, b.cidr,
    family(b.cidr) as version, b.parent_id, ${networkName} as network, b.network_id, b.policy_id,
    coalesce(b.project_id, '') as tenant_id, b.gateway_ip, b.allocate_network_address,
    b.keeps_last_address, b.dns_nameservers, v.gateway, v.dns1, v.dns2,
    coalesce(v.empty_members, '{}') as empty_members,
    coalesce(v.is_full, false) as is_full, b.ipv6_generator,
    exists (select from blocks c where c.parent_id = b.id) as has_subnets,
    b.created_at, b.updated_at
  from blocks b left join v1_blocks v on v.block_id = b.id
    left join networks n on n.id = b.network_id`

const find = (db: Database, condition: Sql) => rows(db, Row)`${select} where ${condition}`

/** @throws {Fault} 404 */
export async function getOwnBlock(
  db: Database,
  { id, tenant_id }: { readonly id: string; readonly tenant_id: string },
): Promise<BlockRow> {
  const [block] = isUuid(id)
    ? await find(db, sql`b.id = ${id} and b.project_id = ${tenant_id}`)
    : []
  if (!block) throw notFound('IpBlock')
  return block
}

type Named = { readonly id: string; readonly tenant_id: string }

/** A block from which a tenant may take addresses: its own, or one that is granted to it. @throws {Fault} 404 */
export async function getUsableBlock(db: Database, { id, tenant_id }: Named): Promise<BlockRow> {
  const [block] = isUuid(id)
    ? await find(
        db,
        sql`b.id = ${id} and (b.project_id = ${tenant_id}
          or exists (select from grants_for(${tenant_id}, b.id, null)))`,
      )
    : []
  if (!block) throw notFound('IpBlock')
  return { ...block, needs_grant: block.tenant_id !== tenant_id }
}

/** A block in which a tenant holds an address. @throws {Fault} 404 */
export async function getBlockOfHolder(
  db: Database,
  { id, tenant_id, address }: Named & { readonly address: string },
): Promise<BlockRow> {
  const [block] = isUuid(id)
    ? await find(
        db,
        sql`b.id = ${id} and exists (
          select from allocations a where a.scope_id = b.scope_id and a.block_id = b.id
            and a.address = ${address}::inet and a.project_id = ${tenant_id})`,
      )
    : []
  if (!block) throw notFound('IpBlock')
  return block
}

/** The blocks of a network that is granted to a tenant, in the order of their making. */
export async function listGrantedBlocks(
  db: Database,
  { network_id, tenant_id }: { readonly network_id: string; readonly tenant_id: string },
): Promise<BlockRow[]> {
  const found = await rows(db, Row)`
    ${select} where b.network_id = ${network_id} and b.project_id is not distinct from n.project_id
      and exists (select from grants_for(${tenant_id}, null, n.id))
    order by b.created_at, b.id limit ${unpagedMax}`
  return found.map(block => ({ ...block, needs_grant: true }))
}

/** A block that is known to be there. */
export async function getBlockRow(db: Database, id: string): Promise<BlockRow> {
  const [block] = await find(db, sql`b.id = ${id}`)
  if (!block) throw notFound('IpBlock')
  return block
}

/** Some blocks by their ids. */
export async function getBlockRows(
  db: Database,
  ids: readonly string[],
): Promise<Map<string, BlockRow>> {
  const found = await find(db, sql`b.id = any (${ids}::uuid[])`)
  return new Map(found.map(block => [block.id, block]))
}

type Filter = { readonly tenant_id: string; readonly type: string | null }

/** One more than a page holds. */
export function listOwnBlocks(
  db: Database,
  { tenant_id, type }: Filter,
  page: Page,
): Promise<BlockRow[]> {
  const isPublic = sql`b.scope_id = ${publicScopeId}`
  const ofType =
    type === null
      ? sql`true`
      : type === 'public'
        ? isPublic
        : type === 'private'
          ? sql`not ${isPublic}`
          : sql`false`
  return rows(db, Row)`
    ${select} where b.project_id = ${tenant_id} and ${ofType} and ${behindMarker(sql`b.id`, page)}
    order by b.id limit ${page.limit + 1}`
}

/** How many blocks lists without pages hold at most. */
const unpagedMax = 10_000

/** In the order of their making. */
export function listSubnets(db: Database, parent_id: string): Promise<BlockRow[]> {
  return rows(db, Row)`
    ${select} where b.parent_id = ${parent_id} order by b.created_at, b.id limit ${unpagedMax}`
}

/** The blocks of a network, of one tenant or all, in the order of their making. */
export function listNetworkBlocks(
  db: Database,
  { network_id, tenant_id }: { readonly network_id: string; readonly tenant_id?: string },
): Promise<BlockRow[]> {
  const ofTenant = tenant_id === undefined ? sql`true` : sql`b.project_id = ${tenant_id}`
  return rows(db, Row)`
    ${select} where b.network_id = ${network_id} and ${ofTenant}
    order by b.created_at, b.id limit ${unpagedMax}`
}

const Overlap = Type.Object({ cidr: Type.String() })

/** A block beside one that there is to be, and overlaps it: its CIDR, or null if there is none. */
async function overlap(db: Database, condition: Sql, cidr: string): Promise<string | null> {
  const [found] = await rows(db, Overlap)`
    select b.cidr from blocks b where b.cidr && ${cidr}::inet and ${condition}
    order by b.cidr limit 1`
  return found?.cidr ?? null
}

export const overlapInPublic = (db: Database, cidr: string) =>
  overlap(db, sql`b.scope_id = ${publicScopeId} and b.parent_id is null`, cidr)

export const overlapInParent = (db: Database, parent_id: string, cidr: string) =>
  overlap(db, sql`b.parent_id = ${parent_id}`, cidr)

/** Among the top blocks of a network, apart from the block itself. */
export function overlapInNetwork(
  db: Database,
  { network_id, apart }: { readonly network_id: string; readonly apart: string | null },
  cidr: string,
) {
  const others = sql`b.network_id = ${network_id} and b.is_network_top`
  return overlap(db, sql`${others} and b.id is distinct from ${apart}::uuid`, cidr)
}

/** Whether the blocks of a network are public; null if it has none, apart from the block itself. */
export async function typeOfNetwork(
  db: Database,
  { network_id, apart }: { readonly network_id: string; readonly apart: string | null },
): Promise<boolean | null> {
  const [found] = await rows(db, Type.Object({ is_public: Type.Boolean() }))`
    select b.scope_id = ${publicScopeId} as is_public from blocks b
    where b.network_id = ${network_id} and b.id is distinct from ${apart}::uuid limit 1`
  return found?.is_public ?? null
}

/** Whether somebody holds addresses of a block, or may get them back. */
export async function hasAddresses(db: Database, id: string): Promise<boolean> {
  const [found] = await rows(db, Type.Object({ has: Type.Boolean() }))`
    select allocated + held + quarantined > 0 as has from block_usage where block_id = ${id}`
  return found?.has ?? false
}
