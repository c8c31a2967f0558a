import fc from 'fast-check'
import { type Static, Type } from 'typebox'
import { expect } from 'vitest'
import { type OpenDatabase, rows } from '../../../src/db/database.ts'
import { type ErrorCode, IpamError } from '../../../src/errors.ts'
import { parseAddress } from '../../../src/ip/address.ts'
import type { Allocator } from '../../../src/resources/allocations/allocator-store.ts'
import type { House } from './house.ts'
import { factsOf, isOpen } from './space.ts'

export type Real = { readonly db: OpenDatabase; readonly allocator: Allocator }
export type Command = fc.AsyncCommand<House, Real>

/** A command whose parameters are numbers; after it the database has to be as the model says. */
export function command<P>(
  name: string,
  parameters: fc.Arbitrary<P>,
  run: (parameters: P, house: House, real: Real) => Promise<void>,
): fc.Arbitrary<Command> {
  return parameters.map(values => ({
    check: () => true,
    run: async (house, real) => {
      house.tick += 1
      await run(values, house, real)
      house.settle()
      await expectSameSpace(house, real)
    },
    toString: () => `${name}(${fc.stringify(values)})`,
  }))
}

type Answered<T> = { readonly value: T } | { readonly code: ErrorCode }

/** The answer of the real thing, or the code of its refusal; a bug passes through. */
export async function outcomeOf<T>(work: Promise<T>): Promise<Answered<T>> {
  try {
    return { value: await work }
  } catch (error) {
    if (error instanceof IpamError) return { code: error.code }
    throw error
  }
}

/** The answer, which the model says there is; or nothing, where it says so and why. */
export function expectAnswer<T>(answered: Answered<T>, code: string | null): T | null {
  if ('code' in answered) {
    expect(answered.code).toBe(code)
    return null
  }
  expect(code).toBeNull()
  return answered.value
}

/** One of a list, counted round and round. */
export const pick = <T>(list: readonly T[], index: number): T | undefined =>
  list[index % Math.max(1, list.length)]

const Counts = Type.Object({
  id: Type.String(),
  strategy: Type.String(),
  total: Type.String(),
  allocated: Type.String(),
  held: Type.String(),
  quarantined: Type.String(),
  excluded: Type.String(),
  in_children: Type.String(),
  free: Type.String(),
})
const Run = Type.Object({
  block_id: Type.String(),
  first: Type.String(),
  last: Type.String(),
  purpose: Type.String(),
  since: Type.Union([Type.String(), Type.Null()]),
})
const addressOf = (text: string) => parseAddress(text)?.value ?? -1n

/** Every address of every block is in the database what the model says that it is. */
async function expectSameSpace(house: House, { db }: Real): Promise<void> {
  const counts = await rows(db, Counts)`
    select b.id, b.strategy, u.total, u.allocated, u.held, u.quarantined, u.excluded,
      u.in_children, u.free
    from blocks b join block_usage u on u.block_id = b.id order by b.id`
  const runs = await rows(db, Run)`
    select block_id, host(first) as first, host(last) as last, purpose, free_since::text as since
    from free_ranges f order by f.block_id, f.last`
  const stored = counts.map(({ id, strategy, ...numbers }) => ({
    ...numbers,
    id,
    strategy,
    space: showRuns(runs.filter(({ block_id }) => block_id === id)),
  }))
  const expected = [...house.blocks]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(block => {
      const { total, allocated, quarantined, excluded, in_children, free } = house.countsOf(block)
      const strategy = house.strategyOf(block)
      const open = house.isLeaf(block)
        ? factsOf(house, block)
            .filter(isOpen)
            .map(({ value, kept }) => ({ value, purpose: kept, since: house.ageOf(block, value) }))
        : house.outsideChildren(block).map(value => ({ value, purpose: '', since: 0 }))
      const isAged = strategy === 'least_recently_used' && house.isLeaf(block)
      return {
        total: String(total),
        allocated: String(allocated),
        held: '0',
        quarantined: String(quarantined),
        excluded: String(excluded),
        in_children: String(in_children),
        free: String(free),
        id: block.id,
        strategy,
        space: showOpen(open, isAged),
      }
    })
  expect(stored.map(one => withoutAges(house, one))).toEqual(expected)
}

type Open = { readonly value: bigint; readonly purpose: string | null; readonly since: unknown }

/** Each address, its purpose, and the place of its age among the ages. */
function showOpen(open: readonly Open[], isAged: boolean): string[] {
  const ages = [...new Set(open.map(({ since }) => Number(since)))].sort((a, b) => a - b)
  return open.map(({ value, purpose, since }) => {
    return `${value} ${purpose} ${isAged ? ages.indexOf(Number(since)) : ''}`
  })
}

function showRuns(runs: readonly Static<typeof Run>[]): string[] {
  const ages = [...new Set(runs.map(({ since }) => since))].sort(byAge)
  return runs.flatMap(({ first, last, purpose, since }) => {
    const shown: string[] = []
    for (let value = addressOf(first); value <= addressOf(last); value++) {
      shown.push(`${value} ${purpose} ${since === null ? '' : ages.indexOf(since)}`)
    }
    return shown
  })
}

/** '-infinity' sorts before all times as they are written. */
const byAge = (a: string | null, b: string | null) => (String(a) < String(b) ? -1 : 1)

/** A container keeps no ages that matter. */
function withoutAges<T extends { id: string; space: string[] }>(house: House, one: T): T {
  const block = house.find(one.id)
  if (!block || house.isLeaf(block)) return one
  return { ...one, space: one.space.map(text => text.replace(/ \d+$/, ' ')) }
}
