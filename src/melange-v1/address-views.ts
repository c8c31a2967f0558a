import type { Database } from '../db/database.ts'
import type { AddressRow } from './address-store.ts'
import { getBlockRows } from './block-store.ts'
import { showBlockPart } from './block-views.ts'
import type { InterfaceRow } from './interface-store.ts'
import { listRoutesOf, type RouteRow } from './route-store.ts'
import type { Settings } from './settings.ts'
import { type Data, showAddress, Timestamp } from './values.ts'

const versionOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)

/** An address by itself. */
export const showAddressRow = (row: AddressRow): Data => ({
  id: row.id,
  ip_block_id: row.block_id,
  address: showAddress(row.address),
  version: versionOf(row.address),
  interface_id: row.interface_id,
  used_by_tenant: row.tenant_id,
  used_by_device: row.device_id,
  created_at: new Timestamp(row.started_at),
  updated_at: new Timestamp(row.started_at),
})

/** Addresses as an interface is configured with them: each with its block and the routes of that. */
export async function showConfiguration(
  db: Database,
  addresses: readonly AddressRow[],
  settings: Settings,
): Promise<Data[]> {
  const blocks = await getBlockRows(db, [...new Set(addresses.map(row => row.block_id))])
  const routes = await listRoutesOf(db, [...blocks.keys()])
  return addresses.flatMap(row => {
    const block = blocks.get(row.block_id)
    if (!block) return []
    return {
      id: row.id,
      interface_id: row.interface_id,
      address: showAddress(row.address),
      version: versionOf(row.address),
      ip_block: {
        ...showBlockPart(block, settings),
        ip_routes: routes.filter(route => route.block_id === block.id).map(showRoutePart),
      },
    }
  })
}

const showRoutePart = ({ id, destination, netmask, gateway }: RouteRow): Data => {
  return { id, destination, netmask, gateway }
}

export function showInterface(row: InterfaceRow, ip_addresses: Data): Data {
  return {
    id: row.vif_id ?? row.id,
    tenant_id: row.tenant_id,
    device_id: row.device_id,
    mac_address: row.mac?.toUpperCase() ?? null,
    ip_addresses,
    created_at: new Timestamp(row.created_at),
    updated_at: new Timestamp(row.updated_at),
  }
}
