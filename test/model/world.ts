import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect } from 'vitest'
import type { OpenDatabase } from '../../src/db/database.ts'
import { type ErrorCode, IpamError } from '../../src/errors.ts'
import { formatAddress, type IpVersion } from '../../src/ip/address.ts'
import { formatPrefix, type Prefix } from '../../src/ip/prefix.ts'
import type { Allocator } from '../../src/resources/allocations/allocator-store.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { later, setClock } from './clock.ts'
import { bitsOf, rangeOf, readPrefix, showPrefix, sizeOf } from './space.ts'
import type { ModelAllocation, ModelBlock, State } from './state.ts'

/** What the commands of one run act on. */
export type Real = {
  readonly db: OpenDatabase
  readonly allocator: Allocator
  /** The space in which this run happens. */
  readonly roots: readonly Prefix[]
}

export type Command = fc.AsyncCommand<State, Real>

/** A command whose parameters are numbers, turned into blocks and addresses when it runs. */
export function command<P>(
  name: string,
  parameters: fc.Arbitrary<P>,
  run: (parameters: P, state: State, real: Real) => Promise<void>,
): fc.Arbitrary<Command> {
  return parameters.map(values => ({
    check: () => true,
    run: async (state, real) => {
      await tick(state, real)
      await run(values, state, real)
    },
    toString: () => `${name}(${fc.stringify(values)})`,
  }))
}

/** The time of the next command, of which the microseconds are those of a further lock. */
export async function tick(state: State, { db }: Pick<Real, 'db'>): Promise<void> {
  state.now = later(state.now, 0.001)
  await setClock(db, state.now)
}

type Outcome<T> = { readonly value: T } | { readonly code: ErrorCode }

/** The answer of the real thing, or the code of its refusal; a bug passes through. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work }
  } catch (error) {
    if (error instanceof IpamError) return { code: error.code }
    throw error
  }
}

/** The answer, or nothing: what the model may learn from it. */
export const answerOf = <T>(outcome: Outcome<readonly T[]>): readonly T[] =>
  'value' in outcome ? outcome.value : []

/** Expects the same outcome of both, the answers compared as `show` makes them. */
export function expectSame<T, M>(
  real: Outcome<T>,
  model: Outcome<M>,
  show: { readonly real: (answer: T) => unknown; readonly model: (answer: M) => unknown },
): void {
  const [actual, expected] = [
    'value' in real ? show.real(real.value) : real.code,
    'value' in model ? show.model(model.value) : model.code,
  ]
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected)
}

export const showBlock = (block: Block) => ({
  id: block.id,
  scope_id: block.scope_id,
  parent_id: block.parent_id,
  cidr: block.cidr,
  version: block.version,
  network_id: block.network_id,
  project_id: block.project_id,
  name: block.name,
  gateway: block.gateway_ip === null ? null : showPrefix(readPrefix(block.gateway_ip)),
  allocate_network_address: block.allocate_network_address,
  strategy: block.strategy ?? 'sequential',
  policy_id: block.policy_id,
  generation: block.generation,
})

export const showModelBlock = ({ prefix, gateway, freed: _, ...block }: ModelBlock) => ({
  ...block,
  cidr: formatPrefix(prefix),
  version: prefix.version,
  gateway: gateway && formatAddress(gateway),
})

export const showAllocation = (allocation: Allocation) => ({
  ...allocation,
  address: showPrefix(readPrefix(allocation.address)),
})

export const showModelAllocation = ({ prefix, ...allocation }: ModelAllocation) => ({
  ...allocation,
  address: showPrefix(prefix),
})

/** The networks that there are in every run. */
export const networks = [
  '00000000-0000-7000-8000-00000000000a',
  '00000000-0000-7000-8000-00000000000b',
] as const

// How parameters name things that exist only when the command runs.

export const absentId = '00000000-0000-7000-8000-000000000000'

/** One of a list, counted round and round. */
export function pick<T>(list: readonly T[], index: number): T | undefined {
  return list.length > 0 ? list[index % list.length] : undefined
}

/** A block; mostly one that gives out addresses, seldom one that is not there. */
export function pickBlock(state: State, index: number): ModelBlock | undefined {
  if (index % 32 === 31) return undefined
  const leaves = state.blocks.filter(block => state.isLeaf(block))
  return pick(index % 4 === 3 ? state.blocks : leaves, Math.floor(index / 4))
}

/** An address of a block: from its start, or if negative from its end; a little outside too. */
export function addressAt(prefix: Prefix, index: number): Prefix {
  const { first, last } = rangeOf(prefix)
  const place = index < 0 ? last + 1n + BigInt(index) : first + BigInt(index)
  const highest = 2n ** BigInt(bitsOf(prefix)) - 1n
  const value = place < 0n ? 0n : place > highest ? highest : place
  return { version: prefix.version, first: value, length: bitsOf(prefix) }
}

/** The prefix of this length that holds an address. */
export function prefixAround({ version, first }: Prefix, length: number): Prefix {
  const size = 2n ** BigInt(bitsOf({ version }) - length)
  return { version, first: (first / size) * size, length }
}

export const place = fc.record({
  deeper: fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: 0, max: 4 }) },
    { weight: 1, arbitrary: fc.constant(-1) },
    { weight: 1, arbitrary: fc.integer({ min: 5, max: 128 }) },
  ),
  index: fc.integer({ min: -8, max: 9 }),
})
export type Place = { readonly deeper: number; readonly index: number }

/** A prefix so much longer than another, the n-th in it, from the end if negative. */
export function prefixAt(outer: Prefix, { deeper, index }: Place): Prefix {
  const length = clampLength(outer.version, outer.length + deeper)
  if (deeper < 0) return prefixAround(outer, length)
  const { first, last } = rangeOf(outer)
  const size = sizeOf(rangeOf({ ...outer, length }))
  const count = (last - first + 1n) / size
  const n = ((BigInt(index) % count) + count) % count
  return { version: outer.version, first: first + n * size, length }
}

export function clampLength(version: IpVersion, length: number): number {
  return Math.max(0, Math.min(bitsOf({ version }), length))
}
