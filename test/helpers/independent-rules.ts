import { endOf, hex, toNumber } from './bytes.ts'
import type { Query } from './direct-sql.ts'

// What policies come to for each block, worked out anew from their JSON.

type Kept = { readonly first: bigint; readonly last: bigint; readonly purpose: string | null }
/** What a leaf keeps back; where ranges overlap, the first of them counts. */
export type Expected = { readonly kept: readonly Kept[] }

type Words = {
  readonly purpose?: string
  readonly offsets?: readonly { readonly from: string; readonly to: string }[]
  readonly first?: string
  readonly last?: string
  readonly addresses?: readonly string[]
}
type Rules = {
  readonly exclusions?: Words & { readonly last_octets?: readonly number[] }
  readonly purposes?: readonly Words[]
  readonly strategy?: string
  readonly quarantine_seconds?: number
  readonly quarantine_reuse?: string
  readonly ipv6_generator?: { readonly kind: string }
  readonly utilisation_thresholds?: readonly number[]
}
type Row = Readonly<Record<string, unknown>>

const blocks = `
  select b.id, b.parent_id, b.cidr, family(b.cidr) as family, masklen(b.cidr) as length,
    ${hex('b.cidr::inet')} as first, ${hex('b.gateway_ip')} as gateway, b.allocate_network_address,
    coalesce(b.gateway_ip <<= b.cidr, false) as has_gateway,
    exists (select from blocks c where c.parent_id = b.id) as is_parent,
    b.policy_id, case when b.is_network_top then n.policy_id end as policy_of_network,
    case when b.parent_id is null then s.policy_id end as policy_of_scope,
    b.own_strategy, b.strategy, b.quarantine_seconds::int, b.quarantine_reuse, b.ipv6_generator,
    b.utilisation_thresholds, b.excluded_octets
  from blocks b join address_scopes s on s.id = b.scope_id
    left join networks n on n.id = b.network_id`

const addresses = `
  select distinct a.text, family(a.text::inet) as family, masklen(a.text::inet) as length,
    ${hex('a.text::inet')} as first
  from policies p, jsonb_path_query(p.rules, '$.**.addresses[*]') j,
    lateral (select j #>> '{}') a (text)`

/** By the ids of blocks; and what is kept with blocks that is not as expected. */
export async function expectRules(query: Query) {
  const found = await query(blocks)
  const byId = new Map(found.map(block => [block.id, block]))
  const policies = new Map(
    (await query('select id, rules from policies')).map(({ id, rules }) => [id, rules as Rules]),
  )
  const named = new Map((await query(addresses)).map(row => [String(row.text), row]))
  const faults: string[] = []
  const expected = new Map<unknown, Expected>()
  for (const block of found) {
    let rules: Rules = {}
    for (let at: Row | undefined = block; at; at = byId.get(at.parent_id)) {
      for (const id of [at.policy_id, at.policy_of_network, at.policy_of_scope]) {
        rules = { ...policies.get(id), ...rules }
      }
    }
    expected.set(block.id, { kept: block.is_parent ? [] : keptBy(block, rules, named) })
    for (const [name, value] of Object.entries(settingsBy(block, rules))) {
      const [kept, said] = [JSON.stringify(block[name]), JSON.stringify(value)]
      if (kept !== said) faults.push(`${block.cidr} has ${name} ${kept}, rules say ${said}`)
    }
  }
  return Object.assign(expected, { faults })
}

function settingsBy(block: Row, rules: Rules): Row {
  const generator = block.family === 6 ? (rules.ipv6_generator?.kind ?? null) : null
  const isGenerated = ['eui64', 'stable_private', 'tenant'].includes(String(generator))
  const isRuled = !block.is_parent && (rules.exclusions || rules.purposes)
  const ruled = generator && !isGenerated ? generator : rules.strategy
  return {
    strategy: block.own_strategy ?? ruled ?? 'sequential',
    quarantine_seconds: rules.quarantine_seconds ?? 0,
    quarantine_reuse: rules.quarantine_reuse === 'when_full',
    ipv6_generator: isGenerated ? generator : null,
    utilisation_thresholds: rules.utilisation_thresholds ?? [],
    excluded_octets: isRuled ? (rules.exclusions?.last_octets ?? []) : null,
  }
}

/** The network's own addresses, then what is for nobody, then what is for a purpose. */
function keptBy(block: Row, rules: Rules, named: ReadonlyMap<string, Row>): Kept[] {
  const [family, length] = [Number(block.family), Number(block.length)]
  const first = toNumber(block.first)
  const last = endOf(first, family, length)
  const kept: Kept[] = []
  const keep = (from: bigint, to: bigint, purpose: string | null = null) => {
    const part = { first: from < first ? first : from, last: to > last ? last : to, purpose }
    if (part.first <= part.last) kept.push(part)
  }
  const hasEnds = family === 4 ? length < 31 : length >= 64 && length < 127
  if (hasEnds && !block.allocate_network_address) keep(first, first)
  if (hasEnds && family === 4) keep(last, last)
  if (block.has_gateway) keep(toNumber(block.gateway), toNumber(block.gateway))
  const at = (offset: string) => BigInt(offset) + (BigInt(offset) < 0n ? last + 1n : first)
  for (const words of [rules.exclusions ?? {}, ...(rules.purposes ?? [])]) {
    const { purpose = null } = words
    for (const { from, to } of words.offsets ?? []) keep(at(from), at(to), purpose)
    keep(first, first + BigInt(words.first ?? 0) - 1n, purpose)
    keep(last - BigInt(words.last ?? 0) + 1n, last, purpose)
    for (const text of words.addresses ?? []) {
      const address = named.get(text)
      if (!address || Number(address.family) !== family) continue
      const start = toNumber(address.first)
      keep(start, endOf(start, family, Number(address.length)), purpose)
    }
  }
  return kept
}
