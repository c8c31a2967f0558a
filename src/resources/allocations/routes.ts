import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { type Database, retryTransaction, tryOut } from '../../db/database.ts'
import { IpamError, toProblem } from '../../errors.ts'
import { canonicalAddress, canonicalPrefix, isAddressOrCidr, readTime } from '../../fields.ts'
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
import { type Allocator, allocateOnce, type NewAllocations } from './allocator-store.ts'
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
  releaseAll,
  releaseByOwner,
  releaseEach,
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
  'idempotency_key_reused',
] as const

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
          ...changeProblems(...refusals),
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
    async ({ body: { items, on_error, dry_run } }) => {
      const wanted = await readItems(db, items)
      const work = (tx: Database) => allocateMany(tx, wanted, on_error)
      const outcomes = (await (dry_run ? tryOut(db, work) : work(db))).map(asOutcome)
      return { outcomes, ...(dry_run && { dry_run: true as const }) }
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
            allocation_id: Nullable(Id, { description: 'Who has it, or had it last.' }),
            purpose: Nullable(Type.String({ description: 'What alone it is given out for.' })),
            detail: Nullable(Type.String()),
          }),
          ...problems('block_not_found'),
        },
      },
    },
    async ({ params: { block_id, address } }) => {
      await getBlock(db, block_id)
      return explainAddress(db, block_id, canonicalAddress(address, 'address'))
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
    async ({ body: { allocations, on_error = 'abort', ...owner } }) => {
      const byOwner = owner.owner_id !== undefined && owner.project_id !== undefined
      if (allocations && Object.keys(owner).length === 0) {
        if (on_error === 'abort') return { allocations: await releaseAll(db, allocations) }
        const outcomes = await retryTransaction(db, tx => releaseEach(tx, allocations))
        const released = outcomes.filter(one => !(one instanceof IpamError)) as Allocation[]
        return { allocations: released, outcomes: outcomes.map(asOutcome) }
      }
      if (byOwner && !allocations) {
        return { allocations: await releaseByOwner(db, owner, countMax) }
      }
      const detail = 'allocations: name either the allocations, or the project_id and owner_id'
      throw new IpamError('invalid_request', detail, { field: 'allocations' })
    },
  )
}

/** Reads all items before any is done; the first that is wrong is named with its place. */
async function readItems(db: Database, items: BulkRequest['items']): Promise<NewAllocations[]> {
  const wanted: NewAllocations[] = []
  for (const [index, item] of items.entries()) {
    try {
      wanted.push(await prepare(db, readWanted(item), item))
    } catch (error) {
      if (!(error instanceof IpamError)) throw error
      const { code, message, facts } = error
      const field = facts.field ? `items/${index}/${facts.field}` : `items/${index}`
      throw new IpamError(code, `items/${index}: ${message}`, { ...facts, field })
    }
  }
  const count = wanted.reduce((sum, { ids }) => sum + ids.length, 0)
  if (count <= countMax) return wanted
  const detail = `items: ask for ${count} addresses, more than ${countMax}`
  throw new IpamError('invalid_request', detail, { field: 'items' })
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
