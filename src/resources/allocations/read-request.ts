import { IpamError } from '../../errors.ts'
import { canonicalAddress, canonicalPrefix } from '../../fields.ts'
import { newId } from '../../ids.ts'
import type { NewAllocations } from './allocator-store.ts'
import type { AllocationRequest } from './schema.ts'

/**
 * What a request wants; members that do not go together are refused.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readWanted(body: AllocationRequest): NewAllocations {
  refuseMixtures(body)
  const { address, families, count = 1 } = body
  const isOfNetwork = body.network_id !== undefined && address === undefined
  const versions = isOfNetwork ? [...(families ?? [4])].sort() : undefined
  return {
    block_id: body.block_id?.toLowerCase(),
    network_id: body.network_id?.toLowerCase(),
    families: versions,
    partial: body.partial,
    subnet_tags: body.subnet_tags,
    ids: Array.from({ length: count * (versions?.length ?? 1) }, newId),
    address: address === undefined ? undefined : readAllocated(address, 'address'),
    fallback: body.fallback === 'next' || undefined,
    prefix_length: body.prefix_length,
    contiguous: body.contiguous,
    purpose: body.purpose,
    one_per_owner: body.one_per_owner,
    lifetime_seconds: body.lifetime_seconds,
    project_id: body.project_id,
    owner_type: body.owner_type,
    owner_id: body.owner_id,
    name: body.name,
    tags: body.tags,
  }
}

function refuseMixtures(body: AllocationRequest): void {
  const { block_id, network_id, address, fallback, count, prefix_length } = body
  const refuse = (field: string, rule: string): never => {
    throw new IpamError('invalid_request', `${field}: ${rule}`, { field })
  }
  if ((block_id === undefined) === (network_id === undefined)) {
    refuse('block_id', 'name either a block or, as network_id, a network')
  }
  for (const field of ['families', 'partial', 'subnet_tags'] as const) {
    if (body[field] === undefined) continue
    if (network_id === undefined) refuse(field, 'goes with a network_id')
    if (address !== undefined) refuse(field, 'goes without an address')
  }
  if (network_id !== undefined && prefix_length !== undefined) {
    refuse('prefix_length', 'goes with a block_id')
  }
  if (network_id !== undefined && body.contiguous) refuse('contiguous', 'goes with a block_id')
  if (address !== undefined && count !== undefined) refuse('count', 'goes without an address')
  if (prefix_length !== undefined && count !== undefined) {
    refuse('count', 'goes without prefix_length')
  }
  if (address !== undefined && prefix_length !== undefined) {
    refuse('prefix_length', 'goes without an address; write the address as address/length')
  }
  if (fallback && address === undefined) refuse('fallback', 'goes with an address')
  if (fallback && address?.includes('/')) refuse('fallback', 'goes with a single address')
  if (body.contiguous && count === undefined) refuse('contiguous', 'goes with count')
  if (body.one_per_owner && body.owner_id === undefined) {
    refuse('one_per_owner', 'goes with an owner_id')
  }
  if (body.one_per_owner && count !== undefined) refuse('one_per_owner', 'goes without count')
}

/** An address, or a prefix; one of full length is the address. */
export function readAllocated(text: string, field: string): string {
  if (!text.includes('/')) return canonicalAddress(text, field)
  return canonicalPrefix(text, field).replace(/^([^:]+)\/32$|^(.+:.*)\/128$/, '$1$2')
}
