import { type Static, Type } from 'typebox'
import { type CoalescerObserver, coalesce } from '../../coalescer.ts'
import { type Database, retryLost, rows } from '../../db/database.ts'
import { type ErrorCode, IpamError } from '../../errors.ts'
import { AddressText, Id, Nullable, Time } from '../../schema.ts'
import type { Allocation } from './schema.ts'
import { type Release, releaseEach } from './store.ts'

/** What is wanted of one block, and for whom. */
export type NewAllocations = {
  readonly block_id: string
  /** The ids that the allocations will have, one for each. */
  readonly ids: readonly string[]
  /** This address or prefix; with `fallback`, or else the next free address. */
  readonly address: string | null
  readonly fallback: boolean
  /** A free prefix of this length; if `contiguous`, only its first addresses, one by one. */
  readonly prefix_length: number | null
  readonly contiguous: boolean
  readonly project_id: string
  readonly owner_type: string | null
  readonly owner_id: string | null
  readonly name: string
  readonly tags: readonly string[]
}

/** Allocates and releases for many callers at once. */
export type Allocator = {
  /**
   * @throws {IpamError} `block_not_found`, `block_has_children`, `block_full`, `no_free_prefix`,
   * `address_taken`, `address_excluded`, `address_outside_block`, `overloaded`
   */
  allocate(request: NewAllocations): Promise<Allocation[]>
  /** @throws {IpamError} `allocation_not_found`, `generation_mismatch`, `overloaded` */
  release(request: Release): Promise<Allocation>
}

export type AllocatorOptions = {
  /** Batches of one kind that may run side by side, each on its own connection. */
  readonly lanes: number
  /** How many addresses one transaction may take or release. */
  readonly batch_max: number
  /** How many requests may wait before others are refused. */
  readonly waiting_max: number
  readonly observerOf?: (kind: 'allocate' | 'release') => CoalescerObserver
}

/** Concurrent calls share transactions: docs/architecture.md, "The path of an allocation". */
export function createAllocator(db: Database, options: AllocatorOptions): Allocator {
  const { lanes, batch_max: batch_weight_max, waiting_max } = options
  const limits = { lanes, batch_weight_max, waiting_max }
  const watched = (kind: 'allocate' | 'release') =>
    options.observerOf && { observer: options.observerOf(kind) }
  const allocate = coalesce<NewAllocations, Allocation[] | IpamError>({
    ...limits,
    ...watched('allocate'),
    run: batch => retryLost(() => allocateEach(db, batch)),
    weigh: ({ ids }) => ids.length,
    lane: ({ block_id }) => block_id,
  })
  const release = coalesce<Release, Allocation | IpamError>({
    ...limits,
    ...watched('release'),
    run: batch => retryLost(() => releaseEach(db, batch)),
    weigh: () => 1,
    lane: () => '',
  })
  return {
    allocate: async request => orThrow(await allocate(request)),
    release: async request => orThrow(await release(request)),
  }
}

function orThrow<T>(outcome: T | IpamError): T {
  if (outcome instanceof IpamError) throw outcome
  return outcome
}

const Taken = Type.Object({
  request: Type.Integer(),
  id: Nullable(Id),
  scope_id: Nullable(Id),
  address: Nullable(AddressText),
  started_at: Nullable(Time),
  error: Nullable(Type.String()),
})

async function allocateEach(
  db: Database,
  batch: readonly NewAllocations[],
): Promise<(Allocation[] | IpamError)[]> {
  const numbered = batch.map((wanted, request) => ({ request, ...wanted }))
  const found = await rows(db, Taken)`
    select request, id, scope_id, address, started_at, error
    from allocate_addresses(${JSON.stringify(numbered)})`
  const outcomes = batch.map((): Allocation[] | IpamError | undefined => undefined)
  for (const row of found) {
    const wanted = batch[row.request]
    const outcome = outcomes[row.request]
    if (!wanted) throw new Error(`an answer to request ${row.request}, of ${batch.length}`)
    if (row.error !== null) outcomes[row.request] = refusal(row.error as ErrorCode, wanted)
    else if (Array.isArray(outcome)) outcome.push(asAllocation(row, wanted))
    else outcomes[row.request] = [asAllocation(row, wanted)]
  }
  // A block that appeared between two statements of the batch was not there when it was asked for.
  return outcomes.map((outcome, request) => {
    const wanted = batch[request] as NewAllocations
    return outcome ?? refusal('block_not_found', wanted)
  })
}

function asAllocation(row: Static<typeof Taken>, wanted: NewAllocations): Allocation {
  if (!row.id || !row.scope_id || !row.address || !row.started_at) {
    throw new Error('an allocation came back without its address')
  }
  return {
    id: row.id,
    scope_id: row.scope_id,
    block_id: wanted.block_id,
    address: row.address,
    project_id: wanted.project_id,
    owner_type: wanted.owner_type,
    owner_id: wanted.owner_id,
    name: wanted.name,
    tags: [...wanted.tags],
    generation: 1,
    started_at: row.started_at,
    ended_at: null,
  }
}

function refusal(code: ErrorCode, { block_id, address, prefix_length, ids }: NewAllocations) {
  const what: Partial<Record<ErrorCode, string>> = {
    block_not_found: `There is no block ${block_id}.`,
    block_has_children: `Block ${block_id} has children, so it gives out no addresses.`,
    block_full: `Block ${block_id} has fewer than ${ids.length} free addresses.`,
    no_free_prefix: `Block ${block_id} has no free /${prefix_length}.`,
    address_taken: `Somebody holds ${address}, or a part of it.`,
    address_excluded: `${address} is, or holds, an address that the block keeps back.`,
    address_outside_block: `${address} is not in block ${block_id}.`,
  }
  return new IpamError(code, what[code], code.startsWith('address') ? { field: 'address' } : {})
}
