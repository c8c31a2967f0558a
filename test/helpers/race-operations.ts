import { formatAddress, parseAddress } from '../../src/ip/address.ts'
import { parsePrefix, prefixRange } from '../../src/ip/prefix.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { RaceClient } from './race-client.ts'
import { adopt, changeStrategy, resize } from './race-reshapes.ts'

type Operation = {
  readonly weight: number
  /** Whether the client has more afterwards. */
  readonly gains?: boolean
  readonly run: (client: RaceClient) => Promise<void>
}

/** A block may have shrunk since its client heard of it. */
const ofAddress = ['address_taken', 'address_excluded', 'address_outside_block']
/** Refusals that any request to allocate from a block can meet while others carve and delete. */
const ofBlock = ['block_not_found', 'block_has_children']

/** What clients do, and how often. */
export const operations: readonly Operation[] = [
  { weight: 22, gains: true, run: client => allocate(client, 'next', {}, ['block_full']) },
  { weight: 7, gains: true, run: takeSpecific },
  { weight: 7, gains: true, run: takeSpecificOrNext },
  { weight: 5, gains: true, run: takeSeveral },
  { weight: 5, gains: true, run: takeContiguous },
  { weight: 5, gains: true, run: takePrefix },
  { weight: 20, run: release },
  { weight: 4, run: releaseSeveral },
  { weight: 2, run: releaseByOwner },
  { weight: 4, run: releaseAgain },
  { weight: 4, run: rename },
  { weight: 5, run: lookUp },
  { weight: 4, run: carveNext },
  { weight: 4, run: carveOverlapping },
  { weight: 7, run: deleteBlock },
  { weight: 3, run: moveGateway },
  { weight: 5, run: resize },
  { weight: 1, run: adopt },
  { weight: 1, run: changeStrategy },
]

async function allocate(
  client: RaceClient,
  operation: string,
  wish: object,
  refusals: readonly string[],
  block = client.pickBlock(),
): Promise<void> {
  const { ledger, held, random } = client
  const owner_id = client.nameRequest()
  const wanted = { count: 1, ...wish } as { count: number; address?: string; fallback?: string }
  const outcome = await client.send<{ allocations: Allocation[] }>({
    operation,
    method: 'POST',
    path: '/v2/allocations',
    body: {
      block_id: block.id,
      project_id: `project-${random.below(3)}`,
      owner_type: 'race',
      owner_id,
      name: operation,
      ...wish,
    },
    status: 201,
    refusals: [...ofBlock, ...refusals],
  })
  if (outcome.kind === 'unknown') ledger.doubtfulOwners.add(owner_id)
  if (outcome.kind !== 'done') return
  const { allocations } = outcome.body
  const addresses = allocations.map(({ address }) => address)
  const isWhatWasAsked =
    allocations.length === wanted.count &&
    (wanted.address === undefined || wanted.fallback || addresses[0] === wanted.address) &&
    allocations.every(one => one.owner_id === owner_id && one.block_id === block.id)
  if (!isWhatWasAsked) ledger.surprise(`${operation} ${JSON.stringify(wish)} gave ${addresses}`)
  if (operation === 'contiguous' && !areContiguous(addresses)) {
    ledger.surprise(`contiguous gave ${addresses}`)
  }
  for (const allocation of allocations) {
    const before = ledger.allocated.get(allocation.id)
    if (before) ledger.surprise(`the id ${allocation.id} was given twice`)
    ledger.allocated.set(allocation.id, allocation)
    held.push(allocation)
  }
}

/** Whether addresses follow each other from a multiple of their number's power of two. */
function areContiguous(addresses: readonly string[]): boolean {
  const values = addresses.map(address => parseAddress(address)?.value ?? -1n)
  const [first = -1n] = values
  const size = 2n ** BigInt(Math.ceil(Math.log2(values.length)))
  return first % size === 0n && values.every((value, index) => value === first + BigInt(index))
}

/** An address among the first 200 of a block, which everybody wants. */
function someAddress({ random }: RaceClient, block: Block): string {
  const prefix = parsePrefix(block.cidr)?.prefix
  if (!prefix) throw new Error(`not a CIDR: ${block.cidr}`)
  const { first, last } = prefixRange(prefix)
  const size = last - first > 200n ? 200 : Number(last - first)
  return formatAddress({ version: block.version, value: first + BigInt(random.below(size + 1)) })
}

function takeSpecific(client: RaceClient): Promise<void> {
  const block = client.pickBlock()
  const wish = { address: someAddress(client, block) }
  return allocate(client, 'specific', wish, ofAddress, block)
}

function takeSpecificOrNext(client: RaceClient): Promise<void> {
  const block = client.pickBlock()
  const wish = { address: someAddress(client, block), fallback: 'next' }
  return allocate(client, 'specific or next', wish, ['block_full', 'address_outside_block'], block)
}

