import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { LeaseReport } from '../../src/dhcp/served.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { ReportOutcome } from '../../src/resources/leases/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { findLeaseContradictions } from '../helpers/lease-checks.ts'
import { ofClient, reportOf } from '../helpers/leases.ts'
import { Random } from '../helpers/random.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

const rounds = Number(process.env.MELANGE_RACE_ROUNDS ?? 15)
const seed = Number(process.env.MELANGE_RACE_SEED ?? 17)
const reporters = 16
const leasesPerRound = 24

describe.skipIf(inject('postgresUrl') === '')(
  'many servers that report the same leases (I16)',
  () => {
    let database: string
    let servers: ServerProcess[]
    let env: Record<string, string>
    let requests = 0
    const blocks: { id: string; network_id: string }[] = []

    /** Asks the servers by turns. */
    const send = <T>(method: string, path: string, body?: object): Promise<Answer<T & Problem>> => {
      const server = servers[requests++ % servers.length]
      if (!server) throw new Error('there is no server')
      return server.request<T & Problem>(method, path, body)
    }
    const done = async <T>(answer: Promise<Answer<T & Problem>>): Promise<T> => {
      const { status, body } = await answer
      if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`)
      return body
    }

    beforeAll(async () => {
      database = await createDatabase(inject('postgresUrl'))
      env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
      servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
      // One lets addresses wait, one gives the same out again at once.
      const rules = { quarantine_seconds: 5 }
      const policy = await done(
        send<{ id: string }>('POST', '/v2/policies', { name: 'wait', rules }),
      )
      for (const [index, more] of [{ policy_id: policy.id }, {}, {}].entries()) {
        const network = await done(send<{ id: string }>('POST', '/v2/networks', {}))
        const place = { scope_id: 'public', cidr: `10.${index}.0.0/20`, network_id: network.id }
        const block = await done(send<{ id: string }>('POST', '/v2/blocks', { ...place, ...more }))
        blocks.push({ id: block.id, network_id: network.id })
      }
    })
    afterAll(async () => {
      await cleanUp()
      if (database) await dropDatabase(database)
    })

    test('each is kept once and as it was told last, and each end is done once', async () => {
      const random = new Random(seed)
      const all: LeaseReport[] = []
      const faults: string[] = []
      const outcomes = new Map<string, number>()
      const count = (what: string) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1)
      const start = Date.now()
      let told = 0
      const nextTime = (more = 0) => new Date(start + told++ * 10 + more).toISOString()

      /** An allocation of somebody, and all that is ever reported of it, in the order of time. */
      const begin = async (): Promise<{ allocation: Allocation; reports: LeaseReport[] }> => {
        const block = random.pick(blocks) as (typeof blocks)[number]
        const isAutomatic = random.below(2) === 1
        const owner = isAutomatic ? ofClient(`client-${randomUUID()}`) : { owner_type: 'interface' }
        const project_id = random.pick(['red', 'blue', 'green']) as string
        const { allocations } = await done(
          send<{ allocations: Allocation[] }>('POST', '/v2/allocations', {
            block_id: block.id,
            project_id,
            ...owner,
          }),
        )
        const allocation = allocations[0] as Allocation
        const first = reportOf(allocation, { network_id: block.network_id, told_at: nextTime() })
        const renewals = Array.from({ length: random.below(4) }, () => {
          return { ...first, told_at: nextTime(), ends_at: nextTime(3_600_000) }
        })
        const state = random.pick(['bound', 'bound', 'released', 'declined'] as const) ?? 'bound'
        const last = state === 'bound' ? [] : [{ ...first, state, told_at: nextTime() }]
        return { allocation, reports: [first, ...renewals, ...last] }
      }
      const reportSome = async (known: readonly LeaseReport[]) => {
        // Each reporter has its own part of them in its own order, some of it twice.
        const left = [...known]
        const chosen = Array.from({ length: random.between(1, known.length) }, () =>
          random.below(5) === 0 ? (random.pick(known) as LeaseReport) : random.take(left),
        ).filter(one => one !== undefined)
        const body = { server: `dhcp-${random.below(4)}`, leases: chosen }
        const answer = await send<ReportOutcome>('POST', '/v2/leases', body)
        const { accepted, refused } = answer.body
        if (answer.status !== 200 || refused.length > 0 || accepted !== chosen.length) {
          faults.push(`${answer.status} ${JSON.stringify(answer.body).slice(0, 300)}`)
        }
        count('reported')
      }
      const disturb = async (allocations: readonly Allocation[]) => {
        const one = random.pick(allocations) as Allocation
        const what = random.pick(['release', 'renew', 'change', 'tell'] as const)
        const path = `/v2/allocations/${one.id}`
        // What a client holds ends by reports alone, so that it is known what ended it.
        if (what === 'release' && one.owner_type === 'dhcp_client') return
        const { status, body } = await (what === 'release'
          ? send('DELETE', path)
          : what === 'renew'
            ? send('POST', `${path}/renew`, { lifetime_seconds: 3600 })
            : what === 'change'
              ? send('PATCH', path, { name: 'changed' })
              : send('DELETE', `/v2/withheld-addresses/${one.id}`))
        count(`${what}: ${status < 300 ? 'done' : body.code}`)
        const may = ['allocation_ended', 'allocation_not_held', 'allocation_not_found']
        if (status >= 300 && ![...may, 'address_not_withheld'].includes(body.code)) {
          faults.push(`${what}: ${status} ${JSON.stringify(body)}`)
        }
      }

      for (let round = 0; round < rounds; round++) {
        const begun = await Promise.all(Array.from({ length: leasesPerRound }, begin))
        const reports = begun.flatMap(one => one.reports)
        const allocations = begun.map(one => one.allocation)
        all.push(...reports)
        await Promise.all(
          Array.from({ length: reporters }, async () => {
            await reportSome(reports)
            await disturb(allocations)
            await reportSome(reports)
          }),
        )
        // A server keeps what it was not answered, and sends all of it in the end.
        await reportSome(reports)
        const { body } = await send<ReportOutcome>('POST', '/v2/leases', {
          server: 'dhcp-1',
          leases: reports,
        })
        expect(body).toEqual({ accepted: reports.length, refused: [] })
      }
      console.info(Object.fromEntries([...outcomes].sort()))
      expect(faults.slice(0, 10)).toEqual([])
      for (const what of ['release', 'renew', 'change', 'tell']) {
        expect([what, outcomes.has(`${what}: done`)]).toEqual([what, true])
      }
      await withPostgres(database, async query => {
        expect(await findLeaseContradictions(query, all)).toEqual([])
        expect(await findContradictions(query)).toEqual([])
      })
      expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
    })

    test('nobody waited for a deadlock to be broken', async () => {
      for (const server of servers) expect(await server.stop()).toBe(0)
      expect(servers.map(({ stdout }) => stdout)).toEqual(['', ''])
      const found = await withPostgres(database, query =>
        query('select deadlocks from pg_stat_database where datname = current_database()'),
      )
      expect(found).toEqual([{ deadlocks: '0' }])
    })
  },
)
