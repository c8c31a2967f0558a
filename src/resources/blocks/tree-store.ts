import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { type Conflict, IpamError } from '../../errors.ts'
import { parseAddress } from '../../ip/address.ts'
import { lockAddressScope } from '../address-scopes/store.ts'
import type { EventType } from '../events/store.ts'
import { canBeGateway } from './rules.ts'
import { Block } from './schema.ts'
import { blockColumns, getBlock } from './store.ts'

// What creating, changing and deleting blocks have in common. All of it is serialized by the lock
// on the tree of the scope.

/** Blocks of a container that share addresses with a CIDR, in their order. */
export function overlappingBlocks(
  tx: Database,
  { container_id, cidr, limit }: { container_id: string; cidr: string; limit: number },
) {
  return rows(tx, Block)`
    select ${blockColumns} from blocks
    where container_id = ${container_id} and cidr && ${cidr}::inet order by cidr limit ${limit}`
}

type NetworkPlace = {
  readonly cidr: string
  readonly network_id: string | null
  readonly apartFrom: readonly Block[]
}

/** Names what is in the way; against what other scopes do meanwhile there is the constraint. */
export async function refuseOverlapInNetwork(tx: Database, place: NetworkPlace): Promise<void> {
  const { cidr, network_id, apartFrom } = place
  const overlapping = await rows(tx, Block)`
    select ${blockColumns} from blocks
    where network_id = ${network_id} and is_network_top and cidr && ${cidr}::inet
      and id <> all (${apartFrom.map(block => block.id)}) order by cidr limit ${conflictsMax}`
  refuseOverlap(cidr, overlapping, 'block_overlaps_in_network')
}

/** @throws {IpamError} `block_overlaps` or `block_overlaps_in_network`, naming what is there */
export function refuseOverlap(
  cidr: string,
  blocks: readonly Block[],
  code: 'block_overlaps' | 'block_overlaps_in_network' = 'block_overlaps',
): void {
  if (blocks.length === 0) return
  const names = blocks.slice(0, conflictsMax).map(block => block.cidr)
  throw new IpamError(code, `${cidr} overlaps ${names.join(', ')}.`, {
    conflicts: blocks.slice(0, conflictsMax).map(asConflict),
  })
}

/** @throws {IpamError} `gateway_unusable` */
export function refuseGateway(shape: Parameters<typeof canBeGateway>[0]): void {
  const gateway = shape.gateway_ip === null ? null : parseAddress(shape.gateway_ip)
  if (!gateway || canBeGateway(shape, gateway)) return
  const detail = `${shape.gateway_ip} cannot be the gateway of ${shape.cidr}.`
  throw new IpamError('gateway_unusable', detail, { field: 'gateway_ip' })
}

/** How many of the things in the way are named. */
export const conflictsMax = 10

/** A block that is in the way. */
export const asConflict = ({ id, cidr }: Block): Conflict => ({ type: 'block', id, address: cidr })

const Children = Type.Object({ in_children: Type.String() })

/** Locks the tree of a block's scope, then the block and its parent. */
export async function lockBlock(tx: Database, id: string) {
  const { scope_id } = await getBlock(tx, id)
  const scope = await lockAddressScope(tx, scope_id)
  const { parent_id } = await getBlock(tx, id)
  await tx.query(sql`select from lock_blocks(${parent_id ? [parent_id, id] : [id]})`)
  const parent = parent_id ? await getBlock(tx, parent_id) : null
  const block = await getBlock(tx, id)
  return { scope, parent, block, isContainer: await isContainer(tx, id) }
}

/** Whether a block has children. */
export async function isContainer(tx: Database, id: string): Promise<boolean> {
  const [usage] = await rows(tx, Children)`
    select in_children from block_usage where block_id = ${id}`
  return usage !== undefined && usage.in_children !== '0'
}

/** Refuses a change by which what is named would be lost. */
export function refuseLoss(what: string, conflicts: readonly Conflict[]): void {
  if (conflicts.length === 0) return
  const names = conflicts.map(conflict => conflict.address).join(', ')
  throw new IpamError('block_in_use', `${what} still holds ${names}.`, { conflicts })
}

/** The events of a change of several blocks. */
export const eventsOf = (type: EventType, blocks: readonly Block[]) =>
  blocks.map(data => ({ type, object_id: data.id, project_id: data.project_id, data }))
