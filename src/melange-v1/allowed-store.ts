import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { AddressRow, addressesOf, addressSelect } from './address-store.ts'
import { Fault } from './fault.ts'

type Pair = { readonly interface_id: string; readonly allocation_id: string }

const allowedMax = 10_000

/** What an interface may use: its own addresses and those that it is allowed. */
export function listAllowed(db: Database, interface_id: string): Promise<AddressRow[]> {
  return rows(db, AddressRow)`
    ${addressSelect} where a.owner_type = 'interface' and a.owner_id = ${interface_id}::uuid::text
      or a.id in (select allocation_id from v1_allowed_ips where interface_id = ${interface_id})
    order by a.id limit ${allowedMax}`
}

/** The network of its first address; null if it has none. */
export async function networkOfInterface(db: Database, id: string): Promise<string | null> {
  return (await addressesOf(db, id))[0]?.network_id ?? null
}

/** @throws {Fault} 409 where it is allowed already */
export async function allowAddress(tx: Database, pair: Pair): Promise<void> {
  const { interface_id, allocation_id } = pair
  const added = await rows(tx, Type.Object({ interface_id: Type.String() }))`
    insert into v1_allowed_ips (interface_id, allocation_id)
    values (${interface_id}, ${allocation_id}) on conflict do nothing returning interface_id`
  if (added.length === 0) throw new Fault(409, 'The address is allowed on the interface already')
}

export async function disallowAddress(tx: Database, pair: Pair): Promise<void> {
  const { interface_id, allocation_id } = pair
  await tx.query(sql`
    delete from v1_allowed_ips
    where interface_id = ${interface_id} and allocation_id = ${allocation_id}`)
}
