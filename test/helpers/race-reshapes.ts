import { formatPrefix, parsePrefix } from '../../src/ip/prefix.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { RaceClient } from './race-client.ts'

// What changes the shape of the tree while others allocate from it.

/** Grows a child to the prefix around it, or shrinks it to a half. */
export async function resize(client: RaceClient): Promise<void> {
  const { ledger, random, world } = client
  const block = random.pick(world.children)
  const prefix = block && parsePrefix(block.cidr)?.prefix
  if (!prefix) return
  const grows = random.below(2) === 0
  const length = prefix.length + (grows ? -1 : 1)
  if (length > 32) return
  const step = 2n ** BigInt(32 - length)
  const first = grows ? (prefix.first / step) * step : prefix.first + BigInt(random.below(2)) * step
  const cidr = formatPrefix({ version: 4, first, length })
  const outcome = await client.send<Block>({
    operation: grows ? 'grow' : 'shrink',
    method: 'PATCH',
    path: `/v2/blocks/${block.id}`,
    body: { cidr },
    status: 200,
    refusals: [
      'block_not_found',
      'block_in_use',
      'block_overlaps',
      'block_outside_parent',
      'block_cannot_move', // Somebody else has resized it in the meantime.
    ],
  })
  if (outcome.kind !== 'done') return
  if (outcome.body.cidr !== cidr) ledger.surprise(`${cidr} was set, ${outcome.body.cidr} answered`)
  const index = world.children.indexOf(block)
  if (index >= 0) world.children[index] = outcome.body
}

/** Puts a block above those of the container that lie inside it. */
export async function adopt(client: RaceClient): Promise<void> {
  const { ledger, random, world } = client
  const cidr = `10.128.${random.below(16) * 4}.0/22`
  const name = client.nameRequest()
  const outcome = await client.send<Block>({
    operation: 'adopt',
    method: 'POST',
    path: '/v2/blocks',
    body: { parent_id: world.container.id, cidr, adopt_children: true, name },
    status: 201,
    refusals: ['block_overlaps'],
  })
  if (outcome.kind === 'unknown') ledger.doubtfulOwners.add(name)
  if (outcome.kind !== 'done') return
  ledger.created.set(outcome.body.id, outcome.body)
  world.children.push(outcome.body)
}

const strategies = ['sequential', 'random', 'least_recently_used'] as const

/** Changes the way in which a block gives out addresses, while it does. */
export async function changeStrategy(client: RaceClient): Promise<void> {
  const block = client.random.pick(client.world.leaves)
  const strategy = client.random.pick(strategies)
  if (!block || !strategy) return
  const outcome = await client.send<Block>({
    operation: 'change strategy',
    method: 'PATCH',
    path: `/v2/blocks/${block.id}`,
    body: { strategy },
    status: 200,
  })
  if (outcome.kind === 'done' && outcome.body.strategy !== strategy) {
    client.ledger.surprise(`${strategy} was set, ${outcome.body.strategy} answered`)
  }
}
