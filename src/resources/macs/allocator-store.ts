import { Type } from 'typebox'
import { type CoalescerObserver, coalesce } from '../../coalescer.ts'
import { type Database, type DoneBy, retryLost, retryTransaction, rows } from '../../db/database.ts'
import { type ErrorCode, IpamError } from '../../errors.ts'
import type { IdempotencyKey } from '../../idempotency-store.ts'
import { newId } from '../../ids.ts'
import { formatMac } from '../../ip/mac.ts'
import { Nullable } from '../../schema.ts'
import { untilDone } from '../allocations/allocator-store.ts'
import { readUnicastMac } from './read-mac.ts'
import { Mac, type MacRequest } from './schema.ts'
import { macNotFound } from './store.ts'

/** A MAC that is wanted, and for whom; one of a range if it is not said which. */
export type WantedMac = {
  readonly mac?: bigint | undefined
  readonly range_id?: string | undefined
  readonly network_id?: string | undefined
  readonly project_id: string
  readonly owner_type?: string | undefined
  readonly owner_id?: string | undefined
  readonly interface_id?: string | undefined
  readonly idempotency?: IdempotencyKey | undefined
  /** In whose name; left out, it is whoever the transaction is of. */
  readonly done_by?: DoneBy | undefined
}

/** @throws {IpamError} `invalid_request` */
export function readWantedMac({ address, ...wanted }: MacRequest): WantedMac {
  const mac = address === undefined ? undefined : readUnicastMac(address, 'address')
  return { ...wanted, mac }
}

/** Takes and releases MACs for many callers at once. */
export type MacAllocator = {
  /**
   * Gives somebody a MAC; whether it is what the same key was answered before.
   *
   * @throws {IpamError} `network_not_found`, `mac_range_not_found`, `mac_range_full`,
   * `no_mac_range`, `mac_needs_network`, `mac_outside_range`, `mac_forbidden`, `mac_taken`,
   * `mac_waits`, `idempotency_key_reused`, `overloaded`
   */
  take(wanted: WantedMac): Promise<{ readonly mac: Mac; readonly isRepeated: boolean }>
  /**
   * Releases a MAC; to do so again gives the same answer and changes nothing.
   *
   * @throws {IpamError} `mac_not_found`, `mac_in_use` by an interface, which is to be deleted
   * instead, `overloaded`
   */
  release(release: MacRelease): Promise<Mac>
}

/** A MAC to release. */
export type MacRelease = Pick<WantedMac, 'done_by'> & { readonly id: string }

export type MacBatchKind = 'take_mac' | 'release_mac'

export type MacAllocatorOptions = {
  readonly lanes: number
  readonly batch_max: number
  readonly waiting_max: number
  readonly observerOf?: (kind: MacBatchKind) => CoalescerObserver
}

/** Concurrent calls share transactions: docs/architecture.md, "The path of an allocation". */
export function createMacAllocator(db: Database, options: MacAllocatorOptions): MacAllocator {
  const { lanes, batch_max: batch_weight_max, waiting_max, observerOf } = options
  const limits = { lanes, batch_weight_max, waiting_max, weigh: () => 1 }
  const watched = (kind: MacBatchKind) => observerOf && { observer: observerOf(kind) }
  const take = coalesce<WantedMac, MacOutcome | 'again'>({
    ...limits,
    ...watched('take_mac'),
    run: batch => retryLost(() => allocateMacs(db, batch)),
    lane: ({ range_id }) => range_id ?? '',
  })
  const release = coalesce<MacRelease, Mac | IpamError>({
    ...limits,
    ...watched('release_mac'),
    run: batch => retryLost(() => releaseMacs(db, batch)),
    lane: () => '',
  })
  return {
    take: wanted => untilDone(() => take(wanted)),
    async release(one) {
      const outcome = await release(one)
      if (outcome instanceof IpamError) throw outcome
      return outcome
    },
  }
}

type MacOutcome = { readonly mac: Mac; readonly isRepeated: boolean } | IpamError

const row = { request: Type.Integer(), mac: Nullable(Mac), refusal: Nullable(Type.String()) }
const Taken = Type.Object({ ...row, is_repeated: Type.Boolean() })
const Row = Type.Object(row)

async function allocateMacs(
  db: Database,
  batch: readonly WantedMac[],
): Promise<(MacOutcome | 'again')[]> {
  const found = await rows(db, Taken)`
    select request, mac, refusal, is_repeated from allocate_macs(${batchOf(batch)})`
  return inOrder(batch, found, ({ mac, refusal, is_repeated: isRepeated }, wanted) => {
    if (refusal === 'again') return 'again'
    return mac ? { mac, isRepeated } : refusalOf(refusal, wanted)
  })
}

