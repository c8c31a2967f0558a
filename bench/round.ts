import { formatAddress } from '../src/ip/address.ts'
import {
  type BlockMaker,
  blockKinds,
  type Fill,
  type FilledBlock,
  fills,
  slashEight,
} from './fill.ts'
import { allocationBody, type BenchOptions, type Measurements, withoutEnd } from './measure.ts'
import type { BenchServer } from './setup.ts'

/** What the rounds have in common. */
export type Campaign = {
  readonly measurements: Measurements
  readonly maker: BlockMaker
  readonly options: BenchOptions
  readonly ours: BenchServer
  readonly noop: BenchServer
  /** With the connections that each has. */
  readonly naive: readonly (readonly [number, BenchServer])[]
}

/** The blocks of a round, by name; each is used in one measurement. */
export type RoundBlocks = ReadonlyMap<string, readonly FilledBlock[]>

export const fillName = (kind: { readonly name: string }, fill: Fill) => `${kind.name} ${fill} %`

type Held = { readonly id: string; readonly address: string; readonly scope_id: string }

/** Measures each thing once. */
export async function measureRound(
  campaign: Campaign,
  blocks: RoundBlocks,
  number: number,
): Promise<void> {
  const { measurements, ours: server } = campaign
  const of = (name: string) => blocks.get(name) ?? []
  const held: Held[] = []
  for (const fill of number % 2 === 0 ? fills : fills.toReversed()) {
    for (const kind of blockKinds) {
      const name = fillName(kind, fill)
      const inBlocks = { server, blocks: of(name), times: kind.per_block }
      const isLookedUp = kind === slashEight && (fill === 0 || fill === 50)
      const { collected } = await measurements.allocate(name, {
        ...inBlocks,
        returns_collected: isLookedUp,
      })
      const { id: ids = [], address: addresses = [] } = collected
      const scope_id = of(name)[0]?.scope_id ?? ''
      held.push(...ids.map((id, index) => ({ id, address: addresses[index] ?? '', scope_id })))
    }
    if (fill === 0) await measureBaselines(campaign, of)
  }
  for (const strategy of ['random', 'least_recently_used']) {
    await measurements.allocate(strategy, { server, blocks: of(strategy), times: withoutEnd })
  }
  await measureSpecific(campaign, of('specific'))
  await measureHeld(campaign, shuffle(held))
}

/** Right behind our own figure at 0 %, with which they are compared. */
async function measureBaselines(
  { measurements, noop, naive }: Campaign,
  of: (name: string) => readonly FilledBlock[],
): Promise<void> {
  const times = withoutEnd
  const blocks = of('ceiling')
  await measurements.allocate('ceiling', { server: noop, blocks, times, is_noop: true })
  for (const [connections, server] of naive) {
    const name = `naive ${connections}`
    await measurements.allocate(name, { server, blocks: of(name), times })
  }
}

/** Addresses by name, scattered over the block: each cuts a free run in two. */
async function measureSpecific(
  { measurements, ours: { url, token } }: Campaign,
  [block]: readonly FilledBlock[],
): Promise<void> {
  if (!block) throw new Error('there is no block for specific addresses')
  const first = BigInt(block.cidr.split('.')[0] ?? 0) << 24n
  const count = measurements.addressesAt(20_000)
  // An odd factor makes a permutation of the 2^22 addresses that lie four apart.
  const offsets = Array.from({ length: count }, (_, index) =>
    BigInt((Math.imul(index + 1, 0x9e3779b1) >>> 10) * 4),
  )
  const { answers } = await measurements.run('specific', {
    url,
    token,
    method: 'POST',
    path: '/v2/allocations',
    body: allocationBody(`"block_id":"${block.id}","address":"$value"`),
    values: [...new Set(offsets)].map(offset =>
      formatAddress({ version: 4, value: first + offset }),
    ),
    times: 1,
    status: 201,
    collect: ['address'],
    returns_collected: false,
  })
  measurements.acknowledged += answers
}

/** Who holds an address, and then its release, in an order that has nothing to do with theirs. */
async function measureHeld(
  { measurements, ours: { url, token } }: Campaign,
  held: readonly Held[],
): Promise<void> {
  const common = { url, token, status: 200, collect: [], returns_collected: false }
  await measurements.run('lookup', {
    ...common,
    method: 'GET',
    path: '/v2/allocations?$value',
    values: held.map(({ scope_id, address }) => `scope_id=${scope_id}&address=${address}`),
    times: 'cycle',
  })
  await measurements.run('release', {
    ...common,
    method: 'DELETE',
    path: '/v2/allocations/$value',
    values: held.map(({ id }) => id),
    times: 1,
  })
}

/** The same order in each run: Fisher and Yates, with a generator of Lehmer's. */
function shuffle<Item>(items: readonly Item[]): Item[] {
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
