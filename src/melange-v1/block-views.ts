import { formatAddress, parseAddress } from '../ip/address.ts'
import { type Prefix, prefixRange } from '../ip/prefix.ts'
import type { BlockOrigin } from '../resources/blocks/create-store.ts'
import { canBeGateway, prefixOf } from '../resources/blocks/rules.ts'
import type { BlockRow, EmptyMember } from './block-store.ts'
import type { Settings } from './settings.ts'
import { readAddress, showMask, Timestamp } from './values.ts'

const canonical = (text: string): string | null => {
  const address = parseAddress(text)
  return address && formatAddress(address)
}

/**
 * What is said of a block: as it was given here, unless it has been changed elsewhere since.
 */
export function describe(block: BlockRow, settings: Settings) {
  const none = (member: EmptyMember) => (block.empty_members.includes(member) ? '' : null)
  return {
    gateway: gatewayOf(block),
    ...nameservers(block, settings),
    policy_id: block.policy_id ?? none('policy_id'),
    network: block.network ?? none('network_id'),
  }
}

function gatewayOf(block: BlockRow): string | null {
  const { gateway, gateway_ip } = block
  if (gateway === null || gateway === '') return gateway_ip ?? gateway
  const address = readAddress(gateway)
  if (gateway_ip === null) {
    // One that cannot be a gateway elsewhere is only known here.
    return address && canBeGateway({ ...block, gateway_ip: null }, address) ? null : gateway
  }
  return address && formatAddress(address) === gateway_ip ? gateway : gateway_ip
}

function nameservers({ dns1, dns2, dns_nameservers: now }: BlockRow, settings: Settings) {
  const given = [dns1, dns2].flatMap(text => (text === null ? [] : [canonical(text)]))
  const known = [...new Set(given.filter(address => address !== null))]
  const isSame = dns1 !== null && dns2 !== null && known.every((one, n) => one === now[n])
  if (isSame && now.length >= known.length) return { dns1, dns2 }
  return { dns1: now[0] ?? settings.dns1, dns2: now[1] ?? settings.dns2 }
}

/** The part of a block that stands beside its addresses too. */
export function showBlockPart(block: BlockRow, settings: Settings) {
  const prefix = prefixOf(block)
  const { policy_id: _, network, ...said } = describe(block, settings)
  return {
    id: block.id,
    cidr: block.cidr,
    tenant_id: block.tenant_id,
    network_id: network,
    broadcast: formatAddress({ version: prefix.version, value: prefixRange(prefix).last }),
    netmask: showMask(prefix),
    ...said,
  }
}

export function showBlock(block: BlockRow, settings: Settings) {
  return {
    ...showBlockPart(block, settings),
    type: block.is_public ? 'public' : 'private',
    parent_id: block.parent_id,
    policy_id: describe(block, settings).policy_id,
    created_at: new Timestamp(block.created_at),
    updated_at: new Timestamp(block.updated_at),
  }
}

const daySeconds = 86_400

/** How blocks of this API differ from others. */
export function originOf({ version }: Prefix, settings: Settings): BlockOrigin {
  return {
    keeps_last_address: true,
    inherits_block_rules: false,
    default_quarantine_seconds: settings.keep_deallocated_ips_for_days * daySeconds,
    default_ipv6_generator: version === 6 ? settings.ipv6_generator : null,
  }
}