function takeSeveral(client: RaceClient): Promise<void> {
  return allocate(client, 'several', { count: client.random.between(2, 12) }, ['block_full'])
}

function takeContiguous(client: RaceClient): Promise<void> {
  const wish = { count: client.random.between(2, 8), contiguous: true }
  return allocate(client, 'contiguous', wish, ['no_free_prefix'])
}

function takePrefix(client: RaceClient): Promise<void> {
  const block = client.pickBlock()
  const length = Number(block.cidr.split('/')[1])
  const wish = {
    prefix_length: Math.min(length + client.random.between(2, 16), length < 64 ? 56 : 128),
  }
  if (block.version === 4) wish.prefix_length = client.random.between(28, 31)
  return allocate(client, 'prefix', wish, ['no_free_prefix'], block)
}

/** Notes the end of an allocation, and that two answers about it agree. */
function noteEnd({ ledger, ended }: RaceClient, allocation: Allocation): void {
  const before = ledger.released.get(allocation.id)
  if (before && JSON.stringify(before) !== JSON.stringify(allocation)) {
    ledger.surprise(`two ends of ${allocation.id}: ${before.ended_at}, ${allocation.ended_at}`)
  }
  if (allocation.ended_at === null) ledger.surprise(`released ${allocation.id} has no end`)
  if (!before) ended.push(allocation)
  ledger.released.set(allocation.id, allocation)
}

async function release(client: RaceClient): Promise<void> {
  const { random, held, ledger } = client
  const one = random.take(held)
  if (!one) return
  const isWrong = random.below(8) === 0
  const condition = isWrong ? one.generation + 1 : one.generation
  const isConditional = isWrong || random.below(2) === 0
  const outcome = await client.send<Allocation>({
    operation: isWrong ? 'release a wrong generation' : 'release',
    method: 'DELETE',
    path: `/v2/allocations/${one.id}${isConditional ? `?generation=${condition}` : ''}`,
    status: 200,
    refusals: isWrong ? ['generation_mismatch'] : [],
  })
  if (isWrong) {
    held.push(one)
    if (outcome.kind === 'done') ledger.surprise(`${one.id} was released by a wrong generation`)
  } else if (outcome.kind === 'unknown') ledger.doubtfulReleases.add(one.id)
  else if (outcome.kind === 'done') noteEnd(client, outcome.body)
}

async function releaseSeveral(client: RaceClient): Promise<void> {
  const { random, held, ledger } = client
  const some = [random.take(held), random.take(held), random.take(held)].filter(
    one => one !== undefined,
  )
  if (some.length === 0) return
  const outcome = await client.send<{ allocations: Allocation[] }>({
    operation: 'release several',
    method: 'POST',
    path: '/v2/allocations/release',
    body: { allocations: some.map(({ id, generation }) => ({ id, generation })) },
    status: 200,
  })
  if (outcome.kind === 'unknown') for (const { id } of some) ledger.doubtfulReleases.add(id)
  if (outcome.kind === 'done') for (const one of outcome.body.allocations) noteEnd(client, one)
}

async function releaseByOwner(client: RaceClient): Promise<void> {
  const { random, held, ledger } = client
  const one = random.pick(held)
  if (!one) return
  const { project_id, owner_id } = one
  const all = held.filter(other => other.owner_id === owner_id)
  for (const other of all) held.splice(held.indexOf(other), 1)
  const outcome = await client.send<{ allocations: Allocation[] }>({
    operation: 'release by owner',
    method: 'POST',
    path: '/v2/allocations/release',
    body: { project_id, owner_id },
    status: 200,
  })
  if (outcome.kind === 'unknown') for (const { id } of all) ledger.doubtfulReleases.add(id)
  if (outcome.kind !== 'done') return
  for (const ended of outcome.body.allocations) noteEnd(client, ended)
  const released = outcome.body.allocations.map(({ id }) => id)
  // Where answers get lost, the owner may hold more than it knows.
  const isWhole = all.every(({ id }) => released.includes(id))
  if (!isWhole || (released.length > all.length && ledger.doubtfulReleases.size === 0)) {
    ledger.surprise(`${owner_id} held ${all.length}, released ${released.length}`)
  }
}

/** A release that comes late, when others may hold the address: it must not touch them. */
async function releaseAgain(client: RaceClient): Promise<void> {
  const one = client.random.pick(client.ended)
  if (!one) return
  const condition = client.random.below(2) === 0 ? `?generation=${one.generation - 1}` : ''
  const outcome = await client.send<Allocation>({
    operation: 'release again',
    method: 'DELETE',
    path: `/v2/allocations/${one.id}${condition}`,
    status: 200,
  })
  if (outcome.kind === 'done') noteEnd(client, outcome.body)
}

