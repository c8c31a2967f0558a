import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import {
  type ConfiguredInterface,
  configureInterface,
  type HostBlock,
  type Route,
} from '../../host/configuration.ts'
import { AddressText, CidrText, Id, Nullable } from '../../schema.ts'
import { saidFor } from '../dhcp-options/configuration-store.ts'
import { Version } from '../dhcp-options/schema.ts'
import type { Interface } from '../interfaces/schema.ts'
import { type DevicePlace, getInterface, interfacesOfDevice } from '../interfaces/store.ts'

/**
 * What an interface is told.
 *
 * @throws {IpamError} `interface_not_found`
 */
export async function configurationOfInterface(db: Database, id: string): Promise<HostInterface> {
  const [found] = await configure(db, [await getInterface(db, id)])
  if (!found) throw new Error('an interface was configured, but did not come back')
  return found
}

/** What the interfaces of a device are told, all of them or those of a project, by their ids. */
export async function configurationOfDevice(
  db: Database,
  device: DevicePlace,
): Promise<HostInterface[]> {
  return configure(db, await interfacesOfDevice(db, device))
}

export type HostInterface = ConfiguredInterface<Interface>

const Facts = Type.Object({
  id: Id,
  cidr: CidrText,
  version: Version,
  network_id: Nullable(Id),
  gateway_ip: Nullable(AddressText),
  dns_nameservers: Type.Array(AddressText),
})
const RouteRow = Type.Object({
  block_id: Id,
  destination: CidrText,
  gateway: AddressText,
  metric: Nullable(Type.Integer()),
})

/** What options of blocks are worked out from, by their ids, in two statements. */
export async function blockFactsOf(
  db: Database,
  ids: readonly string[],
): Promise<Map<string, HostBlock>> {
  const facts = await rows(db, Facts)`
    select id, cidr, family(cidr) as version, network_id, gateway_ip, dns_nameservers
    from blocks where id = any (${ids}::uuid[])`
  const routes = await rows(db, RouteRow)`
    select block_id, destination, gateway, metric
    from block_routes where block_id = any (${ids}::uuid[]) order by block_id, destination`
  const routesOf = new Map<string, Route[]>()
  for (const { block_id, ...route } of routes) {
    routesOf.set(block_id, [...(routesOf.get(block_id) ?? []), route])
  }
  return new Map(facts.map(block => [block.id, { ...block, routes: routesOf.get(block.id) ?? [] }]))
}

/** Three statements, however many interfaces, addresses and blocks there are. */
async function configure(db: Database, nics: readonly Interface[]): Promise<HostInterface[]> {
  const ids = distinct(nics.flatMap(nic => nic.addresses.map(({ block_id }) => block_id)))
  const blocks = await blockFactsOf(db, ids)
  const said = await saidFor(db, {
    blocks: ids,
    interfaces: nics.map(({ id }) => id),
    networks: distinct([...nics, ...blocks.values()].flatMap(one => one.network_id ?? [])),
  })
  return nics.map(nic => configureInterface(nic, { blocks, said }))
}

const distinct = (ids: readonly string[]) => [...new Set(ids)].toSorted()
