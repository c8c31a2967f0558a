import { release } from 'node:os'
import { closeAll, countDifferences, describeMachine } from '../setup.ts'
import { Campaign, guarded } from './campaign.ts'
import { type Database, startDatabase } from './database.ts'
import { dnsmasqServer, sizedDnsmasq } from './dnsmasq.ts'
import { keaServer, makeKeaDatabase, sizedKea } from './kea.ts'
import { Lab } from './lab.ts'
import { LoadProgram } from './load.ts'
import { Api, OurNetworks, ourServer, sizedOurs } from './ours.ts'
import { peakMb } from './processes.ts'
import { makeDhcpReport } from './report.ts'
import type { DhcpServer } from './servers.ts'
import { type DhcpSettings, findLoads, findVersions, populationOf } from './settings.ts'
import { measureSize, type Size, type SizedServer } from './sizes.ts'

/** Servers of DHCP under the same loads, in turn; how long they take to start, and to change. */
export function benchDhcp(settings: DhcpSettings) {
  return closeAll(async closing => {
    const lab = new Lab()
    closing(() => lab.close())
    const program = new LoadProgram(lab)
    const database = await startDatabase(lab)
    closing(() => database.postgres.stop())
    const machine = {
      ...(await describeMachine(database.postgres.url)),
      kernel: release(),
      versions: findVersions(settings),
    }
    const api = settings.servers.some(isOurs) ? await Api.start(database) : null
    if (api) closing(() => api.close())
    const servers = await makeServers({ lab, database, api, settings })
    const campaign = new Campaign({ lab, program, settings, servers })
    for (let round = 1; round <= settings.rounds; round++) await campaign.runRound(round)
    for (let step = 1; step <= settings.rate_steps; step++) await campaign.searchRates(step)
    const { trials, failures, searches } = campaign
    const sizes: Size[] = []
    for (const hosts of settings.sizes) {
      for (const server of await makeSizedServers({ lab, database, api, settings, hosts })) {
        const what = `${hosts} hosts`
        await guarded(failures, { server: server.name, what }, async () => {
          sizes.push(
            await measureSize({ program, server, hosts, ...sizeSettings(settings), peakMb }),
          )
        })
      }
    }
    const audit = api ? await countDifferences({ DATABASE_URL: api.databaseUrl }) : 0
    return makeDhcpReport({ machine, settings, trials, searches, sizes, failures, audit })
  })
}

const isOurs = (name: string) => name.startsWith('ours')

const sizeSettings = ({ changes, quick }: DhcpSettings) => ({
  starts: quick ? 1 : 3,
  changes,
  seconds: quick ? 5 : 20,
})

type Making = { lab: Lab; database: Database; api: Api | null; settings: DhcpSettings }

async function makeServers({ lab, database, api, settings }: Making): Promise<DhcpServer[]> {
  const population = populationOf(settings)
  const wants = (name: string) => settings.servers.includes(name)
  const common = { lab, population }
  const networks = api && new OurNetworks({ ...common, api, loads: findLoads(settings.loads) })
  const ours = [
    { name: 'ours', durable_leases: false },
    { name: 'ours-durable', durable_leases: true },
  ]
  return [
    ...(api && networks
      ? ours
          .filter(({ name }) => wants(name))
          .map(which => ourServer({ ...common, ...which, api, networks }))
      : []),
    ...(wants('kea-1') ? [keaServer({ ...common, name: 'kea-1', threads: 1 })] : []),
    ...(wants('kea-2') ? [keaServer({ ...common, name: 'kea-2', threads: 2 })] : []),
    ...(wants('kea-postgres')
      ? [
          keaServer({
            ...common,
            name: 'kea-postgres',
            threads: 2,
            database: await makeKeaDatabase(database, 'kea_leases'),
          }),
        ]
      : []),
    ...(wants('dnsmasq') ? [dnsmasqServer(common)] : []),
  ]
}

async function makeSizedServers(making: Making & { hosts: number }): Promise<SizedServer[]> {
  const { lab, database, api, settings, hosts } = making
  const wants = (start: string) => settings.servers.some(name => name.startsWith(start))
  return [
    ...(api ? [sizedOurs({ lab, api })] : []),
    ...(wants('kea')
      ? [
          sizedKea({ lab }),
          sizedKea({ lab, database: await makeKeaDatabase(database, `kea_hosts_${hosts}`) }),
        ]
      : []),
    ...(wants('dnsmasq') ? [sizedDnsmasq(lab)] : []),
  ]
}
