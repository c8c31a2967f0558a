import { formatPrefix } from '../../../src/ip/prefix.ts'
import { updateAddressScope } from '../../../src/resources/address-scopes/store.ts'
import { createBlocks } from '../../../src/resources/blocks/create-store.ts'
import { deleteBlock } from '../../../src/resources/blocks/delete-store.ts'
import type { BlockPatch } from '../../../src/resources/blocks/schema.ts'
import { updateBlock } from '../../../src/resources/blocks/update-store.ts'
import {
  createNetwork,
  deleteNetwork,
  updateNetwork,
} from '../../../src/resources/networks/store.ts'
import { createPolicy, deletePolicy, updatePolicy } from '../../../src/resources/policies/store.ts'
import { someRules } from './rules.ts'
import { bitsOf, type Lives, type Operation, readCidr, someAddress, somePrefix } from './world.ts'

// Blocks, and what decides what they give out.

const roots = ['10.0.0.0/24', '10.0.0.0/29', '10.0.0.0/22', '192.0.2.0/29', '192.0.2.6/31']
  .concat(['2001:db8::/64', '2001:db8::/120', '2001:db8::/32', '0.0.0.0/0', '::/0'])
  .concat(['255.255.255.240/28', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124'])
const strategies = ['sequential', 'random', 'least_recently_used'] as const

export const blockOperations: Readonly<Record<string, Operation>> = {
  'create block': { weight: 10, run: create },
  'change block': { weight: 10, run: change },
  'delete block': {
    weight: 4,
    run: async lives => {
      const block = await lives.find('blocks')
      if (block) await deleteBlock(lives.db, { id: block.id })
    },
  },
  'create policy': {
    weight: 1,
    run: async lives => {
      await createPolicy(lives.db, { name: lives.name(), rules: someRules(lives.random) })
    },
  },
  'change policy': {
    weight: 5,
    run: async lives => {
      const policy = await lives.find('policies')
      const name = lives.sometimes(lives.name(), 4)
      const rules = lives.sometimes(someRules(lives.random), 1)
      if (policy) {
        await updatePolicy(
          lives.db,
          { id: policy.id },
          { ...(name && { name }), ...(rules && { rules }) },
        )
      }
    },
  },
  'delete policy': {
    weight: 1,
    run: async lives => {
      const policy = await lives.find('policies')
      if (policy) await deletePolicy(lives.db, { id: policy.id })
    },
  },
  'change scope': {
    weight: 2,
    run: async lives => {
      const scope = await lives.find('address_scopes')
      const name = lives.sometimes(lives.name())
      const patch = { policy_id: await somePolicy(lives), ...(name && { name }) }
      if (scope) await updateAddressScope(lives.db, { id: scope.id }, patch)
    },
  },
  'create network': {
    weight: 1,
    run: async lives => {
      await createNetwork(lives.db, { policy_id: await somePolicy(lives) })
    },
  },
  'change network': {
    weight: 2,
    run: async lives => {
      const network = await lives.find('networks')
      const patch = { policy_id: await somePolicy(lives), name: lives.name() }
      if (network) await updateNetwork(lives.db, { id: network.id }, patch)
    },
  },
  'delete network': {
    weight: 1,
    run: async lives => {
      const network = await lives.find('networks')
      if (network) await deleteNetwork(lives.db, { id: network.id })
    },
  },
}

async function somePolicy(lives: Lives): Promise<string | null> {
  return lives.random.below(3) === 0 ? null : ((await lives.find('policies'))?.id ?? null)
}

async function create(lives: Lives): Promise<void> {
  const { db, random } = lives
  const parent = random.below(2) === 0 ? await lives.find('blocks', 'cidr') : undefined
  const scope = await lives.find('address_scopes')
  const root = random.pick(roots) ?? ''
  const { length } = readCidr(parent?.text ?? root)
  const longer = Math.min(length + random.between(1, 6), bitsOf(readCidr(parent?.text ?? root)))
  const cidr = parent ? somePrefix(random, parent.text, longer) : root
  const network_id = random.below(2) === 0 ? (await lives.find('networks'))?.id : undefined
  const isCut = parent !== undefined && random.below(3) === 0
  await createBlocks(db, {
    container: parent ? { parent_id: parent.id } : { scope_id: scope?.id ?? '' },
    wanted: isCut ? { prefix_length: longer, count: random.between(1, 3) } : [readCidr(cidr)],
    adopt_children: random.below(3) === 0,
    settings: {
      network_id,
      project_id: lives.sometimes('red'),
      gateway_ip: isCut ? undefined : lives.sometimes(someAddress(random, cidr)),
      allocate_network_address: random.below(4) === 0,
      strategy: lives.sometimes(random.pick(strategies) ?? null),
      policy_id: random.below(3) === 0 ? await somePolicy(lives) : null,
    },
  })
}

async function change(lives: Lives): Promise<void> {
  const { db, random } = lives
  const block = await lives.find('blocks', 'cidr')
  if (!block) return
  const prefix = readCidr(block.text)
  const bits = bitsOf(prefix)
  const length = Math.max(0, prefix.length - random.between(1, 2))
  const step = 1n << BigInt(bits - length)
  const larger = { ...prefix, length, first: (prefix.first / step) * step }
  const shorter = somePrefix(random, block.text, Math.min(bits, prefix.length + 1))
  const patches: readonly BlockPatch[] = [
    { cidr: formatPrefix(larger) },
    { cidr: shorter },
    { cidr: shorter, gateway_ip: null },
    { gateway_ip: someAddress(random, block.text) },
    { gateway_ip: null, allocate_network_address: random.below(2) === 0 },
    { strategy: random.pick([...strategies, null]) ?? null },
    { policy_id: await somePolicy(lives) },
  ]
  await updateBlock(db, { id: block.id }, random.pick(patches) ?? {})
}
