// What is measured with a server and a database of its own.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresServer } from '../test/helpers/postgres-server.ts'
import { BlockMaker, slashEight } from './fill.ts'
import type { LoadClient } from './load.ts'
import {
  allocationBody,
  type BenchOptions,
  type Figure,
  Measurements,
  round,
  say,
  warmUp,
  withoutEnd,
} from './measure.ts'
import { countDifferences, startServer } from './setup.ts'

export type BulkReport = {
  readonly addresses: number
  readonly call_size: number
  readonly connections: number
  readonly seconds: number
  readonly server_peak_mb: number
  readonly audit: number
}

const callSize = 4096
const bulkConnections = 2

/** A million addresses by bulk calls into a fresh database, and the memory that the server takes. */
export async function measureBulk(given: {
  postgres: PostgresServer
  load: LoadClient
  options: BenchOptions
}): Promise<BulkReport> {
  const { postgres, load, options } = given
  const addresses = options.quick ? 50_000 : 1_000_000
  const environment = { DATABASE_URL: await postgres.createDatabase('bulk') }
  const server = await startServer({ kind: 'melange', environment })
  try {
    const [block] = await new BlockMaker(server, load).make({ kind: slashEight, fill: 0, count: 1 })
    const { url, token } = server
    const take = (count: number, times: number, connections: number) =>
      load.run({
        url,
        token,
        method: 'POST',
        path: '/v2/allocations',
        body: allocationBody(`"block_id":"${block?.id}","count":${count}`),
        values: [''],
        times,
        status: 201,
        connections,
        warmup_seconds: 0,
        seconds: 600,
        collect: ['address'],
        returns_collected: false,
      })
    const started = performance.now()
    await take(callSize, Math.floor(addresses / callSize), bulkConnections)
    await take(addresses % callSize, 1, 1)
    const seconds = round((performance.now() - started) / 1000)
    const server_peak_mb = server.peakMb()
    say(`bulk: ${addresses} addresses in ${seconds} s, ${server_peak_mb} MB`)
    await server.close()
    const audit = await countDifferences(environment)
    const sizes = { addresses, call_size: callSize, connections: bulkConnections }
    return { ...sizes, seconds, server_peak_mb, audit }
  } finally {
    await server.close()
  }
}

export type EmbeddedReport = Figure & { readonly audit: number }

/** The embedded database, which does not fsync. */
export async function measureEmbedded(given: {
  load: LoadClient
  options: BenchOptions
}): Promise<EmbeddedReport> {
  const { load, options } = given
  const folder = mkdtempSync(join(tmpdir(), 'melange-bench-'))
  const environment = { MELANGE_DATA_DIR: folder }
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  try {
    const server = await startServer({ kind: 'melange', environment })
    const measurements = new Measurements(load, options)
    try {
      const maker = new BlockMaker(server, load)
      for (let number = 0; number <= options.rounds; number++) {
        const blocks = await maker.make({ kind: slashEight, fill: 0, count: 1 })
        const name = number === 0 ? warmUp : 'pglite'
        await measurements.allocate(name, { server, blocks, times: withoutEnd })
      }
    } finally {
      await server.close()
    }
    const audit = await countDifferences(environment)
    return { ...measurements.figure('pglite'), audit }
  } finally {
    remove()
    process.off('exit', remove)
  }
}
