import { type Static, Type } from 'typebox'
import { type Bound, boundedTo } from '../../access/bound-store.ts'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { namesOfClientId } from '../../dhcp/client-names.ts'
import { mergeOptions } from '../../dhcp/configuration.ts'
import { canonicalDomain } from '../../dhcp/domain-names.ts'
import { clientNames, clientOwner, type ServedHost } from '../../dhcp/served.ts'
import { Id, Nullable, Time } from '../../schema.ts'
import { type Said, type SaidOption, saidFor } from '../dhcp-options/configuration-store.ts'
import { blockFactsOf } from '../host-configuration/store.ts'
import { getNetwork } from '../networks/store.ts'
import { subnetsOf, told } from './store.ts'

/** On which network hosts are looked for, and of whose. */
type Place = { readonly network_id: string; readonly bound: Bound }
type HostKey = Pick<ServedHost, 'type' | 'id'>
type Page = { readonly limit: number; readonly after: HostKey | null }

/** A host; none of one that no server could tell from others. */
export type FoundHost = HostKey & { readonly host: ServedHost | null }

/**
 * Interfaces by their ids, and behind them clients by theirs; one more than a page holds.
 *
 * @throws {IpamError} `network_not_found`
 */
export async function listServedHosts(
  db: Database,
  place: Place,
  { limit, after }: Page,
): Promise<FoundHost[]> {
  await getNetwork(db, place.network_id)
  const nics = await findNics(db, place, {
    conditions: after?.type === 'interface' ? [sql`i.id > ${after.id}`] : [],
    limit: after?.type === 'client' ? 0 : limit + 1,
  })
  const subnets = await idsOfSubnets(db, place)
  const clients = await findClients(db, place, {
    subnets,
    more: after?.type === 'client' ? sql`and a.owner_id > ${after.id}` : sql``,
    limit: limit + 1 - nics.length,
  })
  return [...(await hostsOfNics(db, nics, subnets)), ...hostsOfClients(clients)]
}

const idsOfSubnets = async (db: Database, { network_id }: Place) =>
  (await subnetsOf(db, network_id)).map(({ id }) => id)

const isInterfaceId = (id: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)

/**
 * Those of some hosts that are there, in the order of a list.
 *
 * @throws {IpamError} `network_not_found`
 */
export async function namedHosts(
  db: Database,
  place: Place,
  ids: readonly string[],
): Promise<ServedHost[]> {
  await getNetwork(db, place.network_id)
  const nics = await findNics(db, place, {
    conditions: [sql`i.id = any (${ids.filter(isInterfaceId)}::uuid[])`],
    limit: ids.length,
  })
  const subnets = await idsOfSubnets(db, place)
  const clients = await findClients(db, place, {
    subnets,
    more: sql`and a.owner_id = any (${ids.filter(id => !isInterfaceId(id))})`,
    limit: ids.length,
  })
  const found = [...(await hostsOfNics(db, nics, subnets)), ...hostsOfClients(clients)]
  return found.flatMap(({ host }) => host ?? [])
}

const NicRow = Type.Object({ id: Id, project_id: Type.String(), ...clientNames })
type NicRow = Static<typeof NicRow>

/** The interfaces of a network that have a name. */
async function findNics(
  db: Database,
  { network_id, bound }: Place,
  { conditions, limit }: { readonly conditions: readonly Sql[]; readonly limit: number },
): Promise<NicRow[]> {
  if (limit === 0) return []
  const all = allOf([...boundedTo(bound, sql`i.project_id`), ...conditions])
  return rows(db, NicRow)`
    select i.id, i.project_id, mac_text(m.mac) as mac_address, i.client_id, i.duid, i.iaid
    from interfaces i left join macs m on m.interface_id = i.id
    where i.network_id = ${network_id} and coalesce(m.mac::text, i.client_id, i.duid) is not null
      and ${all}
    order by i.id limit ${limit}`
}

const AddressRow = Type.Object({
  owner_id: Type.String(),
  project_id: Type.String(),
  allocation_id: Id,
  block_id: Id,
  address: Type.String(),
  name: Type.String(),
  expires_at: Nullable(Time),
  withheld_until: Nullable(Time),
})
type AddressRow = Static<typeof AddressRow>

/** Until when an address is told to nobody. */
const withheldUntil = sql`
  (select w.withheld_until from withheld_addresses w where w.allocation_id = a.id)`

const addressColumns = sql`
  a.owner_id, a.project_id, a.id as allocation_id, a.block_id, a.address, a.name, a.expires_at,
  ${withheldUntil} as withheld_until`

