import type { Database } from '../db/database.ts'
import { newId } from '../ids.ts'
import { formatMac, parseMac } from '../ip/mac.ts'
import { addressesOf, deallocate } from './address-store.ts'
import type { Taker } from './allocate.ts'
import { FieldErrors, refuseField } from './fault.ts'
import {
  findByName,
  findNameless,
  giveMac,
  insertInterface,
  NoMoreMacs,
  removeInterface,
  tellMac,
} from './interface-store.ts'
import type { Call } from './route-table.ts'
import { type Fields, textOf } from './values.ts'

/** An interface as a request describes it. */
export type Described = {
  readonly vif_id: string | null
  readonly tenant_id: string
  readonly device_id: string | null
  readonly mac: bigint | null
}

const lengthMax = 255

/**
 * A text that may be left out.
 *
 * @throws {Fault} 400
 */
export function optionalText(fields: Fields, name: string): string | null {
  const value = fields.get(name)
  if (value === undefined || value === null || value === '') return null
  const text = textOf(value)
  if (text === undefined || text.length > lengthMax) {
    refuseField(name, `${name} should be a text of up to ${lengthMax} characters`)
  }
  return text
}

/** @throws {Fault} 400 */
export function readMacOf(fields: Fields): bigint | null {
  const text = optionalText(fields, 'mac_address')
  if (text === null) return null
  const mac = parseMac(text)
  if (mac === null) refuseField('mac_address', 'mac_address is not a valid address')
  return mac
}

/** An interface that takes addresses; `save` puts it there if it is new. */
export type Plug = { readonly taker: Taker; save(): Promise<void> }

/**
 * The interface of a tenant by its name, or the nameless one; if it is not there it is made. What is
 * said of one that is there is not looked at.
 *
 * @throws {Fault} 400, 422
 */
export async function obtainInterface({ db }: Pick<Call, 'db'>, said: Described): Promise<Plug> {
  const { vif_id, tenant_id } = said
  const found =
    vif_id === null ? await findNameless(db, tenant_id) : await findByName(db, vif_id, tenant_id)
  if (found) return { taker: found, save: async () => undefined }
  const made = await createInterface(db, said)
  if ('refusal' in made) throw made.refusal
  return made
}

/**
 * A new interface with its MAC. Where there are no more MACs it is put there without one, which is
 * refused all the same: the caller says whether it stays.
 *
 * @throws {Fault} 400
 */
export async function createInterface(
  db: Database,
  said: Described,
): Promise<Plug | { readonly refusal: NoMoreMacs }> {
  const { vif_id, tenant_id, device_id } = said
  const errors = new FieldErrors()
  if (tenant_id === '') errors.add('tenant_id', 'tenant_id should be present')
  if (vif_id !== null && (await findByName(db, vif_id))) {
    errors.add('virtual_interface_id', `Virtual Interface ${vif_id} already exists`)
  }
  errors.throwIfAny()
  const id = newId()
  let mac: Awaited<ReturnType<typeof giveMac>>
  try {
    mac = await giveMac(db, { id, tenant_id }, said.mac)
  } catch (error) {
    if (!(error instanceof NoMoreMacs)) throw error
    await insertInterface(db, { id, vif_id, tenant_id, device_id })
    return { refusal: error }
  }
  return {
    taker: { id, vif_id, tenant_id, mac: mac && formatMac(parseMac(mac.address) ?? 0n) },
    async save() {
      await insertInterface(db, { id, vif_id, tenant_id, device_id })
      if (mac) await tellMac(db, mac)
    },
  }
}

/** Deletes an interface; its addresses wait. */
export async function deleteInterface(db: Database, id: string): Promise<void> {
  const held = await addressesOf(db, id)
  await deallocate(
    db,
    held.map(address => address.id),
  )
  await removeInterface(db, id)
}
