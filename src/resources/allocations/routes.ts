import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundEach, idIfSeen, leavesToTake, releaseBounded } from '../../access/batches.ts'
import { accessTo, boundTo } from '../../access/enforce.ts'
import { createOwnerCache } from '../../access/owner-cache.ts'
import { doneByOf } from '../../audit-trail/done-by.ts'
import { type Database, retryTransaction, tryOut } from '../../db/database.ts'
import { IpamError, toProblem } from '../../errors.ts'
import { type Expected, generationsOf, readIfMatch } from '../../etags.ts'
import { canonicalAddress, canonicalPrefix, isAddressOrCidr, readTime } from '../../fields.ts'
import { keyOf, markRepeated, once } from '../../idempotency.ts'
import {
  AddressText,
  changeProblems,
  closed,
  Generation,
  Id,
  isId,
  Nullable,
  oneOf,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { scopeIdOf } from '../address-scopes/store.ts'
import { getBlock } from '../blocks/store.ts'
import { Lease } from '../leases/schema.ts'
import { newestLeaseOf } from '../leases/store.ts'
import { type Allocator, allocateOnce } from './allocator-store.ts'
import { prepareItems, readItems } from './bulk-items.ts'
import { addressStates, allocateMany, explainAddress } from './bulk-store.ts'
import { prepare } from './prepare-store.ts'
import { readAllocated, readWanted } from './read-request.ts'
import {
  Allocation,
  AllocationPatch,
  AllocationQuery,
  AllocationRequest,
  BulkOutcome,
  BulkRequest,
  countMax,
  ReleaseRequest,
} from './schema.ts'
import {
  getAllocation,
  listAllocations,
  type Release,
  releaseAll,
  releaseByOwner,
  releaseEach,
  releaseOnce,
  updateAllocation,
} from './store.ts'

const params = Type.Object({ allocation_id: Id })
const tags = ['allocations']

/** Why an allocation may be refused. */
const refusals = [
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
] as const

/** /v2/allocations: who holds which address, and who held it. */
export const allocationRoutes: FastifyPluginAsyncTypebox<{
  db: Database
  allocator: Allocator
}> = async (app, { db, allocator }) => {
  const cache = createOwnerCache(db)

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
          ...changeProblems(...refusals),
        },
      },
    },
    async (request, reply) => {
      const { body } = request
      const asked = readWanted(body)
      const [leave] = await leavesToTake({ db, request, cache }, [body])
      if (leave instanceof IpamError) throw leave
      const wanted = await prepare(db, { ...asked, ...leave }, body)
      if (body.dry_run) {
        const { allocations } = await tryOut(db, tx => allocateOnce(tx, wanted))
        return reply.code(200).send({ allocations, dry_run: true })
      }
      const idempotency = keyOf(request)
      const done_by = doneByOf(request)
      const { allocations, replayed } = await allocator.allocate(
        idempotency ? { ...wanted, idempotency, done_by } : { ...wanted, done_by },
      )
      if (replayed) markRepeated(reply)
      return reply.code(201).send({ allocations })
    },
  )

  app.post(
    '/v2/allocations/bulk',
    {
      schema: {
        operationId: 'createAllocationsInBulk',
        summary: 'Allocate for many requests at once: all or none, or each by itself',
        tags,
        body: ref(BulkRequest),
        response: {
          200: closed({
            outcomes: Type.Array(ref(BulkOutcome), { description: 'In the order of the items.' }),
            dry_run: Type.Optional(Type.Literal(true)),
          }),
          ...changeProblems(...refusals),
        },
      },
    },
    async (request, reply) => {
      const { items, on_error, dry_run } = request.body
      const asked = readItems(items)
      const leaves = await leavesToTake({ db, request, cache }, items)
      const wanted = await prepareItems(db, items, asked, leaves)
      const work = async (tx: Database) => (await allocateMany(tx, wanted, on_error)).map(asOutcome)
      if (dry_run) return { outcomes: await tryOut(db, work), dry_run: true as const }
      return { outcomes: await once({ db, reply }, work) }
    },
  )

  app.get(
    '/v2/blocks/:block_id/addresses/:address',
    {
      schema: {
        operationId: 'explainAddress',
        summary: 'Say what an address of a block is at the moment, and which rule decides',
        tags,
        params: Type.Object({ block_id: Id, address: AddressText }),
        response: {
          200: closed({
            address: AddressText,
            state: oneOf(addressStates),
            allocation_id: Nullable(Id, {
              description: 'Who has it, or had it last; null also if the caller may not see that.',
            }),
            purpose: Nullable(Type.String({ description: 'What alone it is given out for.' })),
            detail: Nullable(Type.String()),
            lease: Nullable(ref(Lease), {
              description: 'The newest of this address, whoever has it now; null as above.',
            }),
          }),
          ...problems('block_not_found'),
        },
      },
    },
    async request => {
      const { block_id, address } = request.params
      await getBlock(db, block_id)
      const place = { block_id, address: canonicalAddress(address, 'address') }
      const found = await explainAddress(db, place)
      const allocation_id = await idIfSeen({ db, request }, found.allocation_id)
      const lease = await newestLeaseOf(db, place)
      const isSeen = lease && accessTo(request).may('leases:list', { project_id: lease.project_id })
      return { ...found, allocation_id, lease: isSeen ? lease : null }
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
    async request => {
      const { query, url } = request
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
          bound: boundTo(request),
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
    (request, reply) => {
      const { params, query, headers } = request
      const { allocation_id: id } = params
      const expected = readIfMatch(headers)
      // To repeat a release changes nothing, so that only who sends a key pays for one.
      return releaseBounded({ db, request, id }, bounded => {
        const release: Release = { ...bounded, generation: query.generation }
        return keyOf(request)
          ? once({ db, reply }, tx => releaseIf(one => releaseOnce(tx, one), release, expected))
          : releaseIf(
              one => allocator.release({ ...one, done_by: doneByOf(request) }),
              release,
              expected,
            )
      })
    },
  )

  app.post(
    '/v2/allocations/release',
    {
      schema: {
        operationId: 'releaseAllocations',
        summary:
          'Release these allocations, or all that an owner holds; all or none, or each by itself',
        tags,
        body: ref(ReleaseRequest),
        response: {
          200: Type.Object({
            allocations: Type.Array(ref(Allocation)),
            outcomes: Type.Optional(
              Type.Array(ref(BulkOutcome), { description: 'With `on_error: continue`.' }),
            ),
          }),
          ...changeProblems('allocation_not_found', 'generation_mismatch', 'too_many_allocations'),
        },
      },
    },
    async (request, reply) => {
      const { allocations: named, on_error = 'abort', ...owner } = request.body
      const rule = 'allocations:release'
      const byOwner = owner.owner_id !== undefined && owner.project_id !== undefined
      if (named && Object.keys(owner).length === 0) {
        const allocations = await boundEach({ db, request, rule }, named)
        if (on_error === 'abort') {
          return { allocations: await once({ db, reply }, tx => releaseAll(tx, allocations)) }
        }
        return once({ db, reply }, async tx => {
          const outcomes = await retryTransaction(tx, all => releaseEach(all, allocations))
          const released = outcomes.filter(one => !(one instanceof IpamError)) as Allocation[]
          return { allocations: released, outcomes: outcomes.map(asOutcome) }
        })
      }
      if (byOwner && !named) {
        accessTo(request).demand(rule, { project_id: owner.project_id })
        const release = (tx: Database) => releaseByOwner(tx, owner, countMax)
        return { allocations: await once({ db, reply }, release) }
      }
      const detail = 'allocations: name either the allocations, or the project_id and owner_id'
      throw new IpamError('invalid_request', detail, { field: 'allocations' })
    },
  )
}

function asOutcome(outcome: Allocation[] | Allocation | IpamError): BulkOutcome {
  if (outcome instanceof IpamError) {
    const problem = toProblem(outcome)
    return { status: problem.status, problem: problem as BulkOutcome['problem'] & object }
  }
  if (Array.isArray(outcome)) return { status: 201, allocations: outcome }
  return { status: 200, allocations: [outcome] }
}

const sortShapes = { id: isId, address: isAddressOrCidr }

/** No allocation has it, so that of one which exists the answer is a mismatch. */
const noGeneration = -1

/**
 * Releases an allocation if it has one of the expected generations. They only grow, so to try one
 * after the other, the lowest first, is as good as to look at all at once.
 */
async function releaseIf(
  releaseOne: (release: Release) => Promise<Allocation>,
  { id, generation, project_id }: Release,
  expected: Expected,
): Promise<Allocation> {
  if (!expected) return releaseOne({ id, generation, project_id })
  const candidates = generationsOf(expected)
    .filter(one => generation === undefined || one === generation)
    .toSorted((a, b) => a - b)
  for (const candidate of candidates.length > 0 ? candidates : [noGeneration]) {
    try {
      return await releaseOne({ id, generation: candidate, project_id })
    } catch (error) {
      const isOther = error instanceof IpamError && error.code === 'generation_mismatch'
      if (!isOther) throw error
    }
  }
  const detail = 'The allocation has a generation that If-Match does not name.'
  throw new IpamError('precondition_failed', detail, { field: 'if-match' })
}
