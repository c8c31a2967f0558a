import { type Static, Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { type Sql, sql } from '../../db/sql.ts'
import { formatAddress, type IpVersion } from '../../ip/address.ts'
import { CidrText, Id, Nullable } from '../../schema.ts'
import { keptOctets, keptRanges, type ResolvedRules } from './rules.ts'
import { resolveForBlocks } from './rules-store.ts'

// What rules come to is kept with each block, so that to allocate costs the same with any rules.
// The callers have locked the scopes of the blocks.

const RuledBlock = Type.Object({
  id: Id,
  cidr: CidrText,
  version: Type.Union([Type.Literal(4), Type.Literal(6)]),
  gateway_ip: Nullable(Type.String()),
  allocate_network_address: Type.Boolean(),
  keeps_last_address: Type.Boolean(),
  default_quarantine_seconds: Type.Integer(),
  default_ipv6_generator: Nullable(Type.String()),
  own_strategy: Nullable(Type.String()),
  strategy: Type.String(),
  is_leaf: Type.Boolean(),
})
type RuledBlock = Static<typeof RuledBlock>

const columns = sql`
  b.id, b.cidr, family(b.cidr) as version, b.gateway_ip, b.allocate_network_address,
  b.keeps_last_address, b.default_quarantine_seconds, b.default_ipv6_generator, b.own_strategy, b.strategy, u.in_children = 0 as is_leaf`

/** What rules were changed on. */
export type Reach =
  | { readonly block_id: string }
  | { readonly scope_id: string }
  | { readonly network_id: string }
  | { readonly policy_id: string }

/** The ids of the scopes in which a change of rules is felt. */
export async function scopesOf(tx: Database, reach: Reach): Promise<string[]> {
  const found = await rows(tx, Type.Object({ scope_id: Id }))`
    select distinct b.scope_id from blocks b where ${reached(reach)} order by 1`
  return found.map(({ scope_id }) => scope_id)
}

/** Blocks `b` on which the rules are, and all below them. */
export function reached(reach: Reach): Sql {
  if ('scope_id' in reach) return sql`b.scope_id = ${reach.scope_id}`
  const [tops, scopes] =
    'block_id' in reach
      ? [sql`t.id = ${reach.block_id}`, sql`false`]
      : 'network_id' in reach
        ? [sql`t.network_id = ${reach.network_id} and t.is_network_top`, sql`false`]
        : [
            sql`(t.policy_id = ${reach.policy_id} or t.is_network_top and t.network_id in (
              select n.id from networks n where n.policy_id = ${reach.policy_id}))`,
            sql`b.scope_id in (
              select s.id from address_scopes s where s.policy_id = ${reach.policy_id})`,
          ]
  return sql`(${scopes} or exists (
    select from blocks t where t.scope_id = b.scope_id and t.cidr >>= b.cidr::inet and ${tops}))`
}

const batchMax = 500

/** Works the rules out anew for all that they reach. What somebody holds stays theirs. */
export async function applyRules(tx: Database, reach: Reach): Promise<void> {
  for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
    const found = await rows(tx, RuledBlock)`
      select ${columns} from blocks b join block_usage u on u.block_id = b.id
      where ${reached(reach)} and b.id > ${after} order by b.id limit ${batchMax}`
    const ids = found.map(({ id }) => id)
    if (ids.length === 0) return
    await tx.query(sql`select from lock_blocks(${ids})`)
    const rules = await resolveForBlocks(tx, ids)
    for (const block of found) await applyTo(tx, block, rules.get(block.id) ?? {})
    after = ids.at(-1) ?? after
  }
}

/** Works the rules of one block out anew; it is locked. */
export async function applyRulesTo(tx: Database, id: string): Promise<void> {
  const [block] = await rows(tx, RuledBlock)`
    select ${columns} from blocks b join block_usage u on u.block_id = b.id where b.id = ${id}`
  if (!block) throw new Error(`block ${id} went while it was locked`)
  await applyTo(tx, block, (await resolveForBlocks(tx, [id])).get(id) ?? {})
}

const generated = ['eui64', 'stable_private', 'tenant']

async function applyTo(tx: Database, block: RuledBlock, rules: ResolvedRules): Promise<void> {
  const said = rules.ipv6_generator?.value.kind ?? block.default_ipv6_generator ?? undefined
  const kind = block.version === 6 ? said : undefined
  const isGenerated = kind !== undefined && generated.includes(kind)
  const ruled = kind === undefined || isGenerated ? rules.strategy?.value : kind
  const strategy = block.own_strategy ?? ruled ?? 'sequential'
  const quarantine = rules.quarantine_seconds?.value ?? block.default_quarantine_seconds
  // Before a new strategy begins to keep ages: all that is free then is of the same age.
  if (block.is_leaf) await keepRanges(tx, block, rules)
  await tx.query(sql`
    update blocks set strategy = ${strategy},
      quarantine_seconds = ${quarantine},
      quarantine_reuse = ${rules.quarantine_reuse?.value === 'when_full'},
      ipv6_generator = ${isGenerated ? kind : null},
      utilisation_thresholds = ${rules.utilisation_thresholds?.value ?? []}
    where id = ${block.id} and (strategy, quarantine_seconds, quarantine_reuse, ipv6_generator,
      utilisation_thresholds) is distinct from (${strategy}::text,
      ${quarantine}::bigint,
      ${rules.quarantine_reuse?.value === 'when_full'}::boolean,
      ${isGenerated ? kind : null}::text, ${rules.utilisation_thresholds?.value ?? []}::smallint[])`)
  if (strategy !== block.strategy) {
    await tx.query(sql`select reset_ages(${block.id}, ${strategy === 'least_recently_used'})`)
  }
}

/** Lays out what a leaf keeps back. Its free space has what is neither kept back nor in use. */
async function keepRanges(tx: Database, block: RuledBlock, rules: ResolvedRules): Promise<void> {
  const show = (value: bigint) => formatAddress({ version: block.version as IpVersion, value })
  const kept = keptRanges(block, rules).map(({ first, last, ...why }) => {
    return { first: show(first), last: show(last), ...why }
  })
  const { octets, reason } = keptOctets(block, rules)
  const isOrdinary = !rules.exclusions && !rules.purposes
  await tx.query(sql`
    update blocks set excluded_octets_reason = ${reason}
    where id = ${block.id} and excluded_octets_reason is distinct from ${reason}`)
  await tx.query(sql`
    select keep_ranges(${block.id}, ${JSON.stringify(kept)}, ${isOrdinary ? null : octets},
      (select changed_at from block_usage where block_id = ${block.id}))`)
}