type ClientRow = AddressRow

/** What clients have in the subnets of a network, by their ids; of so many clients at most. */
async function findClients(
  db: Database,
  { bound }: Place,
  {
    subnets,
    more,
    limit,
  }: { readonly subnets: readonly string[]; readonly more: Sql; readonly limit: number },
): Promise<ClientRow[]> {
  if (limit <= 0) return []
  const ofClients = sql`
    a.owner_type = ${clientOwner} and ${allOf(boundedTo(bound, sql`a.project_id`))}`
  return rows(db, AddressRow)`
    with clients as (
      select distinct c.owner_id
      from unnest(${subnets}::uuid[]) s (block_id), lateral (
        select distinct a.owner_id from allocations a
        where a.block_id = s.block_id and ${ofClients} ${more}
        order by a.owner_id limit ${limit}) c
      order by c.owner_id limit ${limit}
    )
    select ${addressColumns}
    from clients c join allocations a on a.owner_id = c.owner_id
    where a.block_id = any (${subnets}::uuid[]) and ${ofClients}
    order by a.owner_id, a.started_at, a.id`
}

/** The name of a machine: that of an allocation that is a domain name. */
const nameAmong = (held: readonly AddressRow[]): string | null => {
  for (const { name } of held) {
    const domain = canonicalDomain(name)
    if (domain !== null) return domain
  }
  return null
}

const shownAddress = ({ owner_id: _, project_id: _project, name: _name, ...rest }: AddressRow) =>
  rest

function hostsOfClients(found: readonly ClientRow[]): FoundHost[] {
  return [...grouped(found, ({ owner_id }) => owner_id)].map(([id, held]) => {
    const names = namesOfClientId(id)
    const host = names && {
      id,
      type: 'client' as const,
      ...names,
      host_name: nameAmong(held),
      addresses: held.map(shownAddress),
      options: [],
    }
    return { type: 'client', id, host }
  })
}

/** A few statements, however many interfaces there are. */
async function hostsOfNics(
  db: Database,
  nics: readonly NicRow[],
  subnets: readonly string[],
): Promise<FoundHost[]> {
  if (nics.length === 0) return []
  const ids = nics.map(({ id }) => id)
  // Whoever names an interface of another project as the owner of an allocation gives it nothing.
  const held = await rows(db, AddressRow)`
    select ${addressColumns}
    from allocations a where a.owner_id = any (${ids}::text[]) and a.owner_type = 'interface'
    order by a.started_at, a.id`
  const heldBy = grouped(held, ({ owner_id }) => owner_id)
  const used = new Set(held.map(({ block_id }) => block_id))
  const blocks = subnets.filter(id => used.has(id))
  const said = await saidFor(db, { blocks, interfaces: ids })
  const facts = said.interface.size > 0 ? await blockFactsOf(db, blocks) : new Map()
  return nics.map(({ id, project_id, ...names }) => {
    const own = said.interface.get(id) ?? []
    const addresses = (heldBy.get(id) ?? []).filter(one => one.project_id === project_id)
    const host = {
      id,
      type: 'interface' as const,
      ...names,
      host_name: hostNameOf(own) ?? nameAmong(addresses),
      addresses: addresses.map(shownAddress),
      options: own.length === 0 ? [] : ownOptions(own, addresses, { said, facts }),
    }
    return { type: 'interface', id, host }
  })
}

/** RFC 2132 §3.14. */
const hostNameCode = 12

const hostNameOf = (own: readonly SaidOption[]): string | null => {
  const found = own.find(({ version, code }) => version === 4 && code === hostNameCode)
  return found ? String(found.value) : null
}

/**
 * All that is in force for an interface in those subnets of the network where it has addresses and sets
 * anything.
 */
function ownOptions(
  own: readonly SaidOption[],
  addresses: readonly AddressRow[],
  {
    said,
    facts,
  }: { readonly said: Said; readonly facts: Awaited<ReturnType<typeof blockFactsOf>> },
): ServedHost['options'] {
  const blocks = new Set(
    addresses.filter(one => !one.address.includes('/')).map(one => one.block_id),
  )
  return [...blocks].flatMap(block_id => {
    const block = facts.get(block_id)
    const set = own.filter(({ version }) => version === block?.version)
    if (!block || set.length === 0) return []
    const options = mergeOptions(block, [...set, ...(said.block.get(block_id) ?? [])])
    return [{ block_id, options: told(options) }]
  })
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group) group.push(item)
    else groups.set(keyOf(item), [item])
  }
  return groups
}
