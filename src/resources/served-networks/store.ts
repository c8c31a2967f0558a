import { type Static, Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type ConfiguredOption, mergeOptions } from '../../dhcp/configuration.ts'
import type { ServedNetwork, ServedOption, ServedSubnet } from '../../dhcp/served.ts'
import { Id, Nullable } from '../../schema.ts'
import { saidFor } from '../dhcp-options/configuration-store.ts'
import { blockFactsOf } from '../host-configuration/store.ts'
import { getNetwork } from '../networks/store.ts'
import { resolveForBlocks } from '../policies/rules-store.ts'
import type { StoredRules } from '../policies/schema.ts'

const Subnet = Type.Object({ id: Id, project_id: Nullable(Type.String()) })

/** The blocks of a network that give out addresses, by their ids. */
export function subnetsOf(db: Database, network_id: string): Promise<Static<typeof Subnet>[]> {
  return rows(db, Subnet)`
    select b.id, b.project_id from blocks b join block_usage u on u.block_id = b.id
    where b.network_id = ${network_id} and u.in_children = 0 order by b.id`
}

/** What of the options in force is told: number and value. */
export const told = (options: readonly ConfiguredOption[]): ServedOption[] =>
  options.map(({ option: { code }, value }) => ({ code, value }))

/** What an unknown client gets: nothing if the addresses would be nobody's. */
function giftOf(
  rule: StoredRules['unknown_clients'] | null,
  whose: string | null,
): ServedSubnet['unknown_clients'] {
  const project_id = rule?.project_id ?? whose
  if (!rule || project_id === null) return null
  const { lease_seconds, purpose = null } = rule
  return { project_id, lease_seconds, purpose }
}

/**
 * A network as machines on it see it. What is read of it may be younger than other parts; then an event
 * tells of the change.
 *
 * @throws {IpamError} `network_not_found`
 */
export async function getServedNetwork(db: Database, network_id: string): Promise<ServedNetwork> {
  const { id, project_id, name, mtu } = await getNetwork(db, network_id)
  const found = await subnetsOf(db, id)
  const ids = found.map(one => one.id)
  const blocks = await blockFactsOf(db, ids)
  const said = await saidFor(db, { blocks: ids })
  const rules = await resolveForBlocks(db, ids)
  const subnets = found.flatMap(({ id: block_id, project_id: block_project }) => {
    const block = blocks.get(block_id)
    if (!block) return []
    const { cidr, version, gateway_ip } = block
    const options = told(mergeOptions(block, said.block.get(block_id) ?? []))
    const { boot_files, unknown_clients } = rules.get(block_id) ?? {}
    const whose = project_id ?? block_project
    return [
      {
        block_id,
        cidr,
        version,
        gateway_ip,
        options,
        boot_files: (boot_files?.value ?? []).map(({ server = null, ...file }) => ({
          ...file,
          server,
        })),
        unknown_clients: giftOf(unknown_clients?.value ?? null, whose),
      },
    ]
  })
  return { id, project_id, name, mtu, subnets }
}
