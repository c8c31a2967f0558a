import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import { createRoute } from '../../src/resources/block-routes/store.ts'
import { createBlocks } from '../../src/resources/blocks/create-store.ts'
import { prefixOf } from '../../src/resources/blocks/rules.ts'
import {
  createAllowedAddress,
  deleteAllowedAddress,
  updateAllowedAddress,
} from '../../src/resources/interfaces/allowed-store.ts'
import { setInterfacesOfDevice } from '../../src/resources/interfaces/device-store.ts'
import {
  createInterface,
  deleteInterface,
  updateInterface,
} from '../../src/resources/interfaces/store.ts'
import { createMacAllocator } from '../../src/resources/macs/allocator-store.ts'
import { createMacRange } from '../../src/resources/macs/range-store.ts'
import { createNetwork } from '../../src/resources/networks/store.ts'
import { openForWorld } from './databases.ts'

/**
 * Adds MAC ranges of each kind, of which MACs are held, waiting and free; interfaces that moved,
 * went and are there; addresses beside their own, now and before; and a route.
 */
export async function createInterfaceWorld(url: string): Promise<void> {
  const db = openForWorld(url)
  try {
    const project_id = 'p'
    const { id: network_id } = await createNetwork(db, { project_id })
    const [block] = await createBlocks(db, {
      container: { scope_id: publicScopeId },
      wanted: [prefixOf({ cidr: '198.18.0.0/24' })],
      adopt_children: false,
      settings: { network_id },
    })
    await createRoute(db, block?.id ?? '', { destination: '0.0.0.0/0', gateway: '198.18.0.1' })
    const waiting = { reuse_after_seconds: 86_400 }
    const ranges = [
      await createMacRange(db, { prefix: '56:00:00:00:00:00/40', ...waiting }),
      await createMacRange(db, {
        prefix: '56:00:00:01:00:00/40',
        strategy: 'least_recently_used',
        forbidden: ['56:00:00:01:00:10/44'],
      }),
      await createMacRange(db, {
        prefix: '56:00:00:02:00:00/40',
        uniqueness: 'network',
        strategy: 'random',
        ...waiting,
      }),
    ]
    const macs = createMacAllocator(db, { lanes: 2, batch_max: 64, waiting_max: 1000 })
    for (const { id: range_id } of ranges) {
      const wanted = { range_id, network_id, project_id, owner_id: 'vm' }
      const taken = await Promise.all(Array.from({ length: 12 }, () => macs.take(wanted)))
      await Promise.all(
        taken.filter((_, n) => n % 3 === 0).map(({ mac }) => macs.release({ id: mac.id })),
      )
    }
    await macs.take({ mac: 0x0200_0000_0001n, network_id, project_id })
    const interfaces = [{ network_id, families: [4 as const] }, { network_id }]
    const made = await setInterfacesOfDevice(db, 'vm-1', { project_id, interfaces })
    const gone = await createInterface(db, { project_id, network_id, families: [4] })
    await deleteInterface(db, gone)
    for (const { id } of made) {
      await updateInterface(db, { id }, { device_id: 'vm-2' })
      const vip = await createAllowedAddress(db, id, { address: '198.18.0.200' })
      await updateAllowedAddress(db, { ...vip }, { role: 'secondary' })
      if (id !== made[0]?.id) continue
      await deleteAllowedAddress(db, vip)
      await createAllowedAddress(db, id, { address: '198.18.0.208/28' })
    }
  } finally {
    await db.close()
  }
}
