import { type PostgresServer, startPostgresServer } from '../test/helpers/postgres-server.ts'
import { measureBulk, measureEmbedded } from './alone.ts'
import { allocationCases } from './cases.ts'
import { BlockMaker, blockKinds, type FilledBlock, fills, slashEight } from './fill.ts'
import { type LoadClient, startLoadClient } from './load.ts'
import { type BenchOptions, Measurements, say, warmUp, withoutEnd } from './measure.ts'
import { type AllocateReport, makeReport } from './report.ts'
import { type Campaign, fillName, measureRound, type RoundBlocks } from './round.ts'
import {
  closeAll,
  countDifferences,
  describeMachine,
  query,
  type ServerOptions,
  startServer,
} from './setup.ts'

const naiveConnections = [10, 20] as const

/** Measures everything that `allocate` reports. */
export function benchAllocate(options: BenchOptions): Promise<AllocateReport> {
  return closeAll(async closing => {
    const postgres = await startPostgresServer()
    closing(() => postgres.stop())
    const machine = await describeMachine(postgres.url)
    const load = startLoadClient()
    closing(() => load.close())
    const main = await measureMain({ postgres, load, options, closing })
    const bulk = await measureBulk({ postgres, load, options })
    const embedded = await measureEmbedded({ load, options })
    return makeReport({ machine, options, ...main, bulk, embedded })
  })
}

/** Ours, the ceiling and the naive way, on one database. */
async function measureMain(given: {
  postgres: PostgresServer
  load: LoadClient
  options: BenchOptions
  closing: (close: () => Promise<void>) => void
}) {
  const { postgres, load, options, closing } = given
  const database = await postgres.createDatabase('bench')
  const start = async (options: Omit<ServerOptions, 'environment'>) => {
    const server = await startServer({ ...options, environment: { DATABASE_URL: database } })
    closing(() => server.close())
    return server
  }
  const ours = await start({ kind: 'melange' })
  const noop = await start({ kind: 'noop' })
  const naive = []
  for (const connections of naiveConnections) {
    naive.push([connections, await start({ kind: 'naive', connections })] as const)
  }
  const measurements = new Measurements(load, options)
  const maker = new BlockMaker(ours, load)
  const campaign = { measurements, maker, ours, noop, naive, options }

  const rounds = await prepare(campaign)
  await query(database, 'vacuum analyze')
  await query(database, 'checkpoint')
  const fillings = await describeFillings(database, rounds)
  for (const [number, blocks] of rounds.entries()) {
    say(`round ${number + 1} of ${rounds.length}`)
    await measureRound(campaign, blocks, number)
  }
  const [found] = await query<{ count: string }>(
    database,
    `select (select count(*) from allocations where project_id = 'measured')
          + (select count(*) from allocation_history where project_id = 'measured') as count`,
  )
  const acknowledged = { answers: measurements.acknowledged, in_database: Number(found?.count) }
  if (acknowledged.answers !== acknowledged.in_database) {
    throw new Error(`acknowledged and kept differ: ${JSON.stringify(acknowledged)}`)
  }
  const server_peak_mb = ours.peakMb()
  const audit = await countDifferences({ DATABASE_URL: database })
  return { measurements, fillings, acknowledged, server_peak_mb, audit, naiveConnections }
}

/** Warms every server up, and makes all blocks, as many as the first rate says are needed. */
async function prepare(campaign: Campaign): Promise<RoundBlocks[]> {
  const { measurements, maker, ours, noop, naive, options } = campaign
  let rate = 0
  for (const server of [ours, ours, noop, ...naive.map(([, one]) => one)]) {
    const blocks = await maker.make({ kind: slashEight, fill: 0, count: 1 })
    const inBlocks = { server, blocks, times: withoutEnd, is_noop: server === noop }
    const { per_s } = await measurements.allocate(warmUp, inBlocks)
    if (server === ours) rate = Math.max(rate, per_s)
  }
  const singles = options.quick ? 4096 : 102_400
  const addresses = measurements.addressesAt(rate)
  const rounds: RoundBlocks[] = []
  for (let number = 1; number <= options.rounds; number++) {
    const blocks = new Map<string, FilledBlock[]>()
    const started = Date.now()
    for (const kind of blockKinds) {
      for (const fill of fills) {
        const count = Math.ceil(addresses / kind.per_block)
        const isBallasted = kind === slashEight && fill > 0 && number === 1
        const wanted = { kind, fill, count, singles: isBallasted ? singles : 0 }
        blocks.set(fillName(kind, fill), await maker.make(wanted))
      }
    }
    for (const { name, block } of allocationCases) {
      blocks.set(name, await maker.make({ ...block, count: 1 }))
    }
    for (const name of ['ceiling', ...naive.map(([size]) => `naive ${size}`)]) {
      blocks.set(name, await maker.make({ kind: slashEight, fill: 0, count: 1 }))
    }
    rounds.push(blocks)
    say(`blocks of round ${number} made in ${Math.round((Date.now() - started) / 1000)} s`)
  }
  return rounds
}

export type Filling = {
  readonly block: string
  readonly fill_percent: number
  readonly filled_percent: number
  readonly free_runs: number
  readonly blocks: number
}

/** What the database says of the first block of each kind and fill, before anything is measured. */
async function describeFillings(
  database: string,
  [first]: readonly RoundBlocks[],
): Promise<Filling[]> {
  const fillings: Filling[] = []
  for (const kind of blockKinds) {
    for (const fill of fills.toSorted((a, b) => a - b)) {
      const blocks = first?.get(fillName(kind, fill)) ?? []
      const [found] = await query<{ runs: number; filled: number }>(
        database,
        `select (select count(*) from free_ranges where block_id = $1)::int as runs,
           (100 * allocated / (total - excluded))::float8 as filled
         from block_usage where block_id = $1`,
        [blocks[0]?.id],
      )
      fillings.push({
        block: kind.name,
        fill_percent: fill,
        filled_percent: Math.round((found?.filled ?? 0) * 1000) / 1000,
        free_runs: found?.runs ?? 0,
        blocks: blocks.length,
      })
    }
  }
  return fillings
}