async function rename(client: RaceClient): Promise<void> {
  const { random, held, ledger } = client
  const one = random.take(held)
  if (!one) return
  const { id, generation } = one
  const outcome = await client.send<Allocation>({
    operation: 'rename',
    method: 'PATCH',
    path: `/v2/allocations/${id}`,
    body: { name: client.nameRequest(), generation },
    status: 200,
  })
  // Nobody knows its generation any more: it is forgotten, but by its owner it may yet end.
  if (outcome.kind === 'unknown') ledger.doubtfulReleases.add(id)
  if (outcome.kind !== 'done') return
  if (outcome.body.generation !== generation + 1) ledger.surprise(`${id} kept its generation`)
  held.push(outcome.body)
}

/** What a client holds is shown to be its own, whichever server it asks. */
async function lookUp(client: RaceClient): Promise<void> {
  const { ledger, random, held, world } = client
  const one = random.pick(held)
  if (!one) return
  const outcome = await client.send<{ allocations: Allocation[] }>({
    operation: 'look up',
    method: 'GET',
    path: `/v2/allocations?scope_id=${world.scope_id}&address=${encodeURIComponent(one.address)}`,
    status: 200,
  })
  if (outcome.kind !== 'done') return
  const ids = outcome.body.allocations.map(({ id }) => id)
  if (ids.join() !== one.id) ledger.surprise(`${one.address} is held as ${one.id}, shown as ${ids}`)
}

async function carve(
  client: RaceClient,
  operation: string,
  wish: { cidrs: string[] } | { prefix_length: number; count: number },
  codes: readonly string[],
): Promise<void> {
  const { ledger, random, world } = client
  const parent = random.below(4) === 0 ? random.pick(world.children) : world.container
  if (!parent) return
  const name = client.nameRequest()
  const outcome = await client.send<{ blocks: Block[] }>({
    operation,
    method: 'POST',
    path: `/v2/blocks/${parent.id}/children`,
    body: { name, ...wish },
    status: 201,
    refusals: ['block_not_found', 'block_has_allocations', ...codes],
  })
  if (outcome.kind === 'unknown') ledger.doubtfulOwners.add(name)
  if (outcome.kind !== 'done') return
  const wanted = 'cidrs' in wish ? wish.cidrs.length : wish.count
  if (outcome.body.blocks.length !== wanted) ledger.surprise(`${wanted} children were not cut`)
  for (const block of outcome.body.blocks) {
    if (block.parent_id !== parent.id) ledger.surprise(`${block.cidr} has the wrong parent`)
    ledger.created.set(block.id, block)
    world.children.push(block)
  }
}

function carveNext(client: RaceClient): Promise<void> {
  const wish = { prefix_length: client.random.between(25, 30), count: client.random.between(1, 3) }
  return carve(client, 'carve next', wish, ['no_free_prefix'])
}

function carveOverlapping(client: RaceClient): Promise<void> {
  const length = client.random.between(23, 26)
  const step = 2 ** (32 - length)
  const offset = step * client.random.below(2 ** 14 / step)
  const cidr = `10.128.${Math.floor(offset / 256)}.${offset % 256}/${length}`
  return carve(client, 'carve', { cidrs: [cidr] }, ['block_overlaps', 'block_outside_parent'])
}

async function deleteBlock(client: RaceClient): Promise<void> {
  const { ledger, random, world } = client
  const block = random.pick(world.children)
  if (!block) return
  const outcome = await client.send<null>({
    operation: 'delete block',
    method: 'DELETE',
    path: `/v2/blocks/${block.id}`,
    status: 204,
    refusals: ['block_not_found', 'block_has_children', 'block_in_use'],
  })
  if (outcome.kind === 'unknown') ledger.doubtfulDeletes.add(block.id)
  if (outcome.kind === 'done') {
    if (ledger.deleted.has(block.id)) ledger.surprise(`${block.cidr} was deleted twice`)
    ledger.deleted.add(block.id)
  }
  const isGone =
    outcome.kind === 'done' || (outcome.kind === 'refused' && outcome.code === 'block_not_found')
  const index = world.children.indexOf(block)
  if (isGone && index >= 0) world.children.splice(index, 1)
}

async function moveGateway(client: RaceClient): Promise<void> {
  const block = client.random.pick(client.world.leaves)
  if (!block) return
  const gateway_ip = client.random.below(6) === 0 ? null : someAddress(client, block)
  const outcome = await client.send<Block>({
    operation: 'move gateway',
    method: 'PATCH',
    path: `/v2/blocks/${block.id}`,
    body: { gateway_ip },
    status: 200,
    refusals: ['gateway_taken', 'gateway_unusable'],
  })
  if (outcome.kind === 'done' && outcome.body.gateway_ip !== gateway_ip) {
    client.ledger.surprise(`gateway ${gateway_ip} was set, ${outcome.body.gateway_ip} answered`)
  }
}
