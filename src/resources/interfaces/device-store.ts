import { noGrants, type UnderGrants } from '../../access/sources.ts'
import { type Database, lostRace, retryTransaction } from '../../db/database.ts'
import { appendEvents } from '../events/store.ts'
import {
  type Giving,
  giveAddresses,
  heldBy,
  insertInterfaces,
  lockManyMacs,
  lockSpace,
  macEventsOf,
  releaseAddresses,
  removeInterfaces,
  type WantedAddresses,
} from './parts-store.ts'
import {
  isKept,
  isKnownBySame,
  type KeptInterface,
  namesIn,
  type Replacement,
  readInterface,
  replace,
} from './rules.ts'
import type { DeviceInterfacesRequest, Interface } from './schema.ts'
import { forgetNames, getInterfaces, interfaceEvent, lockDevice, writeInterface } from './store.ts'

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
  underGrants: UnderGrants = noGrants,
): Promise<Interface[]> {
  const asked = interfaces.map(readInterface)
  const device = { device_id, project_id }
  return retryTransaction(db, async tx => {
    const present = await lockDevice(tx, device, { only_own: true })
    const held = heldBy(present)
    const replacement = replace(present, asked)
    const more = asked.length - present.length
    const names = asked.flatMap(one => [
      ...(one.id ? [one.id] : []),
      ...namesIn(one.network_id, one),
    ])
    const ids = present.map(({ id }) => id)
    const taking = replacement.wanted.map(wantedOf)
    await lockSpace(tx, { project_id, more, names, gone: ids, taking, held })
    // Blocks were locked for the addresses that were there; what has changed meanwhile needs others.
    const locked = ids.length > 0 ? heldBy(await getInterfaces(tx, ids)) : []
    if (locked.toSorted().join() !== held.toSorted().join()) throw lostRace('addresses changed')
    return change(tx, { ...device, ...replacement, underGrants })
  })
}

const wantedOf = (one: Replacement['wanted'][number]): WantedAddresses =>
  isKept(one) ? { network_id: one.wanted.network_id, ...one.take } : one

type Change = Replacement & {
  readonly project_id: string
  readonly device_id: string
  readonly underGrants: UnderGrants
}

/** Does what a replacement says, under all its locks. */
async function change(
  tx: Database,
  { project_id, device_id, wanted, remove, underGrants }: Change,
): Promise<Interface[]> {
  const kept = wanted.filter(isKept)
  const made = wanted.flatMap(one => (isKept(one) ? [] : [one]))
  if (remove.length > 0 && remove.length + made.length > 1) {
    await lockManyMacs(tx)
  }
  const events = await removeInterfaces(tx, remove)
  const renamed = kept.filter(({ before, wanted }) => !isKnownBySame(before, wanted))
  await forgetNames(
    tx,
    renamed.map(({ before }) => before.id),
  )
  const inserted = await insertInterfaces(tx, { project_id, device_id, wanted: made })
  events.push(...macEventsOf(inserted))
  await releaseAddresses(tx, [...heldBy(remove), ...kept.flatMap(({ release }) => release)])
  events.push(...remove.map(one => interfaceEvent('interface.deleted', one)))

  const created = inserted.values()
  const placed = wanted.map((one): Giving => {
    const common = { project_id, ...wantedOf(one) }
    if (isKept(one)) return { ...common, id: one.before.id, mac: one.before.mac_address }
    const { id = '', mac } = created.next().value ?? {}
    return { ...common, id, mac: mac?.address ?? null }
  })
  await giveAddresses(tx, placed, underGrants)
  const changed = kept.filter(isChanged)
  for (const one of changed) await writeInterface(tx, { ...one.before, ...settingsOf(one) })

  const ids = placed.map(({ id }) => id)
  const answer = await getInterfaces(tx, ids)
  const unchanged = new Set(kept.filter(one => !isChanged(one)).map(one => one.before.id))
  const updated = new Set(changed.map(one => one.before.id))
  for (const one of answer) {
    if (unchanged.has(one.id)) continue
    const type = updated.has(one.id) ? 'interface.updated' : 'interface.created'
    events.push(interfaceEvent(type, one))
  }
  if (events.length > 0) await appendEvents(tx, events)
  return answer
}

const settingsOf = ({ wanted: { name, tags, client_id, duid, iaid } }: KeptInterface) => {
  return { name, tags: [...tags], client_id, duid, iaid }
}

function isChanged({ before, wanted, take, release }: KeptInterface): boolean {
  return (
    before.name !== wanted.name ||
    before.tags.join('\n') !== wanted.tags.join('\n') ||
    !isKnownBySame(before, wanted) ||
    take.families.length + take.addresses.length + release.length > 0
  )
}