/** What the request calls that which a refusal is about. */
export type MacFields = Readonly<Partial<Record<'address' | 'range_id', string>>>

/**
 * Takes MACs in the transaction of the caller, who writes the events: all or none. It locks
 * networks and pools, and no event.
 *
 * @throws {IpamError} what `take` may end in
 */
export async function takeMacs(
  tx: Database,
  batch: readonly WantedMac[],
  fields: MacFields = {},
): Promise<Mac[]> {
  if (batch.length === 0) return []
  const found = await rows(tx, Row)`
    select request, mac, refusal from take_macs(${batchOf(batch)}::jsonb) order by request`
  return inOrder(batch, found, ({ mac, refusal }, wanted) => {
    if (!mac) throw refusalOf(refusal, wanted, fields)
    return mac
  })
}

/** Releases MACs in one transaction, each with its own outcome, in the order of asking. */
async function releaseMacs(
  db: Database,
  releases: readonly MacRelease[],
): Promise<(Mac | IpamError)[]> {
  const batch = JSON.stringify(
    releases.map(({ id, done_by }, request) => ({ request, id, ...done_by })),
  )
  const found = await rows(db, Row)`select request, mac, refusal from release_macs(${batch})`
  return inOrder(releases, found, ({ mac, refusal }, { id }) => {
    if (mac) return mac
    return refusal === 'mac_in_use' ? new IpamError('mac_in_use') : macNotFound(id)
  })
}

/** Releases a MAC in a transaction of its own or the caller's. */
export function releaseMac(db: Database, id: string): Promise<Mac> {
  return retryTransaction(db, async tx => {
    const [outcome] = await releaseMacs(tx, [{ id }])
    if (!outcome || outcome instanceof IpamError) throw outcome ?? macNotFound(id)
    return outcome
  })
}

function batchOf(batch: readonly WantedMac[]): string {
  return JSON.stringify(
    batch.map(({ mac, idempotency, done_by, ...wanted }, request) => ({
      ...wanted,
      ...done_by,
      request,
      id: newId(),
      ...(mac !== undefined && { mac: Number(mac) }),
      ...(idempotency && {
        caller: idempotency.caller,
        idempotency_key: idempotency.key,
        fingerprint: idempotency.fingerprint,
      }),
    })),
  )
}

function inOrder<Request, Found extends { readonly request: number }, Outcome>(
  batch: readonly Request[],
  found: readonly Found[],
  outcomeOf: (row: Found, request: Request) => Outcome,
): Outcome[] {
  const byRequest = new Map(found.map(one => [one.request, one]))
  return batch.map((request, n) => {
    const one = byRequest.get(n)
    if (!one) throw new Error(`request ${n} of ${batch.length} for a MAC has no answer`)
    return outcomeOf(one, request)
  })
}

type Failure = { readonly field: string; readonly detail?: string }

function refusalOf(code: string | null, wanted: WantedMac, fields: MacFields = {}): IpamError {
  const { mac, range_id, network_id, project_id } = wanted
  const address = mac === undefined ? '' : formatMac(mac)
  const failures: Partial<Record<ErrorCode, Failure>> = {
    network_not_found: { field: 'network_id', detail: `There is no network ${network_id}.` },
    mac_needs_network: { field: 'network_id' },
    mac_range_not_found: { field: 'range_id', detail: `There is no MAC range ${range_id}.` },
    mac_range_full: { field: 'range_id' },
    mac_outside_range: {
      field: 'address',
      detail: `${address} is not in MAC range ${range_id}.`,
    },
    mac_taken: { field: 'address', detail: `Somebody has ${address}.` },
    mac_waits: { field: 'address', detail: `${address} waits for the one who had it last.` },
    mac_forbidden: { field: 'address', detail: `${address} is forbidden in its range.` },
    no_mac_range: {
      field: 'range_id',
      detail: `There is no MAC range for project ${project_id} or for all.`,
    },
    idempotency_key_reused: {
      field: 'idempotency-key',
      detail: 'The key came with another request before.',
    },
  }
  const { field, detail } = failures[code as ErrorCode] ?? {}
  const name = field && (fields[field as keyof MacFields] ?? field)
  return new IpamError(code as ErrorCode, detail, name ? { field: name } : {})
}
