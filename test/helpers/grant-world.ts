import { newId } from '../../src/ids.ts'
import { createAddressScope } from '../../src/resources/address-scopes/store.ts'
import { allocateOnce } from '../../src/resources/allocations/allocator-store.ts'
import { createBlocks } from '../../src/resources/blocks/create-store.ts'
import { prefixOf } from '../../src/resources/blocks/rules.ts'
import { createGrant, revokeGrant } from '../../src/resources/grants/store.ts'
import { createNetwork } from '../../src/resources/networks/store.ts'
import { openForWorld } from './databases.ts'

/** Adds grants of blocks and of a network, in force and revoked, with what is held under them. */
export async function createGrantWorld(url: string): Promise<void> {
  const db = openForWorld(url)
  try {
    const { id: scope_id } = await createAddressScope(db, { project_id: 'p', name: 'granted' })
    const { id: network_id } = await createNetwork(db, { project_id: 'p' })
    const create = async (cidr: string, network?: string) => {
      const [block] = await createBlocks(db, {
        container: { scope_id },
        wanted: [prefixOf({ cidr })],
        adopt_children: false,
        settings: { network_id: network },
      })
      return block?.id ?? ''
    }
    const first = await create('10.80.0.0/24')
    const second = await create('2001:db8:80::/48')
    await create('10.81.0.0/24', network_id)
    await createGrant(db, { block_id: second, project_id: null, allocations_max: 100 })
    await createGrant(db, { network_id, project_id: 'q' })
    const gone = await createGrant(db, { block_id: first, project_id: 'q', allocations_max: 9 })
    const wish = { project_id: 'q', needs_grant: true }
    await allocateOnce(db, { ...wish, block_id: first, ids: [newId(), newId()] })
    await allocateOnce(db, { ...wish, block_id: first, ids: [newId()], prefix_length: 30 })
    await allocateOnce(db, { ...wish, block_id: second, ids: [newId()], prefix_length: 60 })
    await allocateOnce(db, { ...wish, network_id, families: [4], ids: [newId()] })
    await revokeGrant(db, gone)
  } finally {
    await db.close()
  }
}
