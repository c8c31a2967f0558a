import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Database } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { type Expected, readIfMatch } from '../../etags.ts'
import { canonicalAddress, canonicalPrefix, isAddressOrCidr, readTime } from '../../fields.ts'
import { once } from '../../idempotency.ts'
import { newId } from '../../ids.ts'
import {
  changeProblems,
  Generation,
  Id,
  isId,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { scopeIdOf } from '../address-scopes/store.ts'
import { getBlock } from '../blocks/store.ts'
import type { Allocator, NewAllocations } from './allocator-store.ts'
import {
  Allocation,
  AllocationPatch,
  AllocationQuery,
  AllocationRequest,
  countMax,
  ReleaseRequest,
} from './schema.ts'
import {
  getAllocation,
  listAllocations,
  type Release,
  releaseAll,
  releaseByOwner,
  updateAllocation,
} from './store.ts'

const params = Type.Object({ allocation_id: Id })
const tags = ['allocations']

/** /v2/allocations: who holds which address, and who held it. */
export const allocationRoutes: FastifyPluginAsyncTypebox<{
  db: Database
  allocator: Allocator
}> = async (app, { db, allocator }) => {
  app.post(
    '/v2/allocations',
    {
      schema: {
        operationId: 'createAllocations',
        summary:
          'Allocate from a block: the next free address, a certain one, several, or a prefix',
        tags,
        body: ref(AllocationRequest),
        response: {
          201: Type.Object({ allocations: Type.Array(ref(Allocation)) }),
          ...changeProblems(
            'block_not_found',
            'block_has_children',
            'block_full',
            'no_free_prefix',
            'address_taken',
            'address_excluded',
            'address_outside_block',
            'cidr_has_host_bits',
          ),
        },
      },
    },
    async ({ body }, reply) => {
      const wanted = readWanted(body)
      if (wanted.contiguous) {
        const { version } = await getBlock(db, wanted.block_id)
        const bits = version === 4 ? 32 : 128
        wanted.prefix_length = bits - Math.ceil(Math.log2(wanted.ids.length))
      }
      return reply.code(201).send({ allocations: await allocator.allocate(wanted) })
    },
  )

  app.get(
    '/v2/allocations',
    {
      schema: {
        operationId: 'listAllocations',
        summary: 'List allocations: who holds an address, or held it at a time',
        tags,
        querystring: AllocationQuery,
        response: {
          200: pageOf('allocations', ref(Allocation)),
          ...problems('marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async ({ query, url }) => {
      const { limit, marker, sort, ...filter } = query
      const { scope_id, block_id, address, within, at, held_from, held_to } = filter
      if (sort === 'address' && !scope_id && !block_id) {
        const detail = 'sort: by address goes with scope_id or block_id'
        throw new IpamError('invalid_request', detail, { field: 'sort' })
      }
      const found = await listAllocations(
        db,
        {
          ...filter,
          scope_id: scope_id && scopeIdOf(scope_id),
          address: address && readAllocated(address),
          within: within && canonicalPrefix(within, 'within'),
          at: at && readTime(at, 'at'),
          held_from: held_from && readTime(held_from, 'held_from'),
          held_to: held_to && readTime(held_to, 'held_to'),
        },
        {
          sort,
          limit,
          after: marker === undefined ? null : readMarker(marker, sort, [sortShapes[sort], isId]),
        },
      )
      const markerOf = (one: Allocation) => writeMarker(sort, [one[sort], one.id])
      return toPage({ key: 'allocations', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/allocations/:allocation_id',
    {
      schema: {
        operationId: 'getAllocation',
        summary: 'Show an allocation, current or ended',
        tags,
        params,
        response: { 200: ref(Allocation), ...problems('allocation_not_found') },
      },
    },
    ({ params: { allocation_id } }) => getAllocation(db, allocation_id),
  )

  app.patch(
    '/v2/allocations/:allocation_id',
    {
      schema: {
        operationId: 'updateAllocation',
        summary: 'Change name or tags of a current allocation',
        tags,
        params,
        body: ref(AllocationPatch),
        response: {
          200: ref(Allocation),
          ...changeProblems('allocation_not_found', 'generation_mismatch', 'precondition_failed'),
        },
      },
    },
    ({ params: { allocation_id: id }, headers, body }, reply) => {
      const target = { id, expected: readIfMatch(headers) }
      return once({ db, reply }, tx => updateAllocation(tx, target, body))
    },
  )

  app.delete(
    '/v2/allocations/:allocation_id',
    {
      schema: {
        operationId: 'releaseAllocation',
        summary: 'Release an allocation; the answer shows its end',
        tags,
        params,
        querystring: Type.Object(
          { generation: Type.Optional(Generation) },
          { additionalProperties: false },
        ),
        response: {
          200: ref(Allocation),
          ...changeProblems('allocation_not_found', 'generation_mismatch', 'precondition_failed'),
        },
      },
    },
    ({ params: { allocation_id: id }, query: { generation }, headers }) => {
      const expected = readIfMatch(headers)
      if (!expected) return allocator.release({ id, generation })
      return releaseExpected(allocator, { id, generation }, expected)
    },
  )

  app.post(
    '/v2/allocations/release',
    {
      schema: {
        operationId: 'releaseAllocations',
        summary: 'Release these allocations, or all that an owner holds; all or none',
        tags,
        body: ref(ReleaseRequest),
        response: {
          200: Type.Object({ allocations: Type.Array(ref(Allocation)) }),
          ...changeProblems('allocation_not_found', 'generation_mismatch', 'too_many_allocations'),
        },
      },
    },
    async ({ body: { allocations, ...owner } }, reply) => {
      const byOwner = owner.owner_id !== undefined && owner.project_id !== undefined
      if (allocations && Object.keys(owner).length === 0) {
        return { allocations: await once({ db, reply }, tx => releaseAll(tx, allocations)) }
      }
      if (byOwner && !allocations) {
        const release = (tx: Database) => releaseByOwner(tx, owner, countMax)
        return { allocations: await once({ db, reply }, release) }
      }
      const detail = 'allocations: name either the allocations, or the project_id and owner_id'
      throw new IpamError('invalid_request', detail, { field: 'allocations' })
    },
  )
}

const sortShapes = { id: isId, address: isAddressOrCidr }

/** No allocation has it, so that of one which exists the answer is a mismatch. */
const noGeneration = -1

/**
 * Releases an allocation if it has one of the expected generations. They only grow, so to try one
 * after the other, the lowest first, is as good as to look at all at once.
 */
async function releaseExpected(
  allocator: Allocator,
  { id, generation }: Release,
  expected: NonNullable<Expected>,
): Promise<Allocation> {
  const candidates = expected
    .filter(one => generation === undefined || one === generation)
    .toSorted((a, b) => a - b)
  for (const candidate of candidates.length > 0 ? candidates : [noGeneration]) {
    try {
      return await allocator.release({ id, generation: candidate })
    } catch (error) {
      const isOther = error instanceof IpamError && error.code === 'generation_mismatch'
      if (!isOther) throw error
    }
  }
  const detail = 'The allocation has a generation that If-Match does not name.'
  throw new IpamError('precondition_failed', detail, { field: 'if-match' })
}

type Wanted = { -readonly [K in keyof NewAllocations]: NewAllocations[K] }

/** What a request wants; members that do not go together are refused. */
function readWanted(body: AllocationRequest): Wanted {
  const { address, fallback, count, contiguous, prefix_length } = body
  const refuse = (field: string, rule: string): never => {
    throw new IpamError('invalid_request', `${field}: ${rule}`, { field })
  }
  if (address !== undefined && count !== undefined) refuse('count', 'goes without an address')
  if (prefix_length !== undefined && count !== undefined)
    refuse('count', 'goes without prefix_length')
  if (address !== undefined && prefix_length !== undefined) {
    refuse('prefix_length', 'goes without an address; write the address as address/length')
  }
  if (fallback && address === undefined) refuse('fallback', 'goes with an address')
  if (fallback && address?.includes('/')) refuse('fallback', 'goes with a single address')
  if (contiguous && count === undefined) refuse('contiguous', 'goes with count')
  return {
    block_id: body.block_id.toLowerCase(),
    ids: Array.from({ length: count ?? 1 }, newId),
    address: address === undefined ? null : readAllocated(address),
    fallback: fallback === 'next',
    prefix_length: prefix_length ?? null,
    contiguous: contiguous === true,
    project_id: body.project_id,
    owner_type: body.owner_type ?? null,
    owner_id: body.owner_id ?? null,
    name: body.name ?? '',
    tags: body.tags ?? [],
  }
}

/** An address, or a prefix; one of full length is the address. */
function readAllocated(text: string): string {
  if (!text.includes('/')) return canonicalAddress(text, 'address')
  return canonicalPrefix(text, 'address').replace(/^([^:]+)\/32$|^(.+:.*)\/128$/, '$1$2')
}
