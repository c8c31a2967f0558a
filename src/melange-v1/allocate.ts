import type { Database } from '../db/database.ts'
import { IpamError } from '../errors.ts'
import { newId } from '../ids.ts'
import { formatAddress } from '../ip/address.ts'
import { prefixHolds, prefixRange } from '../ip/prefix.ts'
import { allocateOnce, type NewAllocations } from '../resources/allocations/allocator-store.ts'
import { prepare } from '../resources/allocations/prepare-store.ts'
import { prefixOf } from '../resources/blocks/rules.ts'
import { type AddressRow, getAddress, markFull, waitsFor } from './address-store.ts'
import type { BlockRow } from './block-store.ts'
import { describe } from './block-views.ts'
import { Fault } from './fault.ts'
import type { Settings } from './settings.ts'
import { readAddress } from './values.ts'

/** The interface for which an address is allocated. It is on the network of the block, and locked. */
export type Taker = {
  readonly id: string
  readonly vif_id: string | null
  readonly tenant_id: string
  readonly mac: string | null
}

/** Nothing is free; the block has been marked, which is to be kept. */
export class NoMoreAddresses extends Fault {
  constructor(detail = 'IpBlock is full') {
    super(422, detail)
  }
}
/** Somebody has the address, or it waits, or it is the gateway or the broadcast address. */
export class DuplicateAddress extends Fault {
  constructor() {
    super(409, 'Address is already allocated')
  }
}

type Context = { readonly db: Database; readonly settings: Settings }

/**
 * Allocates an address of a block: a certain one, or any.
 *
 * @throws {NoMoreAddresses} whose mark on the block is lost if the transaction is rolled back
 * @throws {DuplicateAddress}
 * @throws {Fault} 422 or 400
 */
export async function allocateAddress(
  context: Context,
  { block, taker, address }: { block: BlockRow; taker: Taker; address: string | null },
): Promise<AddressRow> {
  const { db } = context
  if (block.has_subnets) throw new Fault(422, 'Subnetted block cannot allocate IPAddress')
  if (block.is_full) throw new NoMoreAddresses()
  const id = newId()
  const request: NewAllocations = {
    block_id: block.id,
    ids: [id],
    project_id: taker.tenant_id,
    owner_type: 'interface',
    owner_id: taker.id,
    name: taker.vif_id?.slice(0, 255),
    needs_grant: block.needs_grant,
  }
  if (address !== null) await takeCertain(context, block, { ...request, address })
  else await takeAny(context, block, { request, mac: taker.mac })
  return getAddress(db, id)
}

async function takeCertain(
  { db, settings }: Context,
  block: BlockRow,
  request: NewAllocations & { readonly address: string },
): Promise<void> {
  const wanted = readAddress(request.address)
  if (!wanted) throw new Fault(400, `${request.address} is not a valid address`)
  const prefix = prefixOf(block)
  if (!prefixHolds(prefix, wanted)) throw new Fault(422, 'Address does not belong to IpBlock')
  const address = formatAddress(wanted)
  const { gateway } = describe(block, settings)
  const isGateway = gateway !== null && readAddress(gateway)?.value === wanted.value
  const isLast = wanted.value === prefixRange(prefix).last
  if (isGateway || isLast || (await waitsFor(db, block, address))) throw new DuplicateAddress()
  try {
    await allocateOnce(db, { ...request, address })
  } catch (error) {
    throw asFault(error)
  }
}

type Any = { readonly request: NewAllocations; readonly mac: string | null }

async function takeAny({ db }: Context, block: BlockRow, { request, mac }: Any): Promise<void> {
  try {
    if (block.ipv6_generator === null) await allocateOnce(db, request)
    else await allocateOnce(db, await withCandidates(db, block, { request, mac }))
  } catch (error) {
    if (error instanceof IpamError && error.code === 'block_full') {
      await markFull(db, block.id)
      throw new NoMoreAddresses()
    }
    throw asFault(error)
  }
}

/** What is made of the MAC, without what waits for somebody, be it for the one who asks. */
async function withCandidates(db: Database, block: BlockRow, { request, mac }: Any) {
  const { project_id, owner_id } = request
  const needsMac = block.ipv6_generator !== 'stable_private'
  if (needsMac && mac === null) throw new Fault(400, 'Required params are missing: mac_address')
  const made = await prepare(db, request, {
    project_id,
    ...(mac !== null && { mac_address: mac }),
    ...(owner_id && { interface_id: owner_id }),
  })
  const candidates: string[] = []
  for (const candidate of made.candidates ?? []) {
    if (!(await waitsFor(db, block, candidate))) candidates.push(candidate)
  }
  if (candidates.length === 0) {
    throw new Fault(409, `Cannot allocate address for block ${block.id} at this time`)
  }
  return { ...made, candidates }
}

/** A refusal of the allocator in the original's terms. */
function asFault(error: unknown): unknown {
  if (!(error instanceof IpamError)) return error
  switch (error.code) {
    case 'address_taken':
    case 'address_quarantined':
      return new DuplicateAddress()
    case 'address_excluded':
      return new Fault(422, 'Block policy does not allow this address')
    case 'address_outside_block':
      return new Fault(422, 'Address does not belong to IpBlock')
    case 'block_has_children':
      return new Fault(422, 'Subnetted block cannot allocate IPAddress')
    case 'quota_exceeded':
    case 'generator_needs_input':
      return new Fault(422, error.message)
    default:
      return error
  }
}

/**
 * Allocates of a network: certain addresses, of which those that are taken or in none of its blocks
 * are left out, or else one of each IP version, of the first block that has one.
 *
 * @throws {NoMoreAddresses} when there is none of either
 */
export async function allocateOfNetwork(
  context: Context,
  {
    blocks,
    taker,
    addresses,
  }: {
    readonly blocks: readonly BlockRow[]
    readonly taker: Taker
    readonly addresses: readonly string[]
  },
): Promise<AddressRow[]> {
  const found: AddressRow[] = []
  for (const address of addresses) {
    const wanted = readAddress(address)
    if (!wanted) throw new Fault(400, `${address} is not a valid address`)
    const block = blocks.find(one => prefixHolds(prefixOf(one), wanted))
    if (!block) continue
    try {
      found.push(await allocateAddress(context, { block, taker, address }))
    } catch (error) {
      if (!(error instanceof DuplicateAddress)) throw error
    }
  }
  if (addresses.length > 0) return found
  for (const version of [4, 6]) {
    const ofVersion = blocks.filter(block => block.version === version)
    const one = await firstFree(context, ofVersion, taker)
    if (one) found.push(one)
  }
  if (found.length === 0) throw new NoMoreAddresses('ip blocks in this network are full')
  return found
}

async function firstFree(
  context: Context,
  blocks: readonly BlockRow[],
  taker: Taker,
): Promise<AddressRow | null> {
  for (const block of blocks) {
    try {
      return await allocateAddress(context, { block, taker, address: null })
    } catch (error) {
      if (!(error instanceof NoMoreAddresses)) throw error
    }
  }
  return null
}
