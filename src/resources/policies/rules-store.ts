import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type Sql, sql } from '../../db/sql.ts'
import { IpamError } from '../../errors.ts'
import { Id, oneOf } from '../../schema.ts'
import { type AttachedPolicy, type ResolvedRules, type RuleName, resolveRules } from './rules.ts'
import { StoredRules } from './schema.ts'

// Which rules reach a block: those of the policies on it and on what is above it.

/**
 * Holds the rules of a policy as they are until the transaction ends. It is the first of its
 * locks, or whoever changes the rules could miss what the transaction attaches.
 *
 * @throws {IpamError} `policy_not_found`
 */
export async function holdPolicy(tx: Database, id: string | null | undefined): Promise<void> {
  if (!id) return
  const [policy] = await rows(tx, Type.Object({ id: Id }))`
    select id from policies where id = ${id} for share`
  if (!policy)
    throw new IpamError('policy_not_found', `There is no policy ${id}.`, { field: 'policy_id' })
}

const Link = Type.Object({
  leaf: Id,
  type: oneOf(['block', 'network', 'address_scope']),
  id: Id,
  name: Type.String(),
  policy_id: Id,
  policy_name: Type.String(),
  rules: StoredRules,
})

/** The policies on a set of things, above each block that `from` begins with, nearest first. */
const chains = (from: Sql): Sql => sql`
  with recursive up as (
    ${from}
    union all
    select up.leaf, p.id, p.parent_id, p.scope_id, p.cidr, p.policy_id, p.network_id,
      p.is_network_top, p.inherits_block_rules, up.counts and up.inherits_block_rules,
      up.depth + 1
    from up join blocks p on p.id = up.parent_id
  )
  select leaf, depth, place, type, c.id, c.name, p.id as policy_id, p.name as policy_name, p.rules
  from (
    select leaf, depth, 0 as place, 'block' as type, id, cidr::text as name, policy_id
    from up where counts
    union all
    select leaf, depth, 1, 'network', n.id, coalesce(nullif(n.name, ''), n.id::text), n.policy_id
    from up join networks n on n.id = up.network_id where up.is_network_top
    union all
    select leaf, depth, 2, 'address_scope', s.id, s.name, s.policy_id
    from up join address_scopes s on s.id = up.scope_id where up.parent_id is null
  ) c join policies p on p.id = c.policy_id
  order by leaf, depth, place`

const fromBlock = sql`
  select b.id as leaf, b.id, b.parent_id, b.scope_id, b.cidr, b.policy_id, b.network_id,
    b.is_network_top, b.inherits_block_rules, true as counts, 0 as depth`

/** The policy that a rule of block `b` comes from: the nearest that states the rule. */
export const sourceOf = (rule: RuleName): Sql => sql`(
  select policy_id from (${chains(fromBlock)}) chain where rules ? ${rule}
  order by depth, place limit 1)`

/** The rules that reach each of some blocks; one that none reach is not in the answer. */
export async function resolveForBlocks(
  db: Database,
  ids: readonly string[],
): Promise<Map<string, ResolvedRules>> {
  const links = await rows(db, Link)`${chains(sql`
    ${fromBlock} from blocks b where b.id = any (${ids}::uuid[])`)}`
  const byLeaf = new Map<string, AttachedPolicy[]>()
  for (const { leaf, type, id, name, policy_id, policy_name, rules } of links) {
    const chain = byLeaf.get(leaf) ?? []
    byLeaf.set(leaf, chain)
    chain.push({
      policy: { id: policy_id, name: policy_name, rules },
      attached_to: { type, id, name },
    })
  }
  return new Map([...byLeaf].map(([leaf, chain]) => [leaf, resolveRules(chain)]))
}

/** The rules for the children of a block, or for the top blocks of a scope. */
export async function resolveForChildren(
  db: Database,
  place: { readonly parent_id: string | null; readonly scope_id: string },
): Promise<ResolvedRules> {
  const { parent_id, scope_id } = place
  if (parent_id !== null) return (await resolveForBlocks(db, [parent_id])).get(parent_id) ?? {}
  const [link] = await rows(db, Link)`
    select s.id as leaf, 'address_scope' as type, s.id, s.name, p.id as policy_id,
      p.name as policy_name, p.rules
    from address_scopes s join policies p on p.id = s.policy_id where s.id = ${scope_id}`
  if (!link) return {}
  const { type, id, name, policy_id, policy_name, rules } = link
  const policy = { id: policy_id, name: policy_name, rules }
  return resolveRules([{ policy, attached_to: { type, id, name } }])
}
