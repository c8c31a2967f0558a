import { canonicalDomain } from '../../dhcp/domain-names.ts'
import { IpamError } from '../../errors.ts'
import { canonicalAddress, canonicalPrefix } from '../../fields.ts'
import { addressBits, formatAddress, parseAddress } from '../../ip/address.ts'
import { type Prefix, parsePrefix, prefixRange } from '../../ip/prefix.ts'
import type { Range } from '../../ip/range.ts'
import { type BlockShape, prefixOf, reservedAddresses } from '../blocks/rules.ts'
import {
  type EffectiveRules,
  type Policy,
  type PolicyRulesRequest,
  purposeRangesMax,
  type RangeWords,
  type RangeWordsRequest,
  type RuleSource,
  type StoredPolicy,
  type StoredRules,
} from './schema.ts'

/** A policy at its place. A chain of these begins with the nearest. */
export type AttachedPolicy = {
  readonly policy: Pick<StoredPolicy, 'id' | 'name' | 'rules'>
  readonly attached_to: RuleSource['attached_to']
}

export type RuleName = keyof StoredRules
type ResolvedRule<R extends RuleName> = {
  readonly value: Required<StoredRules>[R]
  readonly source: RuleSource
}
/** The rules that apply, each with its source, also what no answer shows. */
export type ResolvedRules = { readonly [R in RuleName]?: ResolvedRule<R> }
type Resolved<R extends RuleName> = Pick<ResolvedRules, R>

/** Of each rule that a policy of the chain states, the nearest statement, as a whole. */
export function resolveRules(chain: readonly AttachedPolicy[]): ResolvedRules {
  const resolved: Record<string, unknown> = {}
  for (const { policy, attached_to } of chain) {
    const source: RuleSource = { policy_id: policy.id, policy_name: policy.name, attached_to }
    for (const [rule, value] of Object.entries(policy.rules)) resolved[rule] ??= { value, source }
  }
  return resolved
}

/** A policy as answers and events show it: without its secret. */
export function showPolicy(policy: StoredPolicy): Policy {
  const { ipv6_generator, ...rules } = policy.rules
  if (!ipv6_generator) return policy
  return { ...policy, rules: { ...rules, ipv6_generator: { kind: ipv6_generator.kind } } }
}

/** Resolved rules as answers show them: without a secret. */
export function showRules({ ipv6_generator, ...rules }: ResolvedRules): EffectiveRules {
  if (!ipv6_generator) return rules
  const { value, source } = ipv6_generator
  return { ...rules, ipv6_generator: { value: { kind: value.kind }, source } }
}

/** The block whose addresses are kept back; by its id the source of a rule is told from itself. */
export type RuledBlock = BlockShape & { readonly id: string }

/** Addresses that are not given to everybody: to nobody, or only for a purpose. */
export type KeptRange = Range & { readonly purpose: string | null; readonly reason: string }

/**
 * What a block that gives out addresses keeps back, lowest first and nothing twice: its own
 * reserved addresses, then what its policy excludes, then what is for a purpose. Of what overlaps
 * the earlier counts. Last octets are not among it: they would be too many (see `keptOctets`).
 */
export function keptRanges(
  block: RuledBlock,
  { exclusions, purposes }: Resolved<'exclusions' | 'purposes'>,
): KeptRange[] {
  const prefix = prefixOf(block)
  const kept: KeptRange[] = reservedAddresses(block).map(({ value, reason }) => {
    return { first: value, last: value, purpose: null, reason }
  })
  if (exclusions) {
    const because = reasonsOf(exclusions.source, block.id)
    for (const { range, words } of namedRanges(prefix, exclusions.value)) {
      kept.push({ ...range, purpose: null, reason: because(`, ${words}`) })
    }
  }
  if (purposes) {
    const because = reasonsOf(purposes.source, block.id)
    for (const { purpose, ...named } of purposes.value) {
      const reason = because(`, only for \`${purpose}\``)
      for (const { range } of namedRanges(prefix, named)) kept.push({ ...range, purpose, reason })
    }
  }
  return layRanges(kept)
}

/** The ranges of a block that a policy names, as far as they are in it, and how it names them. */
function* namedRanges(
  prefix: Prefix,
  { offsets = [], first: atStart, last: atEnd, addresses = [] }: RangeWords,
): Generator<{ range: Range; words: string }> {
  const { first, last } = prefixRange(prefix)
  const clip = (from: bigint, to: bigint, words: string) => {
    const range = { first: from < first ? first : from, last: to > last ? last : to }
    return range.first <= range.last ? [{ range, words }] : []
  }
  const place = (offset: string) => BigInt(offset) + (offset.startsWith('-') ? last + 1n : first)

  for (const { from, to } of offsets) {
    const words = from === to ? `offset ${from}` : `offsets ${from} to ${to}`
    yield* clip(place(from), place(to), words)
  }
  if (atStart) yield* clip(first, first + BigInt(atStart) - 1n, `first ${atStart}`)
  if (atEnd) yield* clip(last + 1n - BigInt(atEnd), last, `last ${atEnd}`)
  for (const text of addresses) {
    const { version, range } = readNamed(text)
    if (version === prefix.version) yield* clip(range.first, range.last, text)
  }
}

