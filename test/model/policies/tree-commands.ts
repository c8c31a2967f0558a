import fc from 'fast-check'
import { formatPrefix, type Prefix } from '../../../src/ip/prefix.ts'
import { publicScopeId } from '../../../src/resources/address-scopes/schema.ts'
import { type BlockSettings, createBlocks } from '../../../src/resources/blocks/create-store.ts'
import { deleteBlock } from '../../../src/resources/blocks/delete-store.ts'
import { updateBlock } from '../../../src/resources/blocks/update-store.ts'
import { bitsOf, prefixesOverlap, prefixIsInside, rangeOf } from '../space.ts'
import { prefixAt } from '../world.ts'
import { type Block, type House, ruleIn } from './house.ts'
import { strategy } from './rules.ts'
import { addressesOf, holds, isReserved, showValue } from './space.ts'
import { type Command, command, expectAnswer, outcomeOf, pick, type Real } from './world.ts'

export type NewBlock = {
  readonly parent_id: string | null
  readonly prefix: Prefix
  readonly adopt_children: boolean
  readonly network_id: string | null
  readonly priority: number
  readonly tags: readonly string[]
  readonly own_strategy: Block['own_strategy']
  readonly policy_id: string | null
}

const isUsed = (house: House, { id }: Block) =>
  [...house.held, ...house.waiting].some(({ block_id }) => block_id === id)

/** Why a block cannot be created; null if it can. */
function refusalOf(house: House, wanted: NewBlock): string | null {
  const parent = house.find(wanted.parent_id)
  if (parent && house.isLeaf(parent) && isUsed(house, parent)) return 'block_has_allocations'
  const chain = parent ? house.chainOf(parent) : house.policies.filter(isOfScope(house))
  const limits = ruleIn(chain, 'child_prefix_lengths')?.value
  const { min = 0, max = 128 } = limits?.[wanted.prefix.version === 4 ? 'ipv4' : 'ipv6'] ?? {}
  const { length } = wanted.prefix
  if (length < min || length > max) return 'prefix_length_refused'
  const beside = house.blocks.filter(({ parent_id }) => parent_id === wanted.parent_id)
  const overlapping = beside.filter(({ prefix }) => prefixesOverlap(prefix, wanted.prefix))
  const isInTheWay = ({ prefix }: Block) =>
    !wanted.adopt_children || !prefixIsInside(prefix, wanted.prefix)
  return overlapping.some(isInTheWay) ? 'block_overlaps' : null
}

const isOfScope =
  (house: House) =>
  ({ id }: { readonly id: string }) =>
    id === house.scope_policy_id

/** Creates a block, in the model as in the database. */
export async function createOne(wanted: NewBlock, house: House, { db }: Real): Promise<void> {
  const { parent_id, prefix, adopt_children, own_strategy, network_id, ...rest } = wanted
  const settings: BlockSettings = {
    ...rest,
    ...(own_strategy && { strategy: own_strategy }),
    ...(network_id && { network_id }),
  }
  const container = parent_id ? { parent_id } : { scope_id: publicScopeId }
  const answered = await outcomeOf(
    createBlocks(db, { container, wanted: [prefix], adopt_children, settings }),
  )
  const [created] = expectAnswer(answered, refusalOf(house, wanted)) ?? []
  if (!created) return
  const adopted = house.blocks.filter(
    one => one.parent_id === parent_id && prefixIsInside(one.prefix, prefix),
  )
  for (const { id } of adopted) house.replace(id, { parent_id: created.id })
  const network = network_id ?? house.find(parent_id)?.network_id ?? null
  house.blocks = [
    ...house.blocks,
    {
      ...wanted,
      id: created.id,
      network_id: network,
      gateway: null,
      allocate_network_address: false,
    },
  ]
}

const priority = fc.integer({ min: 0, max: 2 })
const tags = fc.constantFrom([], ['x'], ['x', 'y'])
const ownStrategy = fc.option(strategy, { freq: 1 })

const create = command(
  'createBlock',
  fc.record({
    parent: fc.nat(50),
    place: fc.record({ deeper: fc.integer({ min: 1, max: 4 }), index: fc.nat(15) }),
    adopt_children: fc.boolean(),
    network: fc.option(fc.nat(3), { freq: 1 }),
    policy: fc.option(fc.nat(10), { freq: 1 }),
    priority,
    tags,
    own_strategy: ownStrategy,
  }),
  async ({ parent: index, place, network, policy, ...settings }, house, real) => {
    const parent = pick(house.blocks, index)
    if (!parent) return
    const prefix = prefixAt(parent.prefix, place)
    if (prefix.length === parent.prefix.length) return
    // Blocks inside a network stay in it, so that only what has none may be put into one.
    const mayHaveNetwork = !parent.network_id && !settings.adopt_children && network !== null
    const wanted: NewBlock = {
      ...settings,
      parent_id: parent.id,
      prefix,
      network_id: mayHaveNetwork ? (pick(house.networks, network)?.id ?? null) : null,
      policy_id: policy === null ? null : (pick(house.policies, policy)?.id ?? null),
    }
    await createOne(wanted, house, real)
  },
)

