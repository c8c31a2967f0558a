import { isDeepStrictEqual } from 'node:util'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { parseAddress } from '../../ip/address.ts'
import { parsePrefix, prefixContains, prefixHolds, prefixRange } from '../../ip/prefix.ts'
import { freeRanges, type Range } from '../../ip/range.ts'
import { appendEvents } from '../events/store.ts'
import { applyRules, applyRulesTo } from '../policies/apply-store.ts'
import { childRefusal } from '../policies/rules.ts'
import { holdPolicy, resolveForChildren } from '../policies/rules-store.ts'
import { compareExtent, excludedRanges, prefixOf } from './rules.ts'
import { Block, type BlockPatch } from './schema.ts'
import {
  allocationsIn,
  giveRange,
  keepNothing,
  lostSpace,
  takeFreeRange,
  takeRange,
} from './space-store.ts'
import { blockColumns } from './store.ts'
import {
  asConflict,
  conflictsMax,
  eventsOf,
  lockBlock,
  overlappingBlocks,
  refuseGateway,
  refuseLoss,
  refuseOverlap,
  refuseOverlapInNetwork,
} from './tree-store.ts'

/**
 * Changes a block; what would lose anything is refused.
 *
 * @throws {IpamError} `block_not_found`, `precondition_failed`, `block_cannot_move`,
 * `block_in_use`, `block_overlaps`, `block_outside_parent`, `gateway_unusable`, `gateway_taken`,
 * `policy_not_found`, `prefix_length_refused`
 */
export function updateBlock(
  db: Database,
  { id, expected }: Target,
  patch: BlockPatch,
): Promise<Block> {
  return retryTransaction(db, async tx => {
    await holdPolicy(tx, patch.policy_id)
    const { block: before, parent, isContainer } = await lockBlock(tx, id)
    refuseUnexpected(before, expected)
    const after: Block = { ...before, ...patch }
    refuseGateway(after)
    const change = { before, after, ...changedParts(before, after) }
    if (isContainer) await resizeContainer(tx, change)
    else await reshapeLeaf(tx, change)
    await resizeInParent(tx, parent, change)
    const [updated] = await rows(tx, Block)`
      update blocks set cidr = ${after.cidr}, name = ${after.name},
        description = ${after.description}, tags = ${after.tags}, gateway_ip = ${after.gateway_ip},
        dns_nameservers = ${after.dns_nameservers}, own_strategy = ${after.strategy},
        policy_id = ${after.policy_id}, priority = ${after.priority},
        allocate_network_address = ${after.allocate_network_address},
        generation = generation + 1, updated_at = clock_timestamp()
      where id = ${id} returning ${blockColumns}`
    if (!updated) throw new IpamError('block_not_found')
    // Only now: what a grown block keeps back may not have fitted into the old one.
    // A CIDR is part of the reasons that refusals give below it.
    const isNamed = after.policy_id !== null && before.cidr !== after.cidr
    const isFelt = before.policy_id !== after.policy_id || isNamed
    if (isFelt) await applyRules(tx, { block_id: id })
    else await applyRulesTo(tx, id)
    await appendEvents(tx, eventsOf('block.updated', [updated]))
    return updated
  })
}

/** A block before and after, the parts that its new extent adds, and those that it takes off. */
type Change = {
  readonly before: Block
  readonly after: Block
  readonly added: readonly Range[]
  readonly removed: readonly Range[]
}

function changedParts(before: Block, after: Block) {
  const [old, now] = [prefixOf(before), prefixOf(after)]
  if (compareExtent(old, now) === 'move') {
    const detail = `${after.cidr} neither contains ${before.cidr} nor lies inside it.`
    throw new IpamError('block_cannot_move', detail, { field: 'cidr' })
  }
  return {
    added: freeRanges(prefixRange(now), [prefixRange(old)]),
    removed: freeRanges(prefixRange(old), [prefixRange(now)]),
  }
}

async function reshapeLeaf(tx: Database, change: Change): Promise<void> {
  const { before, after, added, removed } = change
  if (added.length + removed.length > 0) await keepNothing(tx, before)
  for (const range of added) await giveRange(tx, before, range)
  for (const range of removed) {
    if (await takeRange(tx, before, range)) continue
    refuseLoss(before.cidr, await allocationsIn(tx, before, removed))
    throw lostSpace(before)
  }
  const kept = excludedRanges(before)
  for (const range of excludedRanges(after)) {
    if (kept.some(old => isDeepStrictEqual(old, range))) continue
    const conflicts = await allocationsIn(tx, before, [range])
    if (conflicts.length === 0) continue
    const ofGateway = conflicts.find(({ address }) => holdsAddress(address, after.gateway_ip))
    const { address, type, id } = ofGateway ?? conflicts[0] ?? {}
    const holder = type === 'quarantine' ? 'in the quarantine of' : 'held by'
    const detail = `${address} is ${holder} allocation ${id}.`
    throw new IpamError(ofGateway ? 'gateway_taken' : 'block_in_use', detail, { conflicts })
  }
}

/** Whether an allocation, of this address or of a delegated prefix, holds an address. */
function holdsAddress(allocated: string, wanted: string | null): boolean {
  const address = wanted === null ? null : parseAddress(wanted)
  const prefix = parsePrefix(allocated)?.prefix
  return prefix && address ? prefixHolds(prefix, address) : allocated === wanted
}

async function resizeContainer(tx: Database, change: Change): Promise<void> {
  const { before, after, added, removed } = change
  for (const range of added) await giveRange(tx, before, range)
  for (const range of removed) {
    if (await takeRange(tx, before, range)) continue
    const lost = await rows(tx, Block)`
      select ${blockColumns} from blocks
      where parent_id = ${before.id} and not cidr <<= ${after.cidr}::inet
      order by cidr limit ${conflictsMax}`
    refuseLoss(before.cidr, lost.map(asConflict))
    throw lostSpace(before)
  }
}

async function refuseLength(tx: Database, { scope_id, parent_id, cidr }: Block): Promise<void> {
  const rules = await resolveForChildren(tx, { parent_id, scope_id })
  const refusal = childRefusal(rules, { parent_id, prefix: prefixOf({ cidr }) })
  if (refusal) throw new IpamError('prefix_length_refused', `${cidr}: ${refusal}.`)
}

/** What a child gains, its parent gives; what it loses, its parent gets. */
async function resizeInParent(tx: Database, parent: Block | null, change: Change): Promise<void> {
  const { before, after, added, removed } = change
  if (parent && !prefixContains(prefixOf(parent), prefixOf(after))) {
    throw new IpamError('block_outside_parent', `${after.cidr} does not lie inside ${parent.cidr}.`)
  }
  if (before.cidr !== after.cidr) await refuseLength(tx, after)
  if (added.length > 0) {
    const overlapping = await overlappingBlocks(tx, {
      container_id: parent?.id ?? before.scope_id,
      cidr: after.cidr,
      limit: conflictsMax + 1,
    })
    refuseOverlap(
      after.cidr,
      overlapping.filter(({ id }) => id !== before.id),
    )
    const { network_id, cidr } = after
    if (network_id !== null && !parent?.network_id) {
      await refuseOverlapInNetwork(tx, { cidr, network_id, apartFrom: [before] })
    }
  }
  if (!parent) return
  for (const range of added) await takeFreeRange(tx, parent, range)
  for (const range of removed) await giveRange(tx, parent, range)
}
