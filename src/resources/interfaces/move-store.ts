import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { Id, Nullable } from '../../schema.ts'
import type { NewEvent } from '../events/store.ts'
import { getMac, macEvent } from '../macs/store.ts'
import { endAllowedAddresses, lockManyMacs, takeMacsOf } from './parts-store.ts'

const Moving = Type.Object({ mac_id: Nullable(Id), mac: Nullable(Type.String()) })

/**
 * Brings an interface that follows its addresses to another network, or to none. Its MAC goes along:
 * it is released, and taken there. What it was allowed on the network before ends. Interface and
 * space are locked. All events but that of the interface itself are answered, for the caller to write.
 *
 * @throws {IpamError} `mac_taken` and what else taking a MAC may end in
 */
export async function moveInterface(
  tx: Database,
  { id, project_id }: { readonly id: string; readonly project_id: string },
  network_id: string | null,
): Promise<NewEvent[]> {
  const events = await endAllowedAddresses(tx, [{ id, project_id }])
  const [held] = await rows(tx, Moving)`
    select m.id as mac_id, m.mac::text as mac
    from interfaces i left join macs m on m.interface_id = i.id where i.id = ${id}`
  const { mac_id, mac } = held ?? {}
  await tx.query(sql`set constraints macs_of_interface deferred`)
  await tx.query(sql`update interfaces set network_id = ${network_id} where id = ${id}`)
  if (mac_id && mac) {
    await lockManyMacs(tx) // That of the one network and that of the other may be of two pools.
    await tx.query(sql`delete from macs where id = ${mac_id}`)
    events.push(macEvent('mac.released', await getMac(tx, mac_id)))
    const taken = await takeMacsOf(tx, [{ id, project_id, network_id, mac: BigInt(mac) }])
    events.push(...taken.map(one => macEvent('mac.created', one)))
  }
  await tx.query(sql`set constraints macs_of_interface immediate`)
  return events
}
