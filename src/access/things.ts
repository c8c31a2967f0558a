import { IpamError } from '../errors.ts'
import type { RuleName } from '../policy/defaults.ts'

/** What has an id and an owner, and in words. */
export const things = {
  address_scope: 'address scope',
  network: 'network',
  block: 'block',
  policy: 'policy',
  allocation: 'allocation',
  floating_ip: 'floating IP',
  nat_mapping: 'NAT mapping',
  mac_range: 'MAC range',
  mac: 'MAC',
  interface: 'interface',
  grant: 'grant',
  token: 'token',
} as const
export type Kind = keyof typeof things

/** A thing that a request names. */
export type Named = {
  readonly kind: Kind
  readonly id: string
  /** The member of the request that names it. */
  readonly field: string
}

/** The rule that decides who sees things of a kind. */
export const seenBy = {
  address_scope: 'address_scopes:get',
  network: 'networks:get',
  block: 'blocks:get',
  policy: 'policies:get',
  allocation: 'allocations:get',
  floating_ip: 'floating_ips:get',
  nat_mapping: 'nat_mappings:get',
  mac_range: 'mac_ranges:get',
  mac: 'macs:get',
  interface: 'interfaces:get',
  grant: 'grants:get',
  token: 'tokens:get',
} as const satisfies Record<Kind, RuleName>

/** The parameters of paths, and members of bodies, that name things. */
export const namedBy: Readonly<Record<string, Kind>> = {
  scope_id: 'address_scope',
  network_id: 'network',
  block_id: 'block',
  parent_id: 'block',
  policy_id: 'policy',
  allocation_id: 'allocation',
  private_allocation_id: 'allocation',
  inside_local_id: 'allocation',
  inside_global_id: 'allocation',
  floating_ip_id: 'floating_ip',
  nat_mapping_id: 'nat_mapping',
  range_id: 'mac_range',
  mac_range_id: 'mac_range',
  mac_id: 'mac',
  interface_id: 'interface',
  grant_id: 'grant',
  token_id: 'token',
}

/** The answer to whoever names a thing that is not there, or that he may not see. */
export const notFound = (
  { kind, id }: Pick<Named, 'kind' | 'id'>,
  facts: { field?: string } = {},
) => new IpamError(`${kind}_not_found`, `There is no ${things[kind]} ${id}.`, facts)