/** An address or CIDR of a policy; `readRules` has seen to it that it is one. */
function readNamed(text: string) {
  const prefix = text.includes('/') ? parsePrefix(text)?.prefix : null
  if (prefix) return { version: prefix.version, range: prefixRange(prefix) }
  const address = parseAddress(text)
  if (!address) throw new RangeError(`neither an address nor a CIDR: ${text}`)
  return { version: address.version, range: { first: address.value, last: address.value } }
}

type Layer = { readonly range: KeptRange; readonly rank: number }

/** Lays ranges over each other, the first of them on top; neighbours that say the same are one. */
function layRanges(ranges: readonly KeptRange[]): KeptRange[] {
  const ahead: Layer[] = ranges
    .map((range, rank) => ({ range, rank }))
    .sort((a, b) => (a.range.first > b.range.first ? -1 : 1))
  const open: Layer[] = [] // What has begun, by rank. What has ended goes once it is on top.
  const laid: KeptRange[] = []
  let at = -1n // Every address below is decided.
  for (;;) {
    for (let next = ahead.at(-1); next && next.range.first <= at; next = ahead.at(-1)) {
      ahead.pop()
      addLayer(open, next)
    }
    while (open[0] && open[0].range.last < at) open.shift()
    const [top, next] = [open[0]?.range, ahead.at(-1)?.range]
    if (!top && !next) return laid
    if (top) {
      const last = next && next.first <= top.last ? next.first - 1n : top.last
      joinRange(laid, { ...top, first: at, last })
      at = last + 1n
    } else if (next) at = next.first
  }
}

function addLayer(open: Layer[], layer: Layer): void {
  const [top] = open
  const isHidden = top && top.rank < layer.rank && layer.range.last <= top.range.last
  if (!isHidden) open.splice(open.findLastIndex(({ rank }) => rank < layer.rank) + 1, 0, layer)
}

function joinRange(laid: KeptRange[], range: KeptRange): void {
  const before = laid.at(-1)
  const isOne =
    before?.last === range.first - 1n &&
    before.purpose === range.purpose &&
    before.reason === range.reason
  if (isOne) laid[laid.length - 1] = { ...range, first: before.first }
  else laid.push(range)
}

/** The last octets that a block does not give out, and why, with `{octet}` for the one meant. */
export function keptOctets(
  block: Pick<RuledBlock, 'id'>,
  { exclusions }: Resolved<'exclusions'>,
): { readonly octets: readonly number[]; readonly reason: string | null } {
  const octets = exclusions?.value.last_octets ?? []
  if (!exclusions || octets.length === 0) return { octets, reason: null }
  return { octets, reason: reasonsOf(exclusions.source, block.id)(', last octet {octet}') }
}

/**
 * Why a block, or a scope if there is no block above, may not have a child of this prefix; null if
 * it may.
 */
export function childRefusal(
  { child_prefix_lengths: rule }: Resolved<'child_prefix_lengths'>,
  { parent_id, prefix }: { readonly parent_id: string | null; readonly prefix: Prefix },
): string | null {
  const limits = rule?.value[prefix.version === 4 ? 'ipv4' : 'ipv6']
  if (!rule || !limits) return null
  const { min = 0, max = addressBits(prefix.version) } = limits
  if (min <= prefix.length && prefix.length <= max) return null
  const because = reasonsOf(rule.source, parent_id)
  if (min === max) return because(` allows children of /${min}`)
  if (limits.max === undefined) return because(` allows children of /${min} and longer`)
  if (limits.min === undefined) return because(` allows children of /${max} and shorter`)
  return because(` allows children of /${min} to /${max}`)
}

/** Says what a rule does to a block, with the policy that states it and where that is attached. */
function reasonsOf({ policy_name, attached_to }: RuleSource, block_id: string | null) {
  const { type, id, name } = attached_to
  const kind = { block: '', network: 'network ', address_scope: 'address scope ' }[type]
  const origin = type === 'block' && id === block_id ? '' : `, inherited from ${kind}${name}`
  return (words: string) => `policy \`${policy_name}\`${words}${origin}`
}

/** How far an offset or a count may reach: to the other end of all IPv6 addresses. */
const numberMax = 1n << 128n

