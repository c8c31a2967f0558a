import { Type } from 'typebox'
import { type Bound, boundedBeside } from '../../access/bound-store.ts'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { refuseUnexpected, type Target } from '../../etags.ts'
import { newId } from '../../ids.ts'
import { CidrText, type FilterOf, Id } from '../../schema.ts'
import { lockAddressScope } from '../address-scopes/store.ts'
import { deleteOptionsOf } from '../dhcp-options/store.ts'
import { appendEvents, type EventType } from '../events/store.ts'
import { deleteGrantsOf } from '../grants/store.ts'
import { applyRules, scopesOf } from '../policies/apply-store.ts'
import { holdPolicy } from '../policies/rules-store.ts'
import {
  Network,
  type NetworkPatch,
  type NetworkQuery,
  type NetworkRequest,
  type NetworkUtilisation,
  type networkSorts,
  SubnetCounts,
} from './schema.ts'

const columns = sql`
  id, project_id, name, description, tags, policy_id, mtu, generation, created_at, updated_at`

const notFound = (id: string) => new IpamError('network_not_found', `There is no network ${id}.`)

/** @throws {IpamError} `network_not_found` */
export async function getNetwork(db: Database, id: string): Promise<Network> {
  const [network] = await rows(db, Network)`select ${columns} from networks where id = ${id}`
  if (!network) throw notFound(id)
  return network
}

export type NetworkPage = {
  readonly sort: (typeof networkSorts)[number]
  readonly limit: number
  /** The sort value and the id of the network behind which the page begins. */
  readonly after: readonly string[] | null
  readonly bound: Bound
}

/** One network more than a page holds, so that the caller sees whether there is another page. */
export function listNetworks(
  db: Database,
  filter: FilterOf<NetworkQuery>,
  { sort, limit, after, bound }: NetworkPage,
) {
  const { project_id, name, tag, policy_id } = filter
  const conditions: Sql[] = [
    ...(project_id ? [sql`project_id = ${project_id}`] : []),
    ...(name === undefined ? [] : [sql`name = ${name}`]),
    ...(tag ? [sql`tags @> ${tag}`] : []),
    ...(policy_id ? [sql`policy_id = ${policy_id}`] : []),
  ]
  if (after && sort === 'id') conditions.push(sql`id > ${after[1]}`)
  else if (after) conditions.push(sql`(name, id) > (${after[0]}, ${after[1]})`)
  const order = sort === 'id' ? sql`id` : sql`name, id`
  const granted =
    bound.kind === 'all' ? [] : [sql`id in (select networks_granted_to(${bound.project_id}))`]
  const beside = boundedBeside(bound, granted, {
    ...{ table: sql`networks`, conditions, order, limit: limit + 1 },
  })
  return rows(db, Network)`
    select ${columns} from networks
    where ${allOf([...conditions, ...beside])} order by ${order} limit ${limit + 1}`
}

/** @throws {IpamError} `network_exists`, `policy_not_found` */
export function createNetwork(db: Database, request: NetworkRequest): Promise<Network> {
  const { id = newId(), project_id = null, policy_id = null, mtu = null } = request
  const { name = '', description = '', tags = [] } = request
  return retryTransaction(db, async tx => {
    await holdPolicy(tx, policy_id)
    const [network] = await rows(tx, Network)`
      insert into networks (id, project_id, name, description, tags, policy_id, mtu)
      values (${id}, ${project_id}, ${name}, ${description}, ${tags}, ${policy_id}, ${mtu})
      on conflict (id) do nothing returning ${columns}`
    if (!network) {
      const detail = `There is a network ${id} already.`
      throw new IpamError('network_exists', detail, { field: 'id' })
    }
    await appendEvents(tx, [eventOf('network.created', network)])
    return network
  })
}

/**
 * @throws {IpamError} `network_not_found`, `precondition_failed`, `policy_not_found`,
 * `mtu_too_small`
 */
