import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { prefixRange } from '../../ip/prefix.ts'
import { deleteRoutesOf } from '../block-routes/store.ts'
import { deleteOptionsOf } from '../dhcp-options/store.ts'
import { appendEvents } from '../events/store.ts'
import { deleteGrantsOf } from '../grants/store.ts'
import { applyRulesTo } from '../policies/apply-store.ts'
import { prefixOf } from './rules.ts'
import { Block } from './schema.ts'
import { allocationsIn, giveRange, resetSpace } from './space-store.ts'
import { blockColumns } from './store.ts'
import {
  asConflict,
  conflictsMax,
  eventsOf,
  isContainer,
  lockBlock,
  refuseLoss,
} from './tree-store.ts'

/**
 * Deletes a block in which nothing is, and gives its space back to its parent.
 *
 * @throws {IpamError} `block_not_found`, `precondition_failed`, `block_has_children`,
 * `block_in_use`
 */
export function deleteBlock(db: Database, { id, expected }: Target): Promise<void> {
  return retryTransaction(db, async tx => {
    const { block, parent } = await lockBlock(tx, id)
    refuseUnexpected(block, expected)
    const children = await rows(tx, Block)`
      select ${blockColumns} from blocks where parent_id = ${id} order by cidr limit ${conflictsMax}`
    if (children.length > 0) {
      const detail = `${block.cidr} has children, for instance ${children[0]?.cidr}.`
      throw new IpamError('block_has_children', detail, { conflicts: children.map(asConflict) })
    }
    refuseLoss(block.cidr, await allocationsIn(tx, block, [prefixRange(prefixOf(block))]))
    // Who adds a route or an option meanwhile waits, and then finds no block.
    await tx.query(sql`select from blocks where id = ${id} for update`)
    const events = [
      ...(await deleteGrantsOf(tx, { block_id: id })),
      ...(await deleteRoutesOf(tx, block)),
      ...(await deleteOptionsOf(tx, { ...block, type: 'block' })),
    ]
    await tx.query(sql`delete from blocks where id = ${id}`)
    if (parent) {
      await giveRange(tx, parent, prefixRange(prefixOf(block)))
      if (!(await isContainer(tx, parent.id))) {
        await resetSpace(tx, parent)
        await applyRulesTo(tx, parent.id)
        // That a network has a subnet again is told by the end of the child, if that was in it, too.
        if (parent.network_id !== null && parent.network_id !== block.network_id) {
          const again = await rows(tx, Block)`
            update blocks set generation = generation + 1, updated_at = clock_timestamp()
            where id = ${parent.id} returning ${blockColumns}`
          events.push(...eventsOf('block.updated', again))
        }
      }
    }
    await appendEvents(tx, [...events, ...eventsOf('block.deleted', [block])])
  })
}
