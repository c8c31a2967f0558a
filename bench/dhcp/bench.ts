import { closeAll, describeMachine } from '../setup.ts'
import { Campaign, guarded } from './campaign.ts'
import { type Database, startDatabase } from './database.ts'
import { dnsmasqServer, sizedDnsmasq } from './dnsmasq.ts'
import { keaServer, makeKeaDatabase, sizedKea } from './kea.ts'
import { Lab } from './lab.ts'
import { LoadProgram } from './load.ts'
import { peakMb } from './processes.ts'
import { makeDhcpReport } from './report.ts'
import type { DhcpServer } from './servers.ts'
import { type DhcpSettings, findMissing, populationOf } from './settings.ts'
import { measureSize, type Size, type SizedServer } from './sizes.ts'

/** Servers of DHCP under the same loads, in turn; how long they take to start, and to change. */
export function benchDhcp(settings: DhcpSettings) {
  const missing = findMissing(settings)
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root: run this as root')
  if (missing.length > 0) {
    throw new Error(`${missing.join(', ')} not found: run \`npm run setup:debian -- dhcp\``)
  }
  return closeAll(async closing => {
    const lab = new Lab()
    closing(() => lab.close())
    const program = new LoadProgram(lab)
    const database = await startDatabase(lab)
    closing(() => database.postgres.stop())
    const machine = await describeMachine(database.postgres.url)
    const servers = await makeServers({ lab, database, settings })
    const campaign = new Campaign({ lab, program, settings, servers })
    for (let round = 1; round <= settings.rounds; round++) await campaign.runRound(round)
    for (let step = 1; step <= settings.rate_steps; step++) await campaign.searchRates(step)
    const { trials, failures, searches } = campaign
    const sizes: Size[] = []
    for (const hosts of settings.sizes) {
      for (const server of await makeSizedServers({ lab, database, settings, hosts })) {
        const what = `${hosts} hosts`
        await guarded(failures, { server: server.name, what }, async () => {
          sizes.push(
            await measureSize({ program, server, hosts, ...sizeSettings(settings), peakMb }),
          )
        })
      }
    }
    return makeDhcpReport({ machine, settings, trials, searches, sizes, failures })
  })
}

const sizeSettings = ({ changes, quick }: DhcpSettings) => ({
  starts: quick ? 1 : 3,
  changes,
  seconds: quick ? 5 : 20,
})

type Making = { lab: Lab; database: Database; settings: DhcpSettings }

async function makeServers({ lab, database, settings }: Making): Promise<DhcpServer[]> {
  const population = populationOf(settings)
  const wants = (name: string) => settings.servers.includes(name)
  const common = { lab, population }
  return [
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
  const { lab, database, settings, hosts } = making
  const wants = (start: string) => settings.servers.some(name => name.startsWith(start))
  return [
    ...(wants('kea')
      ? [
          sizedKea({ lab }),
          sizedKea({ lab, database: await makeKeaDatabase(database, `kea_hosts_${hosts}`) }),
        ]
      : []),
    ...(wants('dnsmasq') ? [sizedDnsmasq(lab)] : []),
  ]
}
