import type { IpVersion } from '../src/ip/address.ts'
import { formatPrefix, parsePrefix, prefixRange, prefixSize } from '../src/ip/prefix.ts'
import { prefixesOf } from '../src/ip/range.ts'
import type { Job, LoadClient } from './load.ts'
import type { BenchServer } from './setup.ts'

/** A size of block; `per_block`: how many of its addresses are asked for before the next block. */
export type BlockKind = {
  readonly name: string
  readonly version: IpVersion
  readonly length: number
  readonly per_block: number
}

/**
 * The sizes that are measured. What one block of the size has free at 99.9 % decides `per_block`,
 * which is the same at every fill, so that nothing but the fill differs.
 */
export const slashEight: BlockKind = { name: '/8', version: 4, length: 8, per_block: 16_000 }
export const blockKinds: readonly BlockKind[] = [
  slashEight,
  { name: '/16', version: 4, length: 16, per_block: 64 },
  { name: '/64', version: 6, length: 64, per_block: 1_000_000_000 },
]

export type Fill = 0 | 50 | 90 | 99.9

/** Measured in this order, and backwards in every second round, so that drift favours none. */
export const fills: readonly Fill[] = [0, 99.9, 50, 90]

/**
 * A block is divided into 2^`bits` units. A leading part of it is taken, then `runs` units are
 * free in turn with as many that are taken, and the last unit is free.
 */
const layouts = {
  50: { bits: 7, runs: 63 },
  90: { bits: 10, runs: 101 },
  99.9: { bits: 16, runs: 64 },
} as const satisfies Record<Exclude<Fill, 0>, object>

/** The prefixes to take for a fill, when the first `singles` addresses are taken one by one. */
export function takenPrefixes(cidr: string, fill: Fill, singles: number): string[] {
  if (fill === 0) return []
  const prefix = parsePrefix(cidr)?.prefix
  if (!prefix) throw new RangeError(`not a CIDR: ${cidr}`)
  const { bits, runs } = layouts[fill]
  const { first } = prefixRange(prefix)
  const unit = prefixSize(prefix) >> BigInt(bits)
  const leading = (1n << BigInt(bits)) - 2n * BigInt(runs) - 1n
  const start = first + leading * unit
  const taken = [
    ...prefixesOf({ first: first + BigInt(singles), last: start - 1n }, prefix.version),
  ]
  for (let run = 0n; run < BigInt(runs); run++) {
    const from = start + (2n * run + 1n) * unit
    taken.push({ version: prefix.version, first: from, length: prefix.length + bits })
  }
  return taken.map(formatPrefix)
}

export type FilledBlock = { readonly id: string; readonly cidr: string; readonly scope_id: string }

export type BlocksWanted = {
  readonly kind: BlockKind
  readonly fill: Fill
  readonly count: number
  readonly strategy?: 'sequential' | 'random' | 'least_recently_used'
  /** Addresses of the first block that are taken one by one; a multiple of 4096. */
  readonly singles?: number
}

/** How many addresses one call may take. */
export const bulkMax = 4096
const childrenMax = 256

/** Makes and fills blocks through the API, in an address scope of their own. */
export class BlockMaker {
  readonly #server: BenchServer
  readonly #load: LoadClient
  #scopes = 0

  constructor(server: BenchServer, load: LoadClient) {
    this.#server = server
    this.#load = load
  }

  async make({ kind, fill, count, strategy, singles = 0 }: BlocksWanted): Promise<FilledBlock[]> {
    const scope = await this.#makeScope()
    const top = await this.#post<{ id: string }>('/v2/blocks', {
      scope_id: scope.id,
      cidr: kind.version === 4 ? '0.0.0.0/0' : '2001:db8::/32',
    })
    const blocks: FilledBlock[] = []
    while (blocks.length < count) {
      const made = await this.#post<{ blocks: { id: string; cidr: string }[] }>(
        `/v2/blocks/${top.id}/children`,
        {
          prefix_length: kind.length,
          count: Math.min(childrenMax, count - blocks.length),
          allocate_network_address: true, // Otherwise no prefix could hold it.
          ...(strategy && { strategy }),
        },
      )
      blocks.push(...made.blocks.map(({ id, cidr }) => ({ id, cidr, scope_id: scope.id })))
    }
    if (fill !== 0) await this.#fill(blocks, fill, singles)
    return blocks
  }

  /** A block at the top of a scope of its own. */
  async makeTop({ kind, fill, strategy }: Omit<BlocksWanted, 'count'>): Promise<FilledBlock> {
    const scope = await this.#makeScope()
    const block = await this.#post<{ id: string; cidr: string }>('/v2/blocks', {
      scope_id: scope.id,
      cidr: `${kind.version === 4 ? '10.0.0.0' : '2001:db8::'}/${kind.length}`,
      allocate_network_address: true,
      ...(strategy && { strategy }),
    })
    const made = { id: block.id, cidr: block.cidr, scope_id: scope.id }
    if (fill !== 0) await this.#fill([made], fill, 0)
    return made
  }

  #makeScope(): Promise<{ id: string }> {
    const name = `bench-${++this.#scopes}`
    return this.#post('/v2/address-scopes', { project_id: 'bench', name })
  }

  async #fill(blocks: readonly FilledBlock[], fill: Fill, singles: number): Promise<void> {
    const [first] = blocks
    if (first && singles > 0) await this.takeSingles(first, singles)
    const requests = blocks.flatMap(block =>
      takenPrefixes(block.cidr, fill, block === first ? singles : 0).map(address =>
        JSON.stringify({ block_id: block.id, address, project_id: 'fill' }),
      ),
    )
    await this.#send({ body: '$value', values: requests, times: 1 })
  }

  /** Takes the lowest addresses of a block by bulk calls. */
  async takeSingles({ id }: FilledBlock, singles: number): Promise<void> {
    const body = JSON.stringify({ block_id: id, count: bulkMax, project_id: 'fill' })
    await this.#send({ body, values: [''], times: Math.floor(singles / bulkMax), connections: 4 })
  }

  async #send(job: Pick<Job, 'body' | 'values' | 'times'> & Partial<Job>): Promise<void> {
    const { exhausted } = await this.#load.run({
      url: this.#server.url,
      token: this.#server.token,
      method: 'POST',
      path: '/v2/allocations',
      status: 201,
      connections: 64,
      warmup_seconds: 0,
      seconds: 900,
      collect: [],
      returns_collected: false,
      ...job,
    })
    if (!exhausted) throw new Error('the blocks could not be filled in 15 minutes')
  }

  async #post<Answer>(path: string, body: object): Promise<Answer> {
    const response = await fetch(this.#server.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-auth-token': this.#server.token },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`POST ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as Answer
  }
}