export function updateNetwork(
  db: Database,
  { id, expected }: Target,
  patch: NetworkPatch,
): Promise<Network> {
  return retryTransaction(db, async tx => {
    await holdPolicy(tx, patch.policy_id)
    const before = await lockNetwork(tx, id, sql`for no key update`)
    refuseUnexpected(before, expected)
    const { name, description, tags, policy_id, mtu } = { ...before, ...patch }
    const [network] = await rows(tx, Network)`
      update networks set name = ${name}, description = ${description}, tags = ${tags},
        policy_id = ${policy_id}, mtu = ${mtu}, generation = generation + 1, updated_at = clock_timestamp()
      where id = ${id} returning ${columns}`
    if (!network) throw new Error('a network that was changed did not come back')
    // A name is part of the reasons that refusals give.
    if (policy_id !== before.policy_id || (policy_id && name !== before.name)) {
      for (const scope of await scopesOf(tx, { network_id: id })) await lockAddressScope(tx, scope)
      await applyRules(tx, { network_id: id })
    }
    await appendEvents(tx, [eventOf('network.updated', network)])
    return network
  })
}

const Subnet = Type.Object({ id: Id, cidr: CidrText })
const HeldMac = Type.Object({ id: Id, address: Type.String() })
/** How many of the things in the way are named. */
const conflictsMax = 10

/**
 * @throws {IpamError} `network_not_found`, `precondition_failed`, `network_has_subnets` or
 * `network_in_use`, naming some of what is on it
 */
export function deleteNetwork(db: Database, { id, expected }: Target): Promise<void> {
  return retryTransaction(db, async tx => {
    // Who puts a block into the network meanwhile waits, and then finds no network.
    const network = await lockNetwork(tx, id, sql`for update`)
    refuseUnexpected(network, expected)
    const subnets = await rows(tx, Subnet)`
      select id, cidr from blocks where network_id = ${id} order by cidr, id limit ${conflictsMax}`
    if (subnets.length > 0) {
      const detail = `Network ${id} has blocks, for instance ${subnets[0]?.cidr}.`
      throw new IpamError('network_has_subnets', detail, {
        conflicts: subnets.map(({ id, cidr }) => ({ type: 'block', id, address: cidr })),
      })
    }
    const macs = await rows(tx, HeldMac)`
      select id, mac_text(mac) as address from macs where network_id = ${id}
      order by id limit ${conflictsMax}`
    if (macs.length > 0) {
      const detail = `Network ${id} has MAC addresses, for instance ${macs[0]?.address}.`
      const conflicts = macs.map(one => ({ type: 'mac' as const, ...one }))
      throw new IpamError('network_in_use', detail, { conflicts })
    }
    const events = [
      ...(await deleteGrantsOf(tx, { network_id: id })),
      ...(await deleteOptionsOf(tx, { ...network, type: 'network' })),
    ]
    await tx.query(sql`delete from networks where id = ${id}`)
    await appendEvents(tx, [...events, eventOf('network.deleted', network)])
  })
}

const VersionCounts = Type.Object({
  version: Type.Union([Type.Literal(4), Type.Literal(6)]),
  ...SubnetCounts.properties,
})

/**
 * Exact counts of the subnets of a network, by IP version; null where it has none.
 *
 * @throws {IpamError} `network_not_found`
 */
export async function getNetworkUtilisation(db: Database, id: string): Promise<NetworkUtilisation> {
  await getNetwork(db, id)
  const found = await rows(db, VersionCounts)`
    select family(b.cidr) as version, count(*)::int as subnets, sum(u.total) as total,
      sum(u.allocated) as allocated, sum(u.held) as held, sum(u.quarantined) as quarantined,
      sum(u.excluded) as excluded, sum(u.free) as free
    from blocks b join block_usage u on u.block_id = b.id
    where b.network_id = ${id} and u.in_children = 0 group by family(b.cidr)`
  const countsOf = (wanted: 4 | 6): SubnetCounts | null => {
    const row = found.find(({ version }) => version === wanted)
    if (!row) return null
    const { version: _, ...counts } = row
    return counts
  }
  return { ipv4: countsOf(4), ipv6: countsOf(6) }
}

async function lockNetwork(tx: Database, id: string, strength: Sql): Promise<Network> {
  const [network] = await rows(tx, Network)`
    select ${columns} from networks where id = ${id} ${strength}`
  if (!network) throw notFound(id)
  return network
}

const eventOf = (type: EventType, data: Network) => {
  return { type, object_id: data.id, project_id: data.project_id, data }
}
