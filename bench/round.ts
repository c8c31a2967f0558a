import { allocationCases, allocationRequests, type Held, heldCases, shuffle } from './cases.ts'
import {
  type BlockMaker,
  blockKinds,
  type Fill,
  type FilledBlock,
  fills,
  slashEight,
} from './fill.ts'
import { address, type BenchOptions, type Measurements, withoutEnd } from './measure.ts'
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
  for (const one of allocationCases) {
    const [block] = of(one.name)
    if (!block) throw new Error(`there is no block for ${one.name}`)
    const count = one.values ? measurements.addressesAt(20_000) : withoutEnd
    const requests = allocationRequests(one, { block, count })
    const common = { ...address(server), returns_collected: false }
    const { answers } = await measurements.run(one.name, { ...common, ...requests })
    measurements.acknowledged += answers * (one.addresses ?? 1)
  }
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

/** Who holds an address, and then its release, in an order that has nothing to do with theirs. */
async function measureHeld({ measurements, ours }: Campaign, held: readonly Held[]): Promise<void> {
  const common = { ...address(ours), returns_collected: false }
  await measurements.run('lookup', { ...common, ...heldCases.lookup(held), times: 'cycle' })
  await measurements.run('release', { ...common, ...heldCases.release(held) })
}
