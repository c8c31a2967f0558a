import { newId } from '../../src/ids.ts'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import { createAddressScope } from '../../src/resources/address-scopes/store.ts'
import { allocateOnce } from '../../src/resources/allocations/allocator-store.ts'
import { createBlocks } from '../../src/resources/blocks/create-store.ts'
import { prefixOf } from '../../src/resources/blocks/rules.ts'
import { createFloatingIp, updateFloatingIp } from '../../src/resources/floating-ips/store.ts'
import { assignNatMappings, removeNatMappings } from '../../src/resources/nat-mappings/store.ts'
import { openForWorld } from './databases.ts'

/** Adds floating IPs that point, pointed and do not point at something, and NAT mappings. */
export async function createFloatingWorld(url: string): Promise<void> {
  const db = openForWorld(url)
  try {
    const { id: scope_id } = await createAddressScope(db, { project_id: 'p', name: 'floating' })
    const create = async (scope: string, cidr: string) => {
      const [block] = await createBlocks(db, {
        container: { scope_id: scope },
        wanted: [prefixOf({ cidr })],
        adopt_children: false,
        settings: {},
      })
      return block?.id ?? ''
    }
    const inside = await create(scope_id, '10.70.0.0/24')
    const outside = await create(publicScopeId, '203.0.113.0/24')
    const ids = [newId(), newId(), newId()] as const
    await allocateOnce(db, { block_id: inside, ids, project_id: 'p' })
    const place = { block_id: outside, project_id: 'p' }
    const on = await createFloatingIp(db, { ...place, private_allocation_id: ids[0] })
    await updateFloatingIp(db, on, { private_allocation_id: ids[1] })
    await createFloatingIp(db, place)
    const side = { inside_global_id: on.allocation_id }
    await assignNatMappings(
      db,
      ids.map(inside_local_id => ({ inside_local_id, ...side })),
    )
    await removeNatMappings(db, { inside_local_id: ids[0] })
  } finally {
    await db.close()
  }
}
