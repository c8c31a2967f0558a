import fc from 'fast-check'
import { formatAddress } from '../../src/ip/address.ts'
import { formatPrefix, type Prefix } from '../../src/ip/prefix.ts'
import { type BlockSettings, createBlocks } from '../../src/resources/blocks/create-store.ts'
import { deleteBlock } from '../../src/resources/blocks/delete-store.ts'
import type { BlockPatch } from '../../src/resources/blocks/schema.ts'
import { updateBlock } from '../../src/resources/blocks/update-store.ts'
import * as model from './blocks-model.ts'
import { bitsOf, rangeOf, readPrefix } from './space.ts'
import type { ModelBlock, State } from './state.ts'
import {
  absentId,
  addressAt,
  answerOf,
  command,
  expectSame,
  networks,
  outcomeOf,
  type Place,
  pick,
  pickBlock,
  place,
  prefixAt,
  type Real,
  showBlock,
  showModelBlock,
} from './world.ts'

const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
const strategy = fc.constantFrom('sequential' as const, 'random' as const, 'least_recently_used')
const offset = fc.integer({ min: -4, max: 5 })
const gateway = fc.oneof(
  { weight: 6, arbitrary: offset },
  { weight: 1, arbitrary: fc.constantFrom('none' as const, 'fe80::1', '192.0.2.1') },
)
const changeable = {
  gateway: seldom(gateway),
  strategy: seldom(strategy),
  allocate_network_address: seldom(fc.boolean()),
}
const settings = fc.record({
  ...changeable,
  name: fc.constantFrom('', 'a', 'b'),
  network_id: fc.option(fc.constantFrom(...networks), { nil: undefined, freq: 2 }),
  project_id: seldom(fc.constantFrom('p1', 'p2')),
  policy: seldom(fc.nat(9)),
})
type Values<A> = A extends fc.Arbitrary<infer V> ? V : never
type Settings = { [K in keyof Values<typeof settings>]?: Values<typeof settings>[K] | undefined }
const changes = fc.record({
  ...changeable,
  name: seldom(fc.constantFrom('a', 'b')),
  policy: seldom(fc.option(fc.nat(9), { freq: 3 })),
})
type Changes = Values<typeof changes>

/** The gateway that a parameter names: an offset in a block, or an address as it is. */
function gatewayOf(prefix: Prefix, wanted: number | string | undefined): ModelBlock['gateway'] {
  if (wanted === undefined || wanted === 'none') return null
  const found = typeof wanted === 'number' ? addressAt(prefix, wanted) : readPrefix(wanted)
  return { version: found.version, value: found.first }
}

/** The same settings for the model and, with addresses as text, for the store. */
function settingsFor(state: State, prefix: Prefix, settings: Settings | Changes) {
  const { gateway: wanted, policy, ...rest } = settings
  const policy_id = typeof policy === 'number' ? pick(state.policies, policy)?.id : policy
  const given = Object.entries({ ...rest, policy_id }).filter(([, value]) => value !== undefined)
  const forModel: model.ModelSettings = Object.fromEntries(given)
  if (wanted === undefined) return { forModel, forStore: forModel as BlockSettings }
  const address = gatewayOf(prefix, wanted)
  return {
    forModel: { ...forModel, gateway: address },
    forStore: { ...forModel, gateway_ip: address && formatAddress(address) } as BlockSettings,
  }
}

type NewBlocks = Omit<model.ModelNewBlocks, 'settings'> & { prefix: Prefix; settings: Settings }

/** Creates blocks in both; the model learns their ids from the answer. */
export async function create(request: NewBlocks, state: State, { db }: Real): Promise<void> {
  const { prefix, settings: wanted, ...rest } = request
  const { forModel, forStore } = settingsFor(state, prefix, wanted)
  const real = await outcomeOf(createBlocks(db, { ...rest, settings: forStore }))
  const ids = answerOf(real).map(({ id }) => id)
  const expected = state.attempt(() =>
    model.createBlocks(state, { ...rest, settings: forModel }, ids),
  )
  expectSame(real, expected, {
    real: blocks => blocks.map(showBlock),
    model: blocks => blocks.map(showModelBlock),
  })
}

