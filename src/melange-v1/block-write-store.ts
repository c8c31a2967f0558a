import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newId } from '../ids.ts'
import type { Prefix } from '../ip/prefix.ts'
import { formatPrefix } from '../ip/prefix.ts'
import { publicScopeId } from '../resources/address-scopes/schema.ts'
import { createAddressScope, lockAddressScope } from '../resources/address-scopes/store.ts'
import { releaseEach } from '../resources/allocations/store.ts'
import { type BlockOrigin, createBlocks } from '../resources/blocks/create-store.ts'
import { deleteBlock } from '../resources/blocks/delete-store.ts'
import { Block } from '../resources/blocks/schema.ts'
import { blockColumns } from '../resources/blocks/store.ts'
import { eventsOf, lockBlock } from '../resources/blocks/tree-store.ts'
import { updateBlock } from '../resources/blocks/update-store.ts'
import { appendEvents } from '../resources/events/store.ts'
import { applyRules } from '../resources/policies/apply-store.ts'
import { holdPolicy } from '../resources/policies/rules-store.ts'
import { endQuarantines } from '../resources/quarantine/store.ts'
import { Id } from '../schema.ts'
import type { BlockRow, EmptyMember } from './block-store.ts'
import { obtainNetwork } from './network-store.ts'

/** What is said of a block, as it was given and as far as it means something here. */
export type Description = {
  readonly gateway: string | null
  readonly gateway_ip: string | null
  readonly dns1: string
  readonly dns2: string
  readonly dns_nameservers: readonly string[]
  readonly policy_id: string | null
  /** The name of its network. */
  readonly network: string | null
  readonly empty_members: readonly EmptyMember[]
}

export type NewBlock = Description & {
  readonly tenant_id: string
  readonly prefix: Prefix
  readonly place: { readonly parent_id: string } | 'public' | 'private'
  readonly origin: BlockOrigin
}

/** Makes a block, with its network and its scope if they are not there; answers its id. */
export async function createDescribedBlock(tx: Database, block: NewBlock): Promise<string> {
  const { tenant_id, prefix, place, origin, network } = block
  // The owner's lock comes first, then policy and network.
  if (place === 'private') await lockScopesOf(tx, tenant_id)
  await holdPolicy(tx, block.policy_id)
  const { id: network_id } =
    network === null ? {} : await obtainNetwork(tx, { name: network, tenant_id })
  const container =
    typeof place === 'object'
      ? place
      : { scope_id: place === 'public' ? publicScopeId : await privateScope(tx, tenant_id, prefix) }
  const [created] = await createBlocks(tx, {
    container,
    wanted: [prefix],
    adopt_children: false,
    settings: {
      network_id,
      project_id: tenant_id,
      gateway_ip: block.gateway_ip,
      dns_nameservers: block.dns_nameservers,
      policy_id: block.policy_id,
      allocate_network_address: true,
      origin,
    },
  })
  if (!created) throw new Error('a block that was created did not come back')
  await keepDescription(tx, created.id, block)
  return created.id
}

async function keepDescription(tx: Database, id: string, said: Description): Promise<void> {
  const { gateway, dns1, dns2, empty_members } = said
  await tx.query(sql`
    insert into v1_blocks (block_id, gateway, dns1, dns2, empty_members)
    values (${id}, ${gateway}, ${dns1}, ${dns2}, ${empty_members})
    on conflict (block_id) do update
    set gateway = excluded.gateway, dns1 = excluded.dns1, dns2 = excluded.dns2,
      empty_members = excluded.empty_members`)
}

