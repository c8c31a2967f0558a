import { newId } from '../../src/ids.ts'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import { allocateOnce } from '../../src/resources/allocations/allocator-store.ts'
import { createBlocks } from '../../src/resources/blocks/create-store.ts'
import { prefixOf } from '../../src/resources/blocks/rules.ts'
import { readReport } from '../../src/resources/leases/read-report.ts'
import { reportLeases } from '../../src/resources/leases/report-store.ts'
import { createNetwork } from '../../src/resources/networks/store.ts'
import { openForWorld } from './databases.ts'
import { ofClient, reportOf } from './leases.ts'

/** Adds leases in all states, of machines that are known and of others, and a withheld address. */
export async function createLeaseWorld(url: string): Promise<void> {
  const db = openForWorld(url)
  try {
    const { id: network_id } = await createNetwork(db, { project_id: 'p' })
    const [block] = await createBlocks(db, {
      container: { scope_id: publicScopeId },
      wanted: [prefixOf({ cidr: '10.90.0.0/24' })],
      adopt_children: false,
      settings: { network_id },
    })
    const allocate = async (owner: object) => {
      const place = { block_id: block?.id, project_id: 'p' }
      const {
        allocations: [made],
      } = await allocateOnce(db, { ...place, ...owner, ids: [newId()] })
      if (!made) throw new Error('nothing was allocated')
      return made
    }
    const states = ['bound', 'released', 'declined'] as const
    const owners = [ofClient('52:54:00:00:00:09'), { owner_type: 'interface', owner_id: 'nic' }]
    const reports = []
    for (const state of states) {
      for (const owner of owners) {
        reports.push(reportOf(await allocate(owner), { network_id, state }))
      }
    }
    await reportLeases(db, {
      server: 'dhcp-1',
      reports: reports.map(readReport),
      declined_seconds: 3600,
    })
  } finally {
    await db.close()
  }
}
