import { unbounded } from '../access/bound-store.ts'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { type Address, formatAddress } from '../ip/address.ts'
import {
  assignNatMappings,
  listNatMappings,
  removeNatMappings,
} from '../resources/nat-mappings/store.ts'
import { AddressRow, addressSelect } from './address-store.ts'
import { behindMarker } from './marker-store.ts'
import type { Page } from './page.ts'

/** Which of the two an allocation is. */
export type Side = 'local' | 'global'

type Own = { readonly id: string; readonly side: Side }

/** The other sides of an allocation, in the order of their ids, so many of them. */
export function listPartners(db: Database, { id, side }: Own, page: Page): Promise<AddressRow[]> {
  const [own, other] =
    side === 'local'
      ? [sql`m.inside_local_id`, sql`m.inside_global_id`]
      : [sql`m.inside_global_id`, sql`m.inside_local_id`]
  return rows(db, AddressRow)`
    ${addressSelect} where a.id in (
      select ${other} from nat_mappings m where ${own} = ${id} and m.ended_at is null)
      and ${behindMarker(sql`a.id`, page)}
    order by a.id limit ${page.limit}`
}

const pairOf = ({ id, side }: Own, partner: string) =>
  side === 'local'
    ? { inside_local_id: id, inside_global_id: partner }
    : { inside_local_id: partner, inside_global_id: id }

/** Maps an allocation to others; what is mapped already stays as it is. */
export async function mapAll(
  tx: Database,
  { partners, ...own }: Own & { readonly partners: readonly string[] },
): Promise<void> {
  if (partners.length === 0) return
  await assignNatMappings(
    tx,
    [...new Set(partners)].map(partner => pairOf(own, partner)),
  )
}

const partnersMax = 10_000

/** Removes all mappings of an allocation, or those to partners of an address. */
export async function unmap(
  tx: Database,
  { partner, ...own }: Own & { readonly partner: Address | null },
): Promise<void> {
  const sides = own.side === 'local' ? { inside_local_id: own.id } : { inside_global_id: own.id }
  if (partner === null) {
    await removeNatMappings(tx, sides)
    return
  }
  const address = formatAddress(partner)
  const ofPartner =
    own.side === 'local' ? { inside_global_address: address } : { inside_local_address: address }
  const filter = { ...sides, ...ofPartner, state: 'current' as const }
  for (const one of await listNatMappings(tx, filter, {
    limit: partnersMax,
    after: null,
    bound: unbounded,
  })) {
    const { inside_local_id, inside_global_id } = one
    await removeNatMappings(tx, { inside_local_id, inside_global_id })
  }
}
