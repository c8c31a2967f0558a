import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type Sql, sql } from '../../db/sql.ts'
import { derivations, mergeOptions, type SetOption } from '../../dhcp/configuration.ts'
import { Id, Nullable, oneOf } from '../../schema.ts'
import { routesOf } from '../block-routes/store.ts'
import { getBlock } from '../blocks/store.ts'
import { type BlockConfiguration, subjectTypes, Version } from './schema.ts'
import { showValue } from './store.ts'

const askers = ['block', 'interface', 'network'] as const
const SaidRow = Type.Object({
  asker: oneOf(askers),
  about: Id,
  type: oneOf(subjectTypes),
  id: Id,
  version: Version,
  code: Type.Integer(),
  value: Type.Unknown(),
  derived_from: Nullable(oneOf(derivations)),
})

export type SaidOption = SetOption & { readonly version: 4 | 6 }

/** What is said, with its IP version, by the id of what it is for; the nearest comes first. */
export type Said = Readonly<Record<(typeof askers)[number], Map<string, SaidOption[]>>>

/**
 * What the machines of a block are told. An option comes from the nearest that sets it: the block, its
 * parents, behind the topmost block in a network that network, the parents above, the scope.
 *
 * @throws {IpamError} `block_not_found`
 */
export async function getConfiguration(db: Database, id: string): Promise<BlockConfiguration> {
  const block = await getBlock(db, id)
  const routes = await routesOf(db, id)
  const said = (await saidFor(db, { blocks: [block.id] })).block.get(block.id) ?? []
  const { version, cidr, network_id, gateway_ip } = block
  return {
    block_id: block.id,
    network_id,
    cidr,
    version,
    gateway_ip,
    routes: routes.map(({ destination, gateway, metric }) => ({ destination, gateway, metric })),
    options: mergeOptions({ ...block, routes }, said).map(({ option, value, ...origin }) => ({
      ...showValue(option, value),
      ...origin,
    })),
  }
}

type Subjects = {
  readonly blocks: readonly string[]
  readonly interfaces?: readonly string[]
  readonly networks?: readonly string[]
}

/**
 * What is said for blocks on their way up (of their own IP version), for interfaces on them, and for
 * networks by them.
 */
export async function saidFor(
  db: Database,
  { blocks, interfaces = [], networks = [] }: Subjects,
): Promise<Said> {
  const found = await rows(db, SaidRow)`
    with recursive up as (
      select b.id as about, family(b.cidr) as version, b.id, b.parent_id, b.scope_id, b.network_id,
        b.is_network_top, 0 as depth
      from blocks b where b.id = any (${blocks}::uuid[])
      union all
      select up.about, up.version, p.id, p.parent_id, p.scope_id, p.network_id, p.is_network_top,
        up.depth + 1
      from up join blocks p on p.id = up.parent_id
    ), net as (
      select 'block' as asker, about, depth, version, network_id as id from up where is_network_top
      union all
      select 'network', unnest, 0, null, unnest from unnest(${networks}::uuid[])
    )
    select asker, about, type, id, version, code, value, derived_from
    from (
      select 'interface' as asker, i as about, 0 as depth, 0 as place, 'interface' as type, i as id, o.version, o.code,
        o.value, null as derived_from
      from unnest(${interfaces}::uuid[]) i join dhcp_options o on o.interface_id = i
      union all
      ${setAbove(sql`0, 'block', up.id`, sql`o.block_id = up.id`)}
      union all
      select asker, about, depth, 1, 'network', net.id, o.version, o.code, o.value, null
      from net join dhcp_options o on o.network_id = net.id
        and o.version = coalesce(net.version, o.version)
      union all
      select asker, about, depth, 2, 'network', net.id, 4, ${mtuCode}, to_jsonb(n.mtu), 'mtu'
      from net join networks n on n.id = net.id
      where n.mtu is not null and net.version is distinct from 6
      union all
      ${setAbove(
        sql`3, 'address_scope', up.scope_id`,
        sql`o.scope_id = up.scope_id and up.parent_id is null`,
      )}
    ) said
    order by asker, about, depth, place, version, code`
  const said: Said = { block: new Map(), interface: new Map(), network: new Map() }
  for (const { asker, about, version, code, value, derived_from, ...source } of found) {
    const all = said[asker].get(about) ?? []
    all.push({ version, code, value, source, derived_from })
    said[asker].set(about, all)
  }
  return said
}

/** RFC 2132 §5.1. */
const mtuCode = 26

const setAbove = (place: Sql, condition: Sql): Sql => sql`
  select 'block', about, depth, ${place}, o.version, o.code, o.value, null
  from up join dhcp_options o on o.version = up.version and ${condition}`
