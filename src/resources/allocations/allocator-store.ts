import { type Static, Type } from 'typebox'
import { type CoalescerObserver, coalesce } from '../../coalescer.ts'
import { type Database, type DoneBy, retryLost, rows } from '../../db/database.ts'
import { type ErrorCode, IpamError } from '../../errors.ts'
import type { IdempotencyKey } from '../../idempotency-store.ts'
import { AddressText, Id, Nullable, Time } from '../../schema.ts'
import type { Allocation } from './schema.ts'
import { type Release, releaseEach } from './store.ts'

/** What is wanted of a block or a network, and for whom. What is not said may be left out. */
export type NewAllocations = {
  /** Take from this block, or from the subnets of this network. */
  readonly block_id?: string | null | undefined
  readonly network_id?: string | null | undefined
  /** Of a network: one of each of these IP versions; fewer only if `partial`. */
  readonly families?: readonly number[] | null | undefined
  readonly partial?: boolean | null | undefined
  readonly subnet_tags?: readonly string[] | null | undefined
  /** The ids that the allocations will have: one for each, of a network for each of `families`. */
  readonly ids: readonly string[]
  /** This address or prefix; with `fallback`, or else the next free address. */
  readonly address?: string | null | undefined
  readonly fallback?: boolean | null | undefined
  /** Where addresses are generated: the first of these that is free. */
  readonly candidates?: readonly string[] | null | undefined
  /** A free prefix of this length; if `contiguous`, only its first addresses, one by one. */
  readonly prefix_length?: number | null | undefined
  readonly contiguous?: boolean | null | undefined
  readonly purpose?: string | null | undefined
  /** What the owner has there already is the answer. */
  readonly one_per_owner?: boolean | null | undefined
  /** A hold that lapses after so long. */
  readonly lifetime_seconds?: number | null | undefined
  readonly project_id: string
  readonly owner_type?: string | null | undefined
  readonly owner_id?: string | null | undefined
  readonly name?: string | null | undefined
  readonly tags?: readonly string[] | null | undefined
  /** Whether the rules allow it only under a grant, which the transaction has to find. */
  readonly needs_grant?: boolean | undefined
  readonly idempotency?: IdempotencyKey | null | undefined
  /** In whose name; left out, it is whoever the transaction is of. */
  readonly done_by?: DoneBy | undefined
}

/** What became of a request, and whether it is what the same key was answered before. */
export type Taken = { readonly allocations: Allocation[]; readonly replayed: boolean }

/** Allocates and releases for many callers at once. */
export type Allocator = {
  /**
   * @throws {IpamError} `block_not_found`, `block_has_children`, `block_full`, `no_free_prefix`,
   * `address_taken`, `address_excluded`, `address_quarantined`, `address_outside_block`,
   * `network_not_found`, `no_subnet`, `network_full`, `generator_needs_input`, `quota_exceeded`,
   * `idempotency_key_reused`, `overloaded`
   */
  allocate(request: NewAllocations): Promise<Taken>
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
  const allocate = coalesce<NewAllocations, Taken | IpamError | 'again'>({
    ...limits,
    ...watched('allocate'),
    run: batch => retryLost(() => allocateEach(db, batch)),
    weigh: ({ ids }) => ids.length,
    lane: ({ block_id, network_id }) => block_id ?? network_id ?? '',
  })
  const release = coalesce<Release, Allocation | IpamError>({
    ...limits,
    ...watched('release'),
    run: batch => retryLost(() => releaseEach(db, batch)),
    weigh: () => 1,
    lane: () => '',
  })
  return {
    allocate: request => untilDone(() => allocate(request)),
    release: async request => orThrow(await release(request)),
  }
}

const attemptsMax = 20

/**
 * Asks again, a bounded number of times, for what could not be decided beside its neighbours: two
 * requests of one owner or one key in a batch, or a network whose subnets filled up meanwhile.
 */
export async function untilDone<T>(attempt: () => Promise<T | IpamError | 'again'>): Promise<T> {
  for (let n = 0; n < attemptsMax; n++) {
    const outcome = await attempt()
    if (outcome !== 'again') return orThrow(outcome)
  }
  throw new IpamError('overloaded')
}

function orThrow<T>(outcome: T | IpamError): T {
  if (outcome instanceof IpamError) throw outcome
  return outcome
}

/** Allocates in a transaction of its own or the caller's, without sharing it. */
export function allocateOnce(db: Database, request: NewAllocations): Promise<Taken> {
  return untilDone(async () => (await allocateEach(db, [request]))[0] ?? 'again')
}

/**
 * Allocates for all requests in the transaction of the caller, which is to be rolled back if one
 * is refused.
 *
 * @throws {IpamError} what `allocate` may end in
 */
