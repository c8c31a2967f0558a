import { configurationErrors } from './configuration-errors.ts'
import { floatingIpErrors } from './floating-ip-errors.ts'
import { grantErrors } from './grant-errors.ts'
import { interfaceErrors } from './interface-errors.ts'
import { leaseErrors } from './lease-errors.ts'
import { serverErrors } from './server-errors.ts'
import { tokenErrors } from './token-errors.ts'

/** Every failure a client can meet: the code is the contract, the text may change. */
export const errorCatalogue = {
  invalid_request: {
    status: 400,
    title: 'The request is not well formed',
    advice: 'Correct the member that `field` names; `detail` says what it must be.',
  },
  cidr_has_host_bits: {
    status: 400,
    title: 'The CIDR has bits set to the right of its prefix length',
    advice: 'Use the network that `suggestion` names, or a longer prefix length.',
  },
  network_not_found: {
    status: 404,
    title: 'Network not found',
    advice: 'List the networks, or create it first.',
  },
  marker_invalid: {
    status: 400,
    title: 'The marker is not one that this list gave',
    advice: 'Start again without `marker`, with the same filters and sort for every page.',
  },
  authentication_required: {
    status: 401,
    title: 'A valid token is needed',
    advice: 'Send the token as `X-Auth-Token: TOKEN` or `Authorization: Bearer TOKEN`.',
  },
  forbidden: {
    status: 403,
    title: 'The policy does not allow this',
    advice:
      'The detail names the rule. `melange policy check` on the server says what it asks for.',
  },
  route_not_found: {
    status: 404,
    title: 'There is nothing at this path',
    advice: 'See `/v2/openapi.json` for the paths and their methods.',
  },
  address_scope_not_found: {
    status: 404,
    title: 'Address scope not found',
    advice: 'List the address scopes; `public` names the built-in one.',
  },
  block_not_found: {
    status: 404,
    title: 'Block not found',
    advice: 'List the blocks; it may have been deleted.',
  },
  allocation_not_found: {
    status: 404,
    title: 'Allocation not found',
    advice: 'Look it up by address or owner; ended allocations are found with `state=all`.',
  },
  policy_not_found: {
    status: 404,
    title: 'Policy not found',
    advice: 'List the policies; it may have been deleted.',
  },
  quota_not_found: {
    status: 404,
    title: 'No such limits are set',
    advice: 'List the quotas; without limits of its own a project has those of `default`.',
  },
  address_scope_name_taken: {
    status: 409,
    title: 'The project has an address scope of this name',
    advice: 'Choose another name.',
  },
  address_scope_not_empty: {
    status: 409,
    title: 'The address scope still has blocks',
    advice: 'Delete the blocks first.',
  },
  address_scope_built_in: {
    status: 409,
    title: 'The public address scope is built in: only its policy can change',
    advice: 'Create a private address scope for what is yours.',
  },
  network_exists: {
    status: 409,
    title: 'There is a network of this id',
    advice: 'Use it, change it with PATCH, or leave `id` out to get a new one.',
  },
  network_has_subnets: {
    status: 409,
    title: 'The network still has blocks',
    advice: 'Delete the blocks that name it as `network_id` first.',
  },
  mtu_too_small: {
    status: 409,
    title: 'IPv6 needs a network whose MTU is 1280 or more',
    advice: 'Raise the `mtu` of the network, or set it to null.',
  },
  block_overlaps: {
    status: 409,
    title: 'The block overlaps others beside it',
    advice:
      'Choose free space. To cut from an existing block name it as `parent_id`; to put the new block above those inside it set `adopt_children`.',
  },
  block_overlaps_in_network: {
    status: 409,
    title: 'The block overlaps another block of its network',
    advice: 'Choose another CIDR, or another network.',
  },
  block_outside_parent: {
    status: 409,
    title: 'The block does not lie inside its parent',
    advice: 'Choose a CIDR inside the parent, or grow the parent first.',
  },
  block_network_differs: {
    status: 409,
    title: 'The block and its parent belong to different networks',
    advice: 'Leave `network_id` out to inherit it, or use a parent that has no network.',
  },
  block_has_children: {
    status: 409,
    title: 'The block has children, so it gives out no addresses and cannot be deleted',
    advice: 'Allocate from one of its children; delete them before the block.',
  },
  block_has_allocations: {
    status: 409,
    title: 'The block holds allocations, so it cannot have children',
    advice:
      'Release the allocations and end their quarantine, or cut the child from another block.',
  },
  block_in_use: {
    status: 409,
    title: 'Something would be lost: the block holds allocations or children there',
    advice: 'Release or delete what `conflicts` names first, or end its quarantine.',
  },
  block_cannot_move: {
    status: 409,
    title: 'A block can grow or shrink, but not move',
    advice: 'Use a CIDR that contains the present one or lies inside it.',
  },
  gateway_unusable: {
    status: 409,
    title: 'The gateway address cannot be used',
    advice:
      'Use an address inside the block that is neither its network nor its broadcast address, or an IPv6 link-local one.',
  },
  gateway_taken: {
    status: 409,
    title: 'Somebody holds the gateway address',
    advice: 'Release the allocation that `conflicts` names, or choose another gateway.',
  },
  network_full: {
    status: 409,
    title: 'No subnet of the network has enough free addresses',
    advice:
      'Add a subnet to the network, release addresses, or ask for fewer `families` with `partial`.',
  },
  no_subnet: {
    status: 409,
    title: 'The network has no subnet for this request',
    advice: 'Create a block with this `network_id`, or ask for other `families` or `subnet_tags`.',
  },
  generator_needs_input: {
    status: 409,
    title: 'The policy makes addresses from what the request does not tell',
    advice: 'Send `mac_address` or `interface_id`, or the `address` itself.',
  },
  quota_exceeded: {
    status: 409,
    title: 'The project has reached its quota',
    advice: 'Release what is not needed, or have the quota raised.',
  },
  block_full: {
    status: 409,
    title: 'The block has not enough free addresses',
    advice: 'Release addresses, ask for fewer, or use another block.',
  },
  policy_name_taken: {
    status: 409,
    title: 'The project has a policy of this name',
    advice: 'Choose another name.',
  },
  policy_in_use: {
    status: 409,
    title: 'The policy is attached to something',
    advice: 'Attach another policy there, or none, first.',
  },
  prefix_length_refused: {
    status: 409,
    title: 'A policy does not allow blocks of this prefix length here',
    advice: 'Choose a prefix length that the policy in `detail` allows.',
  },
  no_free_prefix: {
    status: 409,
    title: 'The block has no free prefix of this length',
    advice: 'Ask for a longer prefix length; see the free prefixes of the block.',
  },
  address_taken: {
    status: 409,
    title: 'Somebody holds the address',
    advice: 'Ask for another address, or for the next free one with `"fallback": "next"`.',
  },
  prefix_taken: {
    status: 409,
    title: 'Somebody holds addresses of the prefix',
    advice: 'Ask for another prefix.',
  },
  address_excluded: {
    status: 409,
    title: 'The address is kept back',
    advice: 'Ask for another, or change the rule that `detail` names.',
  },
  address_quarantined: {
    status: 409,
    title: 'The address is in quarantine',
    advice: 'Ask for another. Who had it last can take it back; an operator can free it early.',
  },
  address_outside_block: {
    status: 409,
    title: 'The address is not in the block',
    advice: 'Ask for an address inside the CIDR of the block.',
  },
  allocation_ended: {
    status: 409,
    title: 'The allocation has ended',
    advice: 'Restore it while its address is in quarantine, or allocate anew.',
  },
  allocation_not_ended: {
    status: 409,
    title: 'The allocation has not ended',
    advice: 'There is nothing to restore: it is still held.',
  },
  allocation_not_held: {
    status: 409,
    title: 'The allocation is no hold',
    advice: 'It is confirmed and does not expire: there is nothing to renew or to confirm.',
  },
  hold_expired: {
    status: 409,
    title: 'The hold has lapsed',
    advice: 'Restore the allocation while its address is in quarantine, or allocate anew.',
  },
  quarantine_over: {
    status: 409,
    title: 'The address waits for nobody any more',
    advice: 'Ask for the address by `address`; it may be free still.',
  },
  block_not_public: {
    status: 409,
    title: 'A floating IP is an address of the public address scope',
    advice: 'Take it from a block, or a network, of the scope `public`.',
  },
  generation_mismatch: {
    status: 409,
    title: 'The allocation has changed since',
    advice: 'Read it again, and decide again.',
  },
  too_many_allocations: {
    status: 409,
    title: 'Too many allocations for one call',
    advice: 'Narrow the request, for example to one block at a time.',
  },
  events_expired: {
    status: 410,
    title: 'Events after this cursor have been removed',
    advice: 'Read the present state, then follow the events with `after=latest` read before it.',
  },
  precondition_failed: {
    status: 412,
    title: 'The object has changed since',
    advice: 'Read it again, decide again, and send its `ETag` as `If-Match`.',
  },
  payload_too_large: {
    status: 413,
    title: 'The request body is too large',
    advice: 'Split the request.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The body is not JSON',
    advice: 'Send `Content-Type: application/json`.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'Another request came with this idempotency key before',
    advice: 'Use a new key for every request, and the same one only to repeat it as it was.',
  },
  internal: {
    status: 500,
    title: 'Melange made a mistake',
    advice: 'Report it with the request id; the server log has the details.',
  },
  overloaded: {
    status: 503,
    title: 'Too many requests are waiting',
    advice: 'Try again after the time in `Retry-After`. Nothing was changed.',
  },
  identity_unavailable: {
    status: 503,
    title: 'The identity service does not answer, so nobody knows whether the token is valid',
    advice: 'Try again after the time in `Retry-After`. Nothing was changed.',
  },
  database_unavailable: {
    status: 503,
    title: 'The database does not answer',
    advice:
      'Try again. If this was a change, look first whether it was made: the answer may have been lost after the commit. One that has an `Idempotency-Key` is safe to repeat.',
  },
  ...configurationErrors,
  ...floatingIpErrors,
  ...interfaceErrors,
  ...serverErrors,
  ...grantErrors,
  ...leaseErrors,
  ...tokenErrors,
} as const satisfies Record<string, { status: number; title: string; advice: string }>

