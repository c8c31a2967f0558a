import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import type { NewAllocations } from './allocator-store.ts'
import type { AllocationRequest } from './schema.ts'

const Version = Type.Object({ version: Type.Union([Type.Literal(4), Type.Literal(6)]) })

/**
 * Completes a request with what only a look at its block can tell: the length of the prefix that
 * holds contiguous addresses.
 *
 * @throws {IpamError} `block_not_found`
 */
export async function prepare(
  db: Database,
  wanted: NewAllocations,
  _body: AllocationRequest,
): Promise<NewAllocations> {
  if (!wanted.contiguous) return wanted
  const [block] = await rows(db, Version)`
    select family(cidr) as version from blocks where id = ${wanted.block_id}`
  if (!block) throw new IpamError('block_not_found', `There is no block ${wanted.block_id}.`)
  const bits = block.version === 4 ? 32 : 128
  return { ...wanted, prefix_length: bits - Math.ceil(Math.log2(wanted.ids.length)) }
}
