import { formatAddress } from '../src/ip/address.ts'
import { type BlocksWanted, bulkMax, type FilledBlock, slashEight } from './fill.ts'
import type { Job } from './load.ts'
import { allocationBody } from './measure.ts'

/** What is sent: a job without where and how long. */
export type Requests = Pick<
  Job,
  'method' | 'path' | 'body' | 'values' | 'times' | 'status' | 'collect'
> &
  Partial<Pick<Job, 'connections'>>

/** A way to ask for addresses, measured in a block of its own. */
export type AllocationCase = {
  readonly name: string
  /** The block that is made for each measurement. */
  readonly block: Pick<BlocksWanted, 'kind' | 'fill' | 'strategy'>
  /** What a request asks for, beside its owner; `$value` stands for each of `values` in turn. */
  readonly asks: (block: FilledBlock) => string
  /** One for each request, at most `count`; without them all requests are alike. */
  readonly values?: (block: FilledBlock, count: number) => readonly string[]
  /** Addresses of each answer, if it is not one. */
  readonly addresses?: number
  /** What the report of `allocate` calls it, if that is not its name. */
  readonly member?: string
  /** Connections that send, where the number of clients would be too much. */
  readonly connections?: number
}

const inBlock = ({ id }: FilledBlock) => `"block_id":"${id}"`

/** The next free address: the core of the service. */
export const sequential: AllocationCase = {
  name: 'sequential',
  block: { kind: slashEight, fill: 0 },
  asks: inBlock,
}

/**
 * The other ways to ask for addresses. A case that is added here is measured by `allocate` and by
 * `compare`, and is in the reports of both.
 */
export const allocationCases: readonly AllocationCase[] = [
  {
    name: 'random',
    block: { kind: slashEight, fill: 50, strategy: 'random' },
    asks: inBlock,
  },
  {
    name: 'least_recently_used',
    member: 'lru',
    block: { kind: slashEight, fill: 50, strategy: 'least_recently_used' },
    asks: inBlock,
  },
  {
    name: 'specific',
    block: { kind: slashEight, fill: 0 },
    asks: block => `${inBlock(block)},"address":"$value"`,
    values: scatteredAddresses,
  },
]

/** As many addresses a call as it may take. */
export const bulk: AllocationCase = {
  name: 'bulk',
  block: { kind: slashEight, fill: 0 },
  asks: block => `${inBlock(block)},"count":${bulkMax}`,
  addresses: bulkMax,
  connections: 2,
}

/** Requests for addresses of a block, at most `count` of them. */
export function allocationRequests(
  { asks, values, connections }: AllocationCase,
  { block, count }: { block: FilledBlock; count: number },
): Requests {
  return {
    ...(connections && { connections }),
    method: 'POST',
    path: '/v2/allocations',
    body: allocationBody(asks(block)),
    values: values?.(block, count) ?? [''],
    times: values ? 1 : count,
    status: 201,
    collect: ['address'],
  }
}

/** Addresses scattered over a /8: each cuts a free run in two. */
function scatteredAddresses({ cidr }: FilledBlock, count: number): string[] {
  const first = BigInt(cidr.split('.')[0] ?? 0) << 24n
  // An odd factor makes a permutation of the 2^22 addresses that lie four apart.
  const offsets = Array.from({ length: count }, (_, index) =>
    BigInt((Math.imul(index + 1, 0x9e3779b1) >>> 10) * 4),
  )
  return [...new Set(offsets)].map(offset => formatAddress({ version: 4, value: first + offset }))
}

/** An allocation that was made before. */
export type Held = { readonly id: string; readonly address: string; readonly scope_id: string }

/** What can be done with allocations that are there, each of which is used once. */
export const heldCases = {
  lookup: (held: readonly Held[]): Requests => ({
    method: 'GET',
    path: '/v2/allocations?$value',
    values: held.map(({ scope_id, address }) => `scope_id=${scope_id}&address=${address}`),
    times: 1,
    status: 200,
    collect: [],
  }),
  release: (held: readonly Held[]): Requests => ({
    method: 'DELETE',
    path: '/v2/allocations/$value',
    values: held.map(({ id }) => id),
    times: 1,
    status: 200,
    collect: [],
  }),
} as const

/** The same order in each run: Fisher and Yates, with a generator of Lehmer's. */
export function shuffle<Item>(items: readonly Item[]): Item[] {
  const shuffled = [...items]
  let state = 1
  for (let last = shuffled.length - 1; last > 0; last--) {
    state = (state * 48_271) % 0x7fffffff
    const other = state % (last + 1)
    const [a, b] = [shuffled[last], shuffled[other]]
    if (a === undefined || b === undefined) continue
    shuffled[last] = b
    shuffled[other] = a
  }
  return shuffled
}