/** What a policy is, whatever its rules. */
type PolicyFacts = {
  /** For `stable_private` addresses where a request has none. */
  readonly secret: string
  readonly project_id: string | null
}

/**
 * The rules of a request in the one spelling in which they are kept: numbers as decimal texts,
 * canonical addresses, sets in order.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readRules(
  rules: PolicyRulesRequest,
  { secret, project_id }: PolicyFacts,
): StoredRules {
  const { exclusions, ipv6_generator, purposes, child_prefix_lengths, ...rest } = rules
  const { utilisation_thresholds: thresholds, boot_files, ...kept } = rest
  // Addresses of others are used up by nobody's policy but that of all.
  const whose = kept.unknown_clients?.project_id ?? project_id
  if (project_id !== null && whose !== project_id) {
    refuse('rules/unknown_clients/project_id', 'is not the project of the policy')
  }
  for (const version of ['ipv4', 'ipv6'] as const) {
    const { min = 0, max = 128 } = child_prefix_lengths?.[version] ?? {}
    if (min > max) refuse(`rules/child_prefix_lengths/${version}/min`, 'is greater than `max`')
  }
  return {
    ...kept,
    ...(exclusions && { exclusions: readExclusions(exclusions) }),
    ...(ipv6_generator && { ipv6_generator: readGenerator(ipv6_generator, secret) }),
    ...(purposes && { purposes: readPurposes(purposes) }),
    ...(child_prefix_lengths && { child_prefix_lengths }),
    ...(thresholds && { utilisation_thresholds: inOrder(thresholds) }),
    ...(boot_files && { boot_files: boot_files.map(readBootFile) }),
  }
}

function readBootFile(
  { architectures, server = null, file }: Required<PolicyRulesRequest>['boot_files'][number],
  index: number,
) {
  return { architectures: inOrder(architectures), server: readServer(server, index), file }
}

function readServer(text: string | null, index: number): string | null {
  if (text === null) return null
  const address = parseAddress(text)
  const server = address ? formatAddress(address) : canonicalDomain(text)
  if (server !== null) return server
  return refuse(
    `rules/boot_files/${index}/server`,
    `"${text}" is neither an address nor a domain name`,
  )
}

function readExclusions({ last_octets, ...words }: Required<PolicyRulesRequest>['exclusions']) {
  return {
    ...readWords(words, 'rules/exclusions'),
    ...(last_octets && { last_octets: inOrder(last_octets) }),
  }
}

function readGenerator(
  { kind, secret: given }: Required<PolicyRulesRequest>['ipv6_generator'],
  secret: string,
) {
  if (kind === 'stable_private') return { kind, secret: given ?? secret }
  if (given !== undefined) refuse('rules/ipv6_generator/secret', 'is for `stable_private` only')
  return { kind }
}

function readPurposes(purposes: Required<PolicyRulesRequest>['purposes']) {
  const names = new Set<string>()
  let ranges = 0
  return purposes.map(({ purpose, ...words }, index) => {
    const field = `rules/purposes/${index}`
    if (names.has(purpose)) refuse(`${field}/purpose`, `"${purpose}" is there already`)
    names.add(purpose)
    if (Object.keys(words).length === 0) {
      refuse(field, 'names no addresses: say which, by first, last, offsets or addresses')
    }
    ranges += (words.offsets?.length ?? 0) + (words.addresses?.length ?? 0)
    if (ranges > purposeRangesMax) {
      refuse('rules/purposes', `list more than ${purposeRangesMax} offsets and addresses`)
    }
    return { purpose, ...readWords(words, field) }
  })
}

function readWords(
  { offsets, first, last, addresses }: RangeWordsRequest,
  field: string,
): RangeWords {
  return {
    ...(offsets && {
      offsets: offsets.map(({ from, to }, index) => ({
        from: readNumber(from, `${field}/offsets/${index}/from`),
        to: readNumber(to, `${field}/offsets/${index}/to`),
      })),
    }),
    ...(first !== undefined && { first: readNumber(first, `${field}/first`) }),
    ...(last !== undefined && { last: readNumber(last, `${field}/last`) }),
    ...(addresses && {
      addresses: addresses.map((text, index) => {
        const place = `${field}/addresses/${index}`
        return text.includes('/') ? canonicalPrefix(text, place) : canonicalAddress(text, place)
      }),
    }),
  }
}

function readNumber(number: number | string, field: string): string {
  const value = BigInt(number)
  if (value < -numberMax || value > numberMax) refuse(field, 'is beyond 2^128')
  return String(value)
}

const inOrder = (numbers: readonly number[]) => [...new Set(numbers)].sort((a, b) => a - b)

function refuse(field: string, rule: string): never {
  throw new IpamError('invalid_request', `${field}: ${rule}`, { field })
}
