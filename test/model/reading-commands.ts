import fc from 'fast-check'
import { expect } from 'vitest'
import { unbounded } from '../../src/access/bound-store.ts'
import { formatPrefix } from '../../src/ip/prefix.ts'
import { getAllocation, listAllocations } from '../../src/resources/allocations/store.ts'
import {
  type BlockFilter,
  getUtilisation,
  lastAddressOf,
  listBlocks,
  listFreePrefixes,
  listFreeRanges,
} from '../../src/resources/blocks/store.ts'
import { firstOf, somewhere } from './allocation-commands.ts'
import { type Lookup, lookUp } from './allocations-model.ts'
import {
  byPrefix,
  prefixesIn,
  prefixesOverlap,
  prefixIsInside,
  readPrefix,
  showPrefix,
  singleOf,
  sizeOf,
} from './space.ts'
import { byText, type ModelAllocation, type ModelBlock, type State } from './state.ts'
import {
  absentId,
  type Command,
  command,
  expectSame,
  outcomeOf,
  pick,
  pickBlock,
  showAllocation,
  showBlock,
  showModelAllocation,
  showModelBlock,
} from './world.ts'

const limit = fc.constantFrom(1, 2, 1000)

/** A whole list, page by page; each read gives one item more than a page, if there is one. */
export async function readPages<T, A>(
  limit_: number,
  read: (after: A | null) => Promise<T[]>,
  placeOf: (item: T) => A,
): Promise<T[]> {
  const all: T[] = []
  for (let after: A | null = null; ; ) {
    const found: T[] = await read(after)
    const last = found.slice(0, limit_).at(-1)
    all.push(...found.slice(0, limit_))
    if (found.length <= limit_ || last === undefined) return all
    after = placeOf(last)
  }
}

const same = <T>(answer: T) => answer
const isText = (value: string | undefined): value is string => value !== undefined

const utilisation = command('getUtilisation', fc.nat(127), async (index, state, { db }) => {
  const id = pickBlock(state, index)?.id ?? absentId
  const expected = state.attempt(() => state.utilisation(id))
  expectSame(await outcomeOf(getUtilisation(db, id)), expected, { real: same, model: same })
})

const freeRanges = command(
  'listFreeRanges',
  fc.record({ block: fc.nat(127), limit }),
  async ({ block: index, limit: size }, state, { db }) => {
    const id = pickBlock(state, index)?.id ?? absentId
    const read = (after: string | null) => listFreeRanges(db, id, { limit: size, after })
    const real = await outcomeOf(readPages(size, read, ({ last }) => last))
    expectSame(
      real,
      state.attempt(() => showFreeRanges(state, id)),
      {
        real: ranges =>
          ranges.map(({ first, last, size: count }) => [firstOf(first), firstOf(last), count]),
        model: same,
      },
    )
  },
)

export function showFreeRanges(state: State, id: string): string[][] {
  const block = state.findBlock(id)
  const show = (value: bigint) => showPrefix(singleOf(block.prefix.version, value))
  return state
    .free(block)
    .map(range => [show(range.first), show(range.last), String(sizeOf(range))])
}

const freePrefixes = command(
  'listFreePrefixes',
  fc.record({ block: fc.nat(127), limit, deeper: fc.constantFrom(0, 1, 2, 4, 8, 128) }),
  async ({ block: index, limit: size, deeper }, state, { db }) => {
    const block = pickBlock(state, index)
    const length = Math.min(128, (block?.prefix.length ?? 0) + deeper)
    const id = block?.id ?? absentId
    const read = (after: string | null) => listFreePrefixes(db, id, { limit: size, after, length })
    const real = await outcomeOf(readPages(size, read, lastAddressOf))
    const expected = state.attempt(() => {
      const { prefix } = state.findBlock(id)
      const pieces = state
        .free(state.findBlock(id))
        .flatMap(range => prefixesIn(range, prefix.version))
      return pieces.filter(piece => piece.length <= length).map(formatPrefix)
    })
    expectSame(real, expected, { real: same, model: same })
  },
)

