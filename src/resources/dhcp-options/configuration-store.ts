import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { mergeOptions } from '../../dhcp/configuration.ts'
import { Id, oneOf } from '../../schema.ts'
import { routesOf } from '../block-routes/store.ts'
import { getBlock } from '../blocks/store.ts'
import { type BlockConfiguration, subjectTypes } from './schema.ts'
import { showValue } from './store.ts'

const SetRow = Type.Object({
  type: oneOf(subjectTypes),
  id: Id,
  code: Type.Integer(),
  value: Type.Unknown(),
})

/**
 * What the machines of a block are told. An option comes from the nearest that sets it: the block, its
 * parents, behind the topmost block in a network that network, the parents above, the scope.
 *
 * @throws {IpamError} `block_not_found`
 */
export async function getConfiguration(db: Database, id: string): Promise<BlockConfiguration> {
  const block = await getBlock(db, id)
  const routes = await routesOf(db, id)
  const found = await rows(db, SetRow)`
    with recursive up as (
      select b.id, b.parent_id, b.scope_id, b.network_id, b.is_network_top, 0 as depth
      from blocks b where b.id = ${id}
      union all
      select p.id, p.parent_id, p.scope_id, p.network_id, p.is_network_top, up.depth + 1
      from up join blocks p on p.id = up.parent_id
    )
    select type, above.id, code, value
    from (
      ${setOn(sql`0, 'block', up.id`, sql`o.block_id = up.id`)}
      union all
      ${setOn(sql`1, 'network', up.network_id`, sql`o.network_id = up.network_id and up.is_network_top`)}
      union all
      ${setOn(sql`2, 'address_scope', up.scope_id`, sql`o.scope_id = up.scope_id and up.parent_id is null`)}
    ) above (depth, place, type, id, version, code, value)
    where version = ${block.version} order by depth, place, code`
  const set = found.map(({ code, value, ...source }) => ({ code, value, source }))
  const { version, cidr, network_id, gateway_ip } = block
  return {
    block_id: id,
    network_id,
    cidr,
    version,
    gateway_ip,
    routes: routes.map(({ destination, gateway, metric }) => ({ destination, gateway, metric })),
    options: mergeOptions({ ...block, routes }, set).map(({ option, value, ...origin }) => ({
      ...showValue(option, value),
      ...origin,
    })),
  }
}

const setOn = (place: ReturnType<typeof sql>, condition: ReturnType<typeof sql>) => sql`
  select depth, ${place}, o.version, o.code, o.value from up join dhcp_options o on ${condition}`
