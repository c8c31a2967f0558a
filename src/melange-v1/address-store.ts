import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { allOf, type Sql, sql } from '../db/sql.ts'
import { formatAddress } from '../ip/address.ts'
import { restoreAllocation } from '../resources/allocations/hold-store.ts'
import { releaseEach, updateAllocation } from '../resources/allocations/store.ts'
import { AddressText, Id, Nullable, Time } from '../schema.ts'
import type { BlockRow } from './block-store.ts'
import { interfaceName } from './interface-store.ts'
import { behindMarker } from './marker-store.ts'
import type { Page } from './page.ts'
import { readAddress } from './values.ts'

export const AddressRow = Type.Object({
  id: Id,
  block_id: Id,
  address: AddressText,
  /** Null where it was restored: that does not bring its interface back. */
  tenant_id: Nullable(Type.String()),
  device_id: Nullable(Type.String()),
  /** As it is called. */
  interface_id: Nullable(Type.String()),
  started_at: Time,
})
/** An address that somebody holds. */
export type AddressRow = Static<typeof AddressRow>

/** An address that was deallocated and then restored belongs to no interface any more. */
const detached = 'melange-v1:detached'
const isDetached = sql`a.tags @> ${[detached]}`

/** Allocations `a`, as rows. */
export const addressSelect = sql`
  select a.id, a.block_id, a.address, a.started_at,
    case when not ${isDetached} then a.project_id end as tenant_id, i.device_id,
    coalesce(${interfaceName}, case a.owner_type when 'interface' then a.owner_id end)
      as interface_id
  from allocations a left join interfaces i on a.owner_type = 'interface'
    and i.project_id = a.project_id and i.id = case when a.owner_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then a.owner_id::uuid end`

/** Current allocations of single addresses of a block; they are indexed by scope and address. */
const inBlock = ({ id, scope_id, cidr }: BlockRow): Sql => sql`
  a.scope_id = ${scope_id} and a.address >= ${cidr}::cidr::inet
  and a.address <= last_of(${cidr}::cidr::inet) and a.block_id = ${id} and not a.is_prefix`

/** One more than a page holds. */
export function listAddresses(db: Database, block: BlockRow, page: Page): Promise<AddressRow[]> {
  return rows(db, AddressRow)`
    ${addressSelect} where ${inBlock(block)} and ${behindMarker(sql`a.id`, page)}
    order by a.id limit ${page.limit + 1}`
}

type Filter = {
  readonly tenant_id?: string | undefined
  readonly used_by_device: string | null
  readonly address: string | null
}

/** What is held, of all tenants or of one; one more than a page holds. */
export async function listAllocated(
  db: Database,
  { tenant_id, used_by_device, address }: Filter,
  page: Page,
): Promise<AddressRow[]> {
  const conditions = [sql`not a.is_prefix`, behindMarker(sql`a.id`, page)]
  if (tenant_id !== undefined) {
    conditions.push(sql`a.project_id = ${tenant_id} and not ${isDetached}`)
  }
  if (used_by_device) {
    conditions.push(sql`a.owner_id in (
      select d.id::text from interfaces d where d.device_id = ${used_by_device})`)
  }
  if (address) {
    const wanted = readAddress(address)
    if (!wanted) return []
    conditions.push(sql`
      a.scope_id = any (array(select s.id from address_scopes s)) and a.address = ${formatAddress(wanted)}::inet`)
  }
  return rows(db, AddressRow)`
    ${addressSelect} where ${allOf(conditions)} order by a.id limit ${page.limit + 1}`
}

/** Null if nobody holds it. */
export async function findAddress(
  db: Database,
  block: BlockRow,
  address: string,
): Promise<AddressRow | null> {
  const [found] = await rows(db, AddressRow)`
    ${addressSelect} where a.scope_id = ${block.scope_id} and a.address = ${address}::inet
      and a.block_id = ${block.id}`
  return found ?? null
}

export async function getAddress(db: Database, id: string): Promise<AddressRow> {
  const [found] = await rows(db, AddressRow)`${addressSelect} where a.id = ${id}`
  if (!found) throw new Error('an address that was allocated did not come back')
  return found
}

const Held = Type.Object({ ...AddressRow.properties, network_id: Nullable(Id) })
export type HeldRow = Static<typeof Held>

/** What an interface has, the first first. */
export function addressesOf(db: Database, interface_id: string): Promise<HeldRow[]> {
  return rows(db, Held)`
    select h.*, b.network_id from (
      ${addressSelect} where a.owner_id = ${interface_id}::uuid::text and a.owner_type = 'interface') h
      join blocks b on b.id = h.block_id
    order by h.id`
}

/** The allocation that ended for which an address of a block waits; null if it does not. */
export async function waitsFor(
  db: Database,
  block: BlockRow,
  address: string,
): Promise<string | null> {
  const [found] = await rows(db, Type.Object({ allocation_id: Id }))`
    select allocation_id from quarantine
    where scope_id = ${block.scope_id} and block_id = ${block.id} and address && ${address}::inet
      and quarantined_until > clock_timestamp()`
  return found?.allocation_id ?? null
}

/** Gives addresses back; they wait as the rules of their blocks say. */
export async function deallocate(tx: Database, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  await releaseEach(
    tx,
    ids.map(id => ({ id })),
  )
}

/** Allocates what waits again, without its interface. */
export async function restoreDetached(tx: Database, ended: string): Promise<void> {
  const { id, tags } = await restoreAllocation(tx, ended, null)
  await tx.query(sql`update allocations set owner_type = null, owner_id = null where id = ${id}`)
  await updateAllocation(tx, { id }, { tags: [...new Set([...tags, detached])] })
}

/** A request found nothing free in a block, which gives out nothing more until it is purged. */
export async function markFull(tx: Database, block_id: string): Promise<void> {
  await tx.query(sql`update v1_blocks set is_full = true where block_id = ${block_id}`)
}

/** The blocks of a tenant, and of a network, in which addresses wait. */
export async function waitingBlocks(
  db: Database,
  { tenant_id, network_id }: { readonly tenant_id: string; readonly network_id: string },
): Promise<string[]> {
  const found = await rows(db, Type.Object({ id: Id }))`
    select b.id from blocks b join block_usage u on u.block_id = b.id
      join v1_blocks v on v.block_id = b.id
    where (b.project_id = ${tenant_id} or b.network_id = ${network_id}) and u.quarantined > 0
    order by b.id`
  return found.map(({ id }) => id)
}
