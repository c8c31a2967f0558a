import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'

import { IpamError } from '../errors.ts'
import {
  createAllowedAddress,
  deleteAllowedAddress,
} from '../resources/interfaces/allowed-store.ts'
import { Id, Nullable } from '../schema.ts'
import { AddressRow, addressSelect } from './address-store.ts'
import { Fault } from './fault.ts'
import type { InterfaceRow } from './interface-store.ts'

const allowedMax = 10_000

/** An address that an interface may use; its own ones are allowed by no row. */
const AllowedRow = Type.Object({ ...AddressRow.properties, allowed_id: Nullable(Id) })
export type AllowedRow = Static<typeof AllowedRow>

/**
 * What an interface may use: its own addresses and those that it is allowed, whoever holds them. One
 * that nobody holds is shown by the id of its permission, in the subnet where it lies. Prefixes, and
 * what lies in no subnet of the network, cannot be shown as addresses.
 */
export async function listAllowed(
  db: Database,
  { id, tenant_id }: Pick<InterfaceRow, 'id' | 'tenant_id'>,
): Promise<AllowedRow[]> {
  const found = await rows(db, AllowedRow)`
    select own.*, (select p.id from allowed_addresses p join blocks b on b.network_id = p.network_id
      where p.interface_id = ${id} and p.address = own.address and b.id = own.block_id) as allowed_id
    from (${addressSelect} where a.owner_type = 'interface' and a.owner_id = ${id}::uuid::text
      and a.project_id = ${tenant_id} and not a.is_prefix) own
    union
    select coalesce(held.id, p.id), s.id, p.address, coalesce(held.started_at, p.created_at),
      held.tenant_id, held.device_id, held.interface_id, p.id
    from allowed_addresses p
      cross join lateral (
        select b.id, b.scope_id from blocks b
        where b.network_id = p.network_id and b.cidr >>= p.address
        order by masklen(b.cidr) desc, b.parent_id is null, b.id limit 1) s
      left join lateral (
        ${addressSelect} where a.scope_id = s.scope_id and a.address = p.address
          and a.block_id = s.id) held on true
    where p.interface_id = ${id} and masklen(p.address) = masklen(last_of(p.address))
    order by 1 limit ${allowedMax}`
  return found
}

/**
 * Allows an interface an address of its network, beside whoever else uses it.
 *
 * @throws {Fault} 400 where it is allowed already, 409 where somebody has it alone
 */
export async function allowAddress(tx: Database, id: string, address: string): Promise<void> {
  try {
    await createAllowedAddress(tx, id, { address, role: 'shared' })
  } catch (error) {
    if (!(error instanceof IpamError)) throw error
    if (error.code === 'allowed_address_exists') {
      throw new Fault(400, 'The address is allowed on the interface already')
    }
    if (error.code === 'allowed_address_taken') {
      throw new Fault(409, 'Another interface is allowed the address exclusively')
    }
    throw error
  }
}

/** Own addresses are allowed all the same. */
export async function disallowAddress(
  tx: Database,
  interface_id: string,
  { allowed_id }: AllowedRow,
): Promise<void> {
  if (allowed_id !== null) await deleteAllowedAddress(tx, { id: allowed_id, interface_id })
}
