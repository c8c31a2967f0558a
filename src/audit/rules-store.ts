import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { formatAddress } from '../ip/address.ts'
import { keptOctets, keptRanges, type ResolvedRules } from '../resources/policies/rules.ts'
import { resolveForBlocks } from '../resources/policies/rules-store.ts'

/** A block, and what it keeps of its rules. */
const RuledBlock = Type.Object({
  id: Type.String(),
  cidr: Type.String(),
  version: Type.Union([Type.Literal(4), Type.Literal(6)]),
  gateway_ip: Type.Union([Type.String(), Type.Null()]),
  allocate_network_address: Type.Boolean(),
  keeps_last_address: Type.Boolean(),
  default_quarantine_seconds: Type.Integer(),
  default_ipv6_generator: Type.Union([Type.String(), Type.Null()]),
  own_strategy: Type.Union([Type.String(), Type.Null()]),
  is_leaf: Type.Boolean(),
  kept: Type.Record(Type.String(), Type.Unknown()),
})
type RuledBlock = Static<typeof RuledBlock>

const KeptRange = Type.Object({
  block_id: Type.String(),
  first: Type.String(),
  last: Type.String(),
  purpose: Type.Union([Type.String(), Type.Null()]),
  reason: Type.String(),
})

/** Policies may lay thousands of ranges on a block: so many blocks are in memory at once. */
const batchMax = 100

type Stale = { readonly subject: string; readonly detail: string }

/** What is kept with blocks, but is not what the policies above them come to (I3). */
export async function* findStaleRules(tx: Database): AsyncGenerator<Stale> {
  for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
    const blocks = await rows(tx, RuledBlock)`
      select b.id, b.cidr, family(b.cidr) as version, b.gateway_ip, b.allocate_network_address,
        b.keeps_last_address, b.default_quarantine_seconds, b.default_ipv6_generator,
        b.own_strategy, not exists (select from blocks c where c.parent_id = b.id) as is_leaf,
        jsonb_build_object('strategy', b.strategy, 'quarantine_seconds', b.quarantine_seconds,
          'quarantine_reuse', b.quarantine_reuse, 'ipv6_generator', b.ipv6_generator,
          'utilisation_thresholds', b.utilisation_thresholds,
          'excluded_octets', b.excluded_octets, 'reason of octets', b.excluded_octets_reason) as kept
      from blocks b where b.id > ${after} order by b.id limit ${batchMax}`
    const ids = blocks.map(({ id }) => id)
    if (ids.length === 0) return
    const rules = await resolveForBlocks(tx, ids)
    const ranges = await rows(tx, KeptRange)`
      select block_id, first, last, purpose, reason from kept_ranges
      where block_id = any (${ids}::uuid[]) order by block_id, last`
    const found = new Map(ids.map((id): [string, string[]] => [id, []]))
    for (const range of ranges) found.get(range.block_id)?.push(showRange(range))
    for (const block of blocks) {
      for (const detail of compare(block, found.get(block.id) ?? [], rules.get(block.id) ?? {})) {
        yield { subject: `${block.cidr} ${block.id}`, detail }
      }
    }
    after = ids.at(-1) ?? after
  }
}

type Shown = { first: string; last: string; purpose: string | null; reason: string }

const showRange = ({ first, last, purpose, reason }: Shown) =>
  `${first}-${last} for ${purpose ?? 'nobody'} (${reason})`

function* compare(block: RuledBlock, found: readonly string[], rules: ResolvedRules) {
  const wanted = settingsOf(block, rules)
  for (const [name, value] of Object.entries(wanted)) {
    const [kept, said] = [block.kept[name], value].map(one => JSON.stringify(one))
    if (kept !== said) yield `${name} ${kept} is kept, ${said} is what policies say`
  }
  const said = new Set(block.is_leaf ? rangesSaid(block, rules) : [])
  for (const range of found) {
    if (!said.delete(range)) yield `${range} is kept, and not what policies say`
  }
  for (const range of said) yield `${range} is what policies say, and not kept`
}

function rangesSaid(block: RuledBlock, rules: ResolvedRules): string[] {
  const show = (value: bigint) => formatAddress({ version: block.version, value })
  return keptRanges(block, rules).map(({ first, last, purpose, reason }) =>
    showRange({ first: show(first), last: show(last), purpose, reason }),
  )
}

/** The columns of a block that rules decide; a container keeps no addresses back. */
function settingsOf(block: RuledBlock, rules: ResolvedRules): Record<string, unknown> {
  const said = rules.ipv6_generator?.value.kind ?? block.default_ipv6_generator
  const kind = block.version === 6 ? said : null
  const isStrategy = kind === 'sequential' || kind === 'random'
  const { octets, reason } = keptOctets(block, rules)
  const isRuled = block.is_leaf && (rules.exclusions || rules.purposes)
  return {
    strategy: block.own_strategy ?? (isStrategy ? kind : rules.strategy?.value) ?? 'sequential',
    quarantine_seconds: rules.quarantine_seconds?.value ?? block.default_quarantine_seconds,
    quarantine_reuse: rules.quarantine_reuse?.value === 'when_full',
    ipv6_generator: isStrategy ? null : kind,
    utilisation_thresholds: rules.utilisation_thresholds?.value ?? [],
    excluded_octets: isRuled ? octets : null,
    'reason of octets': isRuled ? reason : null,
  }
}
