import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type ConfiguredOption, mergeOptions } from '../../dhcp/configuration.ts'
import type { ServedNetwork, ServedOption } from '../../dhcp/served.ts'
import { Id } from '../../schema.ts'
import { saidFor } from '../dhcp-options/configuration-store.ts'
import { blockFactsOf } from '../host-configuration/store.ts'
import { getNetwork } from '../networks/store.ts'

const BlockId = Type.Object({ id: Id })

/** The blocks of a network that give out addresses, by their ids. */
export async function subnetsOf(db: Database, network_id: string): Promise<string[]> {
  const found = await rows(db, BlockId)`
    select b.id from blocks b join block_usage u on u.block_id = b.id
    where b.network_id = ${network_id} and u.in_children = 0 order by b.id`
  return found.map(({ id }) => id)
}

/** What of the options in force is told: number and value. */
export const told = (options: readonly ConfiguredOption[]): ServedOption[] =>
  options.map(({ option: { code }, value }) => ({ code, value }))

/**
 * A network as machines on it see it. What is read of it may be younger than other parts; then an event
 * tells of the change.
 *
 * @throws {IpamError} `network_not_found`
 */
export async function getServedNetwork(db: Database, network_id: string): Promise<ServedNetwork> {
  const { id, project_id, name, mtu } = await getNetwork(db, network_id)
  const ids = await subnetsOf(db, id)
  const blocks = await blockFactsOf(db, ids)
  const said = await saidFor(db, { blocks: ids })
  const subnets = ids.flatMap(block_id => {
    const block = blocks.get(block_id)
    if (!block) return []
    const { cidr, version, gateway_ip } = block
    const options = told(mergeOptions(block, said.block.get(block_id) ?? []))
    return [{ block_id, cidr, version, gateway_ip, options, boot_files: [], unknown_clients: null }]
  })
  return { id, project_id, name, mtu, subnets }
}
