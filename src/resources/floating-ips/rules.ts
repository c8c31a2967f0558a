import type { ErrorCode } from '../../errors.ts'
import { publicScopeId } from '../address-scopes/schema.ts'

/** What is asked of an allocation that a floating IP shall point at; its block is locked. */
export type Target = {
  readonly scope_id: string
  readonly address: string
  readonly is_ended: boolean
  readonly has_lapsed: boolean
  readonly is_prefix: boolean
  /** The floating IP that it has already. */
  readonly floating_ip_id: string | null
}

/** Why a floating IP of this address cannot point at an allocation; null if it can. */
export function whyUnfit(
  floating: { readonly id: string; readonly address: string },
  target: Target,
): { readonly code: ErrorCode; readonly detail: string } | null {
  const { address } = target
  if (target.is_ended) return { code: 'allocation_ended', detail: `${address} has been released.` }
  if (target.has_lapsed)
    return { code: 'hold_expired', detail: `The hold of ${address} has lapsed.` }
  const unfit = whyNever(floating.address, target)
  if (unfit) return { code: 'private_allocation_unfit', detail: unfit }
  if (target.floating_ip_id === null || target.floating_ip_id === floating.id) return null
  const detail = `${address} has the floating IP ${target.floating_ip_id}.`
  return { code: 'private_allocation_associated', detail }
}

function whyNever(floatingAddress: string, { address, scope_id, is_prefix }: Target) {
  if (scope_id === publicScopeId) return `${address} is in the public address scope itself.`
  if (is_prefix) return `${address} is a prefix, not a single address.`
  const isOther = address.includes(':') !== floatingAddress.includes(':')
  return isOther ? `${address} and ${floatingAddress} are of different IP versions.` : null
}