export type ErrorCode = keyof typeof errorCatalogue

/** Something that is in the way of a request. */
export type Conflict = {
  readonly type: 'block' | 'allocation' | 'quarantine' | 'mac'
  readonly id: string
  /** The CIDR of a block; the address of an allocation, or of one that ended and waits; a MAC. */
  readonly address: string
}

/** What an error may say beyond its text. */
export type ErrorFacts = {
  /** The member of the request that is wrong, as a JSON pointer or a parameter name. */
  readonly field?: string
  /** What would have been right. */
  readonly suggestion?: string
  /** What is in the way; not more than a few of them. */
  readonly conflicts?: readonly Conflict[]
  /** Of a request for many things: which of them were refused; not more than a few. */
  readonly items?: readonly {
    readonly index: number
    readonly code: string
    readonly detail: string
  }[]
}

/** An expected failure. Anything else that is thrown is a bug, and becomes a 500. */
export class IpamError extends Error {
  override readonly name = 'IpamError'
  readonly code: ErrorCode
  readonly facts: ErrorFacts

  constructor(
    code: ErrorCode,
    detail: string = errorCatalogue[code].title,
    { cause, ...facts }: ErrorFacts & ErrorOptions = {},
  ) {
    super(detail, cause === undefined ? undefined : { cause })
    this.code = code
    this.facts = facts
  }
}

/** Whether a name, for instance of a constraint, is one of the error codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCatalogue, value)
}

/** The error as an RFC 9457 problem document. */
export function toProblem({ code, message, facts }: IpamError) {
  const { status, title, advice } = errorCatalogue[code]
  return { type: `/problems/${code}`, code, status, title, detail: message, advice, ...facts }
}