const listing = command(
  'listBlocks',
  fc.record({
    filter: fc.constantFrom('contains' as const, 'within' as const, 'overlaps' as const),
    where: fc.nat(200),
    scope: fc.constantFrom(undefined, 0, 1),
    sort: fc.constantFrom('id' as const, 'cidr' as const, 'name' as const),
    limit,
  }),
  async ({ filter, where, scope, sort, limit: size }, state, { db }) => {
    const block = pick(state.blocks, where)
    const text = where % 3 === 0 ? block && formatPrefix(block.prefix) : somewhere(state, where)
    if (!text) return
    const scope_id = scope === undefined ? undefined : state.scopes[scope]
    const wanted: BlockFilter = { scope_id, [filter]: text }
    const read = (after: string[] | null) =>
      listBlocks(db, wanted, { sort, limit: size, after, bound: unbounded })
    const found = await readPages(size, read, one => [one[sort], one.id])
    const expected = state.blocks
      .filter(one => scope_id === undefined || one.scope_id === scope_id)
      .filter(({ prefix }) => matches[filter](prefix, readPrefix(text)))
      .sort((a, b) => blockOrders[sort](a, b) || byText(a.id, b.id))
    expect(found.map(showBlock)).toEqual(expected.map(showModelBlock))
  },
)

const matches = {
  contains: (block, wanted) => prefixIsInside(wanted, block),
  within: (block, wanted) => prefixIsInside(block, wanted),
  overlaps: (block, wanted) => prefixesOverlap(block, wanted),
} satisfies Record<string, typeof prefixesOverlap>
const blockOrders = {
  id: () => 0,
  cidr: (a, b) => byPrefix(a.prefix, b.prefix),
  name: (a, b) => byText(a.name, b.name),
} satisfies Record<string, (a: ModelBlock, b: ModelBlock) => number>

const holders = command(
  'listAllocations',
  fc.record({
    where: fc.option(fc.nat(200), { nil: undefined, freq: 4 }),
    scope: fc.constantFrom(undefined, 0, 1),
    project_id: fc.constantFrom(undefined, 'p1', 'p2'),
    state: fc.constantFrom('current' as const, 'held' as const, 'ended' as const, 'all'),
    time: fc.constantFrom('none' as const, 'at' as const, 'held'),
    when: fc.tuple(fc.nat(100), fc.nat(100)),
    sort: fc.constantFrom('id' as const, 'address' as const),
    limit,
  }),
  async ({ where, scope, project_id, state: kind, time, when, sort, limit: size }, state, real) => {
    const address = where === undefined ? undefined : somewhere(state, where)
    const [t1, t2] = when.map(index => timeOf(state, index))
    const wanted: Lookup = {
      state: kind,
      ...(address && { address }),
      ...(project_id && { project_id }),
      ...(scope !== undefined && { scope_id: state.scopes[scope] ?? absentId }),
      ...(time === 'at' && t1 && { at: t1 }),
      ...(time === 'held' && t1 && { held_from: t1 }),
      ...(time === 'held' && t2 && { held_to: t2 }),
    }
    const read = (after: string[] | null) =>
      listAllocations(real.db, wanted, { sort, limit: size, after, bound: unbounded })
    const found = await readPages(size, read, one => [one[sort], one.id])
    const byAddress = (a: ModelAllocation, b: ModelAllocation) => byPrefix(a.prefix, b.prefix)
    const expected = lookUp(state, wanted).sort(
      (a, b) => (sort === 'address' ? byAddress(a, b) : 0) || byText(a.id, b.id),
    )
    expect(found.map(showAllocation)).toEqual(expected.map(showModelAllocation))
  },
)

/** A time at which something began or ended. */
function timeOf(state: State, index: number): string | undefined {
  const times = state.allocations.flatMap(one => [one.started_at, one.ended_at ?? undefined])
  return pick(times.filter(isText), index)
}

const get = command('getAllocation', fc.nat(127), async (index, state, { db }) => {
  const known = pick(state.allocations, index)
  const real = await outcomeOf(getAllocation(db, known?.id ?? absentId))
  const expected = known ? { value: known } : { code: 'allocation_not_found' as const }
  expectSame(real, expected, { real: showAllocation, model: showModelAllocation })
})

export const readingCommands: fc.Arbitrary<Command>[] = [
  utilisation,
  freeRanges,
  freePrefixes,
  listing,
  holders,
  get,
]