const createTop = command(
  'createTop',
  fc.record({ scope: fc.nat(20), root: fc.nat(1), place, settings, adopt_children: fc.boolean() }),
  async ({ scope, root, place: at, settings: wanted, adopt_children }, state, real) => {
    const outer = pick(real.roots, root)
    if (!outer) return
    const prefix = prefixAt(outer, at)
    const scope_id = scope === 20 ? absentId : (pick(state.scopes, scope) ?? absentId)
    const container = { scope_id }
    await create(
      { container, wanted: [prefix], prefix, adopt_children, settings: wanted },
      state,
      real,
    )
  },
)

const cut = command(
  'cut',
  fc.record({
    block: fc.nat(31),
    places: fc.array(place, { minLength: 1, maxLength: 2 }),
    settings,
    adopt: fc.boolean(),
  }),
  async ({ block, places, settings: wanted, adopt }, state, real) => {
    const parent = block === 31 ? undefined : pick(state.blocks, block)
    const outer = parent?.prefix ?? real.roots[0]
    if (!outer) return
    const prefixes = places.map(at => prefixAt(outer, at))
    const container = { parent_id: parent?.id ?? absentId }
    const prefix = prefixes[0] ?? outer
    const adopt_children = adopt && places.length === 1 // The API adopts for one block at a time.
    await create(
      { container, wanted: prefixes, prefix, adopt_children, settings: wanted },
      state,
      real,
    )
  },
)

const cutNext = command(
  'cutNext',
  fc.record({
    block: fc.nat(31),
    deeper: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: -1, max: 128 })),
    count: fc.integer({ min: 1, max: 3 }),
    settings,
  }),
  async ({ block, deeper, count, settings: { gateway: _, ...wanted } }, state, real) => {
    const parent = block === 31 ? undefined : pick(state.blocks, block)
    const prefix = parent?.prefix ?? real.roots[0]
    if (!prefix) return
    const prefix_length = Math.max(0, Math.min(128, prefix.length + deeper))
    const container = { parent_id: parent?.id ?? absentId }
    await create(
      {
        container,
        wanted: { prefix_length, count },
        prefix,
        adopt_children: false,
        settings: wanted,
      },
      state,
      real,
    )
  },
)

/** Where a block may go: larger, smaller, the same, or to the next place. */
const extent = fc.oneof(
  { weight: 6, arbitrary: fc.record({ deeper: fc.integer({ min: -3, max: 3 }), index: offset }) },
  { weight: 1, arbitrary: fc.constant('behind' as const) },
)

function extentAt(prefix: Prefix, wanted: Place | 'behind'): Prefix {
  if (wanted !== 'behind') return prefixAt(prefix, wanted)
  const last = rangeOf(prefix).last
  const isHighest = last + 1n === 2n ** BigInt(bitsOf(prefix))
  return { ...prefix, first: isHighest ? 0n : last + 1n }
}

const update = command(
  'updateBlock',
  fc.record({ block: fc.nat(127), extent: seldom(extent), changes }),
  async ({ block: index, extent: wanted, changes: settings }, state, { db, roots }) => {
    const block = pickBlock(state, index)
    const before = block?.prefix ?? roots[0]
    if (!before) return
    const prefix = wanted && extentAt(before, wanted)
    const { forModel, forStore } = settingsFor(state, prefix ?? before, settings)
    const id = block?.id ?? absentId
    const patch = { ...forStore, ...(prefix && { cidr: formatPrefix(prefix) }) } as BlockPatch
    const real = await outcomeOf(updateBlock(db, { id }, patch))
    const expected = state.attempt(() =>
      model.updateBlock(state, id, { ...forModel, ...(prefix && { prefix }) }),
    )
    expectSame(real, expected, { real: showBlock, model: showModelBlock })
  },
)

const remove = command('deleteBlock', fc.nat(127), async (index, state, { db }) => {
  const id = pickBlock(state, index)?.id ?? absentId
  const real = await outcomeOf(deleteBlock(db, { id }).then(() => null))
  const expected = state.attempt(() => model.deleteBlock(state, id))
  expectSame(real, expected, { real: answer => answer, model: answer => answer })
})

export const blockCommands = { createTop, cut, cutNext, updateBlock: update, deleteBlock: remove }
