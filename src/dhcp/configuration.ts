import { formatAddress, parseAddress } from '../ip/address.ts'
import { parsePrefix } from '../ip/prefix.ts'
import { type OptionDefinition, optionOf } from './options.ts'

/** What an option is set on. */
export type OptionSource = {
  readonly type: 'address_scope' | 'network' | 'block' | 'interface'
  readonly id: string
}

export const derivations = ['cidr', 'gateway_ip', 'dns_nameservers', 'routes', 'mtu'] as const
type Derivation = (typeof derivations)[number]

/** A value that is in force, who says so, and what of it it is worked out from, unless it is set. */
export type Sourced<V> = {
  readonly value: V
  readonly source: OptionSource
  readonly derived_from: Derivation | null
}

/**
 * An option as something says it, its value in canonical form. What a network says itself (its MTU)
 * stands behind the options that are set on it.
 */
export type SetOption = Sourced<unknown> & { readonly code: number }

/** What options are worked out from, where none are set. */
export type BlockFacts = {
  readonly id: string
  readonly cidr: string
  readonly version: 4 | 6
  readonly gateway_ip: string | null
  readonly dns_nameservers: readonly string[]
  readonly routes: readonly { readonly destination: string; readonly gateway: string }[]
}

/** An option that is in force. */
export type ConfiguredOption = Sourced<unknown> & { readonly option: OptionDefinition }

/** What of it machines are told. */
export type OptionValue = Pick<ConfiguredOption, 'option' | 'value'>

/**
 * The options for the machines of a block, by code. `set` is what is set on what the block is in, the
 * nearest first, all of the version of the block. What the block itself says (its gateway for one)
 * counts as near as an option on it, but behind such an option.
 */
export function mergeOptions(block: BlockFacts, set: readonly SetOption[]): ConfiguredOption[] {
  const isOwn = ({ source: { type, id } }: SetOption) =>
    type === 'interface' || (type === 'block' && id === block.id)
  const configured = new Map<number, ConfiguredOption>()
  const add = ({ code, ...said }: SetOption) => {
    if (!configured.has(code)) {
      configured.set(code, { option: optionOf(block.version, code), ...said })
    }
  }
  const addDerived = ({ code, value, from }: Derived) =>
    add({ code, value, source: { type: 'block', id: block.id }, derived_from: from })

  const own = set.filter(isOwn)
  const above = set.filter(one => !isOwn(one))
  for (const one of own) add(one)
  for (const one of derivedOptions(block)) addDerived(one)
  const router = configured.get(codes.router) ?? above.find(({ code }) => code === codes.router)
  if (block.version === 4) for (const one of classlessRoutes(block, router?.value)) addDerived(one)
  for (const one of above) add(one)
  return [...configured.values()].toSorted((a, b) => a.option.code - b.option.code)
}

type Derived = {
  readonly code: number
  readonly value: unknown
  readonly from: Derivation
}

/** Of DHCPv4 (RFC 2132, RFC 3442), and DHCPv6's DNS servers (RFC 3646). */
const codes = { subnet_mask: 1, router: 3, dns: 6, classless_routes: 121, dns6: 23 }

/** In DHCPv6 there are neither masks nor routers: routers announce themselves (RFC 4861 §4.2). */
function derivedOptions({ cidr, version, gateway_ip, dns_nameservers }: BlockFacts): Derived[] {
  const dns = dns_nameservers.filter(text => parseAddress(text)?.version === version)
  const dnsCode = version === 4 ? codes.dns : codes.dns6
  const derived: Derived[] =
    dns.length > 0 ? [{ code: dnsCode, value: dns, from: 'dns_nameservers' }] : []
  if (version === 6) return derived
  const length = parsePrefix(cidr)?.prefix.length ?? 32
  const mask = BigInt.asUintN(32, -1n << BigInt(32 - length))
  const value = formatAddress({ version, value: mask })
  derived.push({ code: codes.subnet_mask, value, from: 'cidr' })
  if (gateway_ip !== null) {
    derived.push({ code: codes.router, value: [gateway_ip], from: 'gateway_ip' })
  }
  return derived
}

/**
 * The routes of a block. Who gets them pays no heed to the routers, so that these are there as
 * the default route, too (RFC 3442).
 */
function classlessRoutes({ routes }: BlockFacts, routers: unknown): Derived[] {
  if (routes.length === 0) return []
  const value = routes.map(({ destination, gateway }) => ({ destination, gateway }))
  const [router] = Array.isArray(routers) ? routers : []
  const hasDefault = value.some(({ destination }) => destination === '0.0.0.0/0')
  if (!hasDefault && router) value.unshift({ destination: '0.0.0.0/0', gateway: String(router) })
  return [{ code: codes.classless_routes, value, from: 'routes' }]
}
