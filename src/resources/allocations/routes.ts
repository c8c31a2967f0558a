import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { type Database, tryOut } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { canonicalPrefix, isAddressOrCidr, readTime } from '../../fields.ts'
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
import { type Allocator, allocateOnce } from './allocator-store.ts'
import { prepare } from './prepare-store.ts'
import { readAllocated, readWanted } from './read-request.ts'
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
          'Allocate from a block or network: the next free address, a certain one, several, a prefix',
        tags,
        body: ref(AllocationRequest),
        response: {
          200: Type.Object(
            { allocations: Type.Array(ref(Allocation)), dry_run: Type.Literal(true) },
            { description: 'What a dry run found. Nothing was taken, and nothing is promised.' },
          ),
          201: Type.Object({ allocations: Type.Array(ref(Allocation)) }),
          ...changeProblems(
            'block_not_found',
            'network_not_found',
            'network_full',
            'no_subnet',
            'generator_needs_input',
            'quota_exceeded',
            'address_quarantined',
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
      const wanted = await prepare(db, readWanted(body), body)
      if (body.dry_run) {
        const { allocations } = await tryOut(db, tx => allocateOnce(tx, wanted))
        return reply.code(200).send({ allocations, dry_run: true })
      }
      const { allocations } = await allocator.allocate(wanted)
      return reply.code(201).send({ allocations })
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
          address: address && readAllocated(address, 'address'),
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
          ...changeProblems('allocation_not_found', 'generation_mismatch'),
        },
      },
    },
    ({ params: { allocation_id }, body }) => updateAllocation(db, allocation_id, body),
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
          ...changeProblems('allocation_not_found', 'generation_mismatch'),
        },
      },
    },
    ({ params: { allocation_id: id }, query: { generation } }) =>
      allocator.release({ id, generation }),
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
    async ({ body: { allocations, ...owner } }) => {
      const byOwner = owner.owner_id !== undefined && owner.project_id !== undefined
      if (allocations && Object.keys(owner).length === 0) {
        return { allocations: await releaseAll(db, allocations) }
      }
      if (byOwner && !allocations) {
        return { allocations: await releaseByOwner(db, owner, countMax) }
      }
      const detail = 'allocations: name either the allocations, or the project_id and owner_id'
      throw new IpamError('invalid_request', detail, { field: 'allocations' })
    },
  )
}

const sortShapes = { id: isId, address: isAddressOrCidr }