const remove = command('deleteBlock', fc.nat(50), async (index, house, { db }) => {
  const block = pick(house.blocks, index)
  if (!block || block.parent_id === null) return
  const code = house.isLeaf(block)
    ? isUsed(house, block)
      ? 'block_in_use'
      : null
    : 'block_has_children'
  const answered = await outcomeOf(deleteBlock(db, { id: block.id }).then(() => true))
  if (!expectAnswer(answered, code)) return
  house.blocks = house.blocks.filter(({ id }) => id !== block.id)
})

/** Why a block cannot have another extent or shape; null if it can. */
function changeRefusal(house: House, before: Block, after: Block): string | null {
  const { gateway, prefix } = after
  const bare = { ...after, gateway: null }
  if (gateway !== null && (!holds(prefix, gateway) || isReserved(bare, gateway))) {
    return 'gateway_unusable'
  }
  const users = [...house.held, ...house.waiting].filter(one => one.block_id === before.id)
  const isLost = (inner: Prefix) => !prefixIsInside(inner, prefix)
  const isCut =
    rangeOf(before.prefix).first < rangeOf(prefix).first || before.prefix.length < prefix.length
  if (isCut && users.some(one => isLost(one.prefix))) return 'block_in_use'
  if (isCut && house.childrenOf(before).some(one => isLost(one.prefix))) return 'block_in_use'
  if (house.isLeaf(before)) {
    const newlyReserved = addressesOf(after).filter(
      value =>
        isReserved(after, value) && !(holds(before.prefix, value) && isReserved(before, value)),
    )
    const isHeld = (value: bigint) => users.some(one => holds(one.prefix, value))
    // One refusal tells of all that is in the way at the lowest such place; any of two codes.
    if (newlyReserved.some(isHeld)) return 'held'
  }
  const parent = house.find(before.parent_id)
  if (parent && !prefixIsInside(prefix, parent.prefix)) return 'block_outside_parent'
  const limits = parent && house.ruleFor(parent, 'child_prefix_lengths')?.value
  const { min = 0, max = 128 } = limits?.[prefix.version === 4 ? 'ipv4' : 'ipv6'] ?? {}
  const isResized = prefix.length !== before.prefix.length
  if (isResized && (prefix.length < min || prefix.length > max)) return 'prefix_length_refused'
  const beside = house.blocks.filter(one => one.parent_id === before.parent_id && one !== before)
  const isBeside = beside.some(one => prefixesOverlap(one.prefix, prefix))
  return isBeside ? 'block_overlaps' : null
}

async function changeBlock(before: Block, change: Partial<Block>, house: House, { db }: Real) {
  const after = { ...before, ...change }
  const { prefix, gateway, own_strategy, ...others } = change
  const answered = await outcomeOf(
    updateBlock(
      db,
      { id: before.id },
      {
        ...('priority' in others && { priority: after.priority }),
        ...('allocate_network_address' in others && {
          allocate_network_address: after.allocate_network_address,
        }),
        ...(own_strategy !== undefined && { strategy: own_strategy }),
        ...(gateway !== undefined && {
          gateway_ip: gateway === null ? null : showValue(before.prefix, gateway),
        }),
        ...(prefix && { cidr: formatPrefix(prefix) }),
      },
    ),
  )
  const code = changeRefusal(house, before, after)
  if (code === 'held') {
    const given = 'code' in answered ? answered.code : null
    expectAnswer(answered, given === 'gateway_taken' ? given : 'block_in_use')
    return
  }
  if (!expectAnswer(answered, code)) return
  house.replace(before.id, change)
  if (!prefix) return
  const old = rangeOf(before.prefix)
  const added = addressesOf(after).filter(value => value < old.first || value > old.last)
  house.settle({ always: added })
}

const resize = command(
  'resize',
  fc.record({ block: fc.nat(50), grows: fc.boolean(), half: fc.nat(1) }),
  async ({ block: index, grows, half }, house, real) => {
    const block = pick(house.blocks, index)
    if (!block || block.parent_id === null) return
    const { version, first } = block.prefix
    const length = block.prefix.length + (grows ? -1 : 1)
    if (length > bitsOf(block.prefix)) return
    const size = 2n ** BigInt(bitsOf(block.prefix) - length)
    const start = grows ? (first / size) * size : first + BigInt(half) * size
    await changeBlock(block, { prefix: { version, first: start, length } }, house, real)
  },
)

const reshape = command(
  'reshape',
  fc.record({
    block: fc.nat(50),
    change: fc.oneof(
      fc.record({ gateway: fc.option(fc.nat(15), { freq: 2 }) }),
      fc.record({ allocate_network_address: fc.boolean() }),
      fc.record({ own_strategy: ownStrategy }),
      fc.record({ priority }),
    ),
  }),
  async ({ block: index, change }, house, real) => {
    const block = pick(house.blocks, index)
    if (!block) return
    if (!('gateway' in change)) return changeBlock(block, change, house, real)
    const place = change.gateway
    const addresses = addressesOf(block)
    const gateway = place === null ? null : (pick(addresses, place) ?? null)
    await changeBlock(block, { gateway }, house, real)
  },
)

export const treeCommands: fc.Arbitrary<Command>[] = [create, create, remove, resize, reshape]