async function lockScopesOf(tx: Database, tenant_id: string): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${tenant_id}, 10))`)
}

const scopeTag = 'melange-v1'

/**
 * A scope of the tenant in which a private block overlaps no other. Private blocks may overlap each
 * other, so there are as many as that takes.
 */
async function privateScope(tx: Database, tenant_id: string, prefix: Prefix): Promise<string> {
  const found = await rows(tx, Type.Object({ id: Id }))`
    select s.id from address_scopes s
    where s.project_id = ${tenant_id} and s.tags @> ${[scopeTag]}
      and not exists (
        select from blocks b
        where b.scope_id = s.id and b.parent_id is null
          and b.cidr && ${formatPrefix(prefix)}::inet)
    order by s.id limit 1`
  if (found[0]) return found[0].id
  const taken = await rows(tx, Type.Object({ id: Id }))`
    select id from address_scopes where project_id = ${tenant_id} and name = 'Melange v1'`
  const name = taken.length === 0 ? 'Melange v1' : `Melange v1 (${newId()})`
  const { id } = await createAddressScope(tx, { project_id: tenant_id, name, tags: [scopeTag] })
  return id
}

/** Makes a block what is said of it; its network may be another one. */
export async function describeBlock(tx: Database, block: BlockRow, said: Description) {
  const { id, tenant_id } = block
  await holdPolicy(tx, said.policy_id)
  if (said.network !== block.network) {
    const network =
      said.network === null ? null : await obtainNetwork(tx, { name: said.network, tenant_id })
    await moveToNetwork(tx, id, network?.id ?? null)
  }
  const { gateway_ip, dns_nameservers, policy_id } = said
  await updateBlock(tx, { id }, { gateway_ip, dns_nameservers: [...dns_nameservers], policy_id })
  await keepDescription(tx, id, said)
}

/**
 * Puts a block into another network, or into none. Its subnets stay where they are.
 *
 * @throws {IpamError} `block_overlaps_in_network`
 */
async function moveToNetwork(tx: Database, id: string, network_id: string | null): Promise<void> {
  const { parent } = await lockBlock(tx, id)
  const isTop = network_id !== null && parent?.network_id !== network_id
  const [moved] = await rows(tx, Block)`
    update blocks set network_id = ${network_id}, is_network_top = ${isTop},
      generation = generation + 1, updated_at = clock_timestamp()
    where id = ${id} returning ${blockColumns}`
  if (!moved) throw new Error('a block that was moved did not come back')
  await tx.query(sql`
    update blocks set is_network_top = network_id is not null
      and network_id is distinct from ${network_id}::uuid
    where parent_id = ${id}`)
  await applyRules(tx, { block_id: id })
  await appendEvents(tx, eventsOf('block.updated', [moved]))
}

const releasedMax = 1000

/** Deletes a block with its subnets and all that anyone holds of them. */
export async function deleteBlockTree(tx: Database, { id, scope_id }: BlockRow): Promise<void> {
  await lockAddressScope(tx, scope_id)
  const ids = await belowFirst(tx, id)
  await tx.query(sql`select from lock_blocks(${ids})`)
  await emptyBlocks(tx, ids)
  for (const one of ids) await deleteBlock(tx, { id: one })
}

/** A block and all below it, each before the one above it. A subnet may be as large as its parent. */
async function belowFirst(tx: Database, id: string): Promise<string[]> {
  const found = await rows(tx, Type.Object({ id: Id, depth: Type.Integer() }))`
    with recursive below as (
      select ${id}::uuid as id, 0 as depth
      union all
      select b.id, below.depth + 1 from below join blocks b on b.parent_id = below.id
    )
    select id, depth from below order by depth desc, id`
  return found.map(block => block.id)
}

async function emptyBlocks(tx: Database, ids: readonly string[]): Promise<void> {
  for (;;) {
    const held = await rows(tx, Type.Object({ id: Id }))`
      select id from allocations where block_id = any (${ids}::uuid[]) order by id
      limit ${releasedMax}`
    if (held.length === 0) break
    await releaseEach(tx, held)
  }
  await purgeBlocks(tx, ids)
}

/** Frees what waits in quarantine of blocks, which are then full no more. */
export async function purgeBlocks(tx: Database, ids: readonly string[]): Promise<void> {
  for (;;) {
    const waiting = await rows(tx, Type.Object({ allocation_id: Id }))`
      select allocation_id from quarantine where block_id = any (${ids}::uuid[])
      order by block_id, allocation_id limit ${releasedMax}`
    if (waiting.length === 0) break
    await endQuarantines(
      tx,
      waiting.map(({ allocation_id }) => allocation_id),
    )
  }
  await tx.query(sql`
    update v1_blocks set is_full = false where block_id = any (${ids}::uuid[]) and is_full`)
}
