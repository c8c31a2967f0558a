import { type Database, retryTransaction } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { appendEvents, type NewEvent } from '../events/store.ts'
import {
  giveAddresses,
  heldBy,
  insertInterface,
  lockManyMacs,
  lockSpace,
  releaseAddresses,
  removeInterfaces,
  type WantedAddresses,
} from './parts-store.ts'
import { isKept, type KeptInterface, readInterface, replace } from './rules.ts'
import type { DeviceInterfacesRequest, Interface } from './schema.ts'
import { changeInterface, getInterface, interfaceEvent, lockInterfacesOfDevice } from './store.ts'

/**
 * Gives a device just these interfaces. What is there and wanted stays as it is; the rest is
 * deleted, created or changed, all of it or nothing. Answers them in the order of asking.
 *
 * @throws {IpamError} what creating and deleting an interface may end in
 */
export function setInterfacesOfDevice(
  db: Database,
  device_id: string,
  { project_id, interfaces }: DeviceInterfacesRequest,
): Promise<Interface[]> {
  const asked = interfaces.map(readInterface)
  return retryTransaction(db, async tx => {
    await lockDevice(tx, { project_id, device_id })
    const present = await lockInterfacesOfDevice(tx, { device_id, project_id })
    const { wanted, remove } = replace(present, asked)
    const kept = wanted.filter(isKept)
    const taking: WantedAddresses[] = wanted.map(one =>
      isKept(one) ? { network_id: one.wanted.network_id, ...one.take } : one,
    )
    const releasing = [...(await heldBy(tx, remove)), ...kept.flatMap(({ release }) => release)]
    const more = wanted.length - present.length
    const names = wanted.flatMap(one => (isKept(one) ? [] : (one.id ?? [])))
    await lockSpace(tx, { project_id, more, names, taking, releasing })

    if (remove.length + wanted.length - kept.length > 1) {
      await lockManyMacs(tx)
    }
    const events: NewEvent[] = remove.length
      ? await removeInterfaces(
          tx,
          remove.map(({ id }) => id),
        )
      : []
    const ids: string[] = []
    for (const one of wanted) {
      if (isKept(one)) ids.push(one.before.id)
      else {
        const made = await insertInterface(tx, { project_id, device_id, wanted: one })
        ids.push(made.id)
        events.push(...made.events)
      }
    }
    await releaseAddresses(tx, releasing)
    events.push(...remove.map(one => interfaceEvent('interface.deleted', one)))

    const answer: Interface[] = []
    for (const [n, one] of wanted.entries()) {
      const id = ids[n] ?? ''
      const mac = undefined // As it is.
      if (isKept(one)) {
        const { network_id } = one.wanted
        await giveAddresses(tx, { id, project_id, network_id, ...one.take, mac })
        if (isChanged(one)) {
          const updated = await changeInterface(tx, { ...one.before, ...settingsOf(one) })
          events.push(interfaceEvent('interface.updated', updated))
        }
      } else {
        await giveAddresses(tx, { ...one, id, project_id, mac })
        events.push(interfaceEvent('interface.created', await getInterface(tx, id)))
      }
      answer.push(await getInterface(tx, id))
    }
    if (events.length > 0) await appendEvents(tx, events)
    return answer
  })
}

const settingsOf = ({ wanted }: KeptInterface) => ({ name: wanted.name, tags: [...wanted.tags] })

function isChanged({ before, wanted, take, release }: KeptInterface): boolean {
  return (
    before.name !== wanted.name ||
    before.tags.join('\n') !== wanted.tags.join('\n') ||
    take.families.length + take.addresses.length + release.length > 0
  )
}

/** One replaces the interfaces of a device at a time. It is locked before all else. */
export async function lockDevice(
  tx: Database,
  { project_id, device_id }: { readonly project_id: string; readonly device_id: string },
): Promise<void> {
  const name = `${project_id}/${device_id}`
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 2))`)
}