export async function allocateAll(tx: Database, requests: readonly NewAllocations[]) {
  let pending = requests
  for (let n = 0; pending.length > 0; n++) {
    if (n === attemptsMax) throw new IpamError('overloaded')
    const outcomes = await allocateEach(tx, pending)
    for (const outcome of outcomes) if (outcome instanceof IpamError) throw outcome
    pending = pending.filter((_, index) => outcomes[index] === 'again')
  }
}

const Row = Type.Object({
  request: Type.Integer(),
  id: Nullable(Id),
  block_id: Nullable(Id),
  scope_id: Nullable(Id),
  address: Nullable(AddressText),
  started_at: Nullable(Time),
  expires_at: Nullable(Time),
  refusal: Nullable(Type.String()),
  detail: Nullable(Type.String()),
  answer: Nullable(Type.Unsafe<Allocation | Allocation[]>({})),
})

/**
 * Allocates for each request of a batch, in one transaction. What cannot be decided beside its
 * neighbours is to be asked for again.
 */
export async function allocateEach(
  db: Database,
  batch: readonly NewAllocations[],
): Promise<(Taken | IpamError | 'again')[]> {
  const numbered = batch.map((wanted, request) => {
    const { idempotency, done_by, ...asked } = wanted
    if (!idempotency) return { ...asked, ...done_by, request }
    const { caller, key: idempotency_key, fingerprint } = idempotency
    return { ...asked, ...done_by, request, caller, idempotency_key, fingerprint }
  })
  const found = await rows(db, Row)`
    select request, id, block_id, scope_id, address, started_at, expires_at, refusal, detail, answer
    from allocate_addresses(${JSON.stringify(numbered)})`
  const outcomes = batch.map((): Taken | IpamError | 'again' | undefined => undefined)
  for (const row of found) {
    const wanted = batch[row.request]
    const outcome = outcomes[row.request]
    if (!wanted) throw new Error(`an answer to request ${row.request}, of ${batch.length}`)
    if (row.refusal === 'again') outcomes[row.request] = 'again'
    else if (row.refusal !== null) outcomes[row.request] = refusalOf(row, wanted)
    else if (Array.isArray(row.answer)) {
      outcomes[row.request] = { allocations: row.answer, replayed: true }
    } else {
      const one = row.answer ?? asAllocation(row, wanted)
      if (typeof outcome === 'object' && 'allocations' in outcome) outcome.allocations.push(one)
      else outcomes[row.request] = { allocations: [one], replayed: false }
    }
  }
  // A block that appeared between two statements of the batch was not there when it was asked for.
  return outcomes.map((outcome, request) => {
    const wanted = batch[request] as NewAllocations
    if (typeof outcome === 'object' && 'allocations' in outcome && wanted.network_id) {
      outcome.allocations.sort((a, b) => versionOf(a) - versionOf(b))
    }
    return outcome ?? refusalOf({ refusal: 'block_not_found', detail: null }, wanted)
  })
}

const versionOf = ({ address }: Allocation) => (address.includes(':') ? 6 : 4)

function asAllocation(row: Static<typeof Row>, wanted: NewAllocations): Allocation {
  if (!row.id || !row.block_id || !row.scope_id || !row.address || !row.started_at) {
    throw new Error('an allocation came back without its address')
  }
  return {
    id: row.id,
    scope_id: row.scope_id,
    block_id: row.block_id,
    address: row.address,
    project_id: wanted.project_id,
    owner_type: wanted.owner_type ?? null,
    owner_id: wanted.owner_id ?? null,
    name: wanted.name ?? '',
    tags: [...(wanted.tags ?? [])],
    generation: 1,
    started_at: row.started_at,
    expires_at: row.expires_at,
    ended_at: null,
    quarantined_until: null,
  }
}

type Refused = Pick<Static<typeof Row>, 'refusal' | 'detail'>

function refusalOf({ refusal, detail }: Refused, wanted: NewAllocations): IpamError {
  const { block_id, network_id, address, prefix_length, ids } = wanted
  // What is not granted any more is not seen any more.
  const notGranted = network_id ? 'network_not_found' : 'block_not_found'
  const code = refusal === 'not_granted' ? notGranted : (refusal as ErrorCode)
  const place = network_id ? `network ${network_id}` : `block ${block_id}`
  const what: Partial<Record<ErrorCode, string>> = {
    block_not_found: `There is no block ${block_id}.`,
    block_has_children: `Block ${block_id} has children, so it gives out no addresses.`,
    block_full: `Block ${block_id} has fewer than ${ids.length} free addresses.`,
    no_free_prefix: `Block ${block_id} has no free /${prefix_length}.`,
    address_taken: `Somebody holds ${address ?? wanted.candidates?.[0]}, or a part of it.`,
    address_outside_block: network_id
      ? `No subnet of ${place} holds ${address}.`
      : `${address} is not in ${place}.`,
    network_not_found: `There is no network ${network_id}.`,
  }
  const text = detail ?? what[code]
  return new IpamError(code, text, code.startsWith('address') ? { field: 'address' } : {})
}
