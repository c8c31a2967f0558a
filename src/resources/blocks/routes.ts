import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import { type Database, tryOut } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { readIfMatch } from '../../etags.ts'
import {
  canonicalAddress,
  canonicalPrefix,
  isAddress,
  isAddressOrCidr,
  readPrefix,
} from '../../fields.ts'
import { once } from '../../idempotency.ts'
import {
  CidrText,
  changeProblems,
  Id,
  isId,
  isText,
  isTime,
  PageQuery,
  pageOf,
  problems,
  readMarker,
  ref,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { scopeIdOf } from '../address-scopes/store.ts'
import { type Container, createBlocks, type NewBlocks } from './create-store.ts'
import { deleteBlock } from './delete-store.ts'
import {
  Block,
  BlockPatch,
  BlockQuery,
  BlockRequest,
  ChildrenRequest,
  FreeRange,
  Utilisation,
} from './schema.ts'
import {
  getBlock,
  getUtilisation,
  lastAddressOf,
  listBlocks,
  listFreePrefixes,
  listFreeRanges,
} from './store.ts'
import { updateBlock } from './update-store.ts'

const params = Type.Object({ block_id: Id })
const tags = ['blocks']
const placeProblems = [
  'address_scope_not_found',
  'block_not_found',
  'block_overlaps',
  'block_overlaps_in_network',
  'block_outside_parent',
  'block_has_allocations',
  'block_network_differs',
  'cidr_has_host_bits',
  'network_not_found',
  'mtu_too_small',
  'policy_not_found',
  'prefix_length_refused',
  'quota_exceeded',
] as const

const TriedBlocks = Type.Object(
  { blocks: Type.Array(ref(Block)), dry_run: Type.Literal(true) },
  { description: 'What a dry run found. Nothing was created, and nothing is promised.' },
)

/** /v2/blocks: CIDRs of a scope, in a tree. */
export const blockRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.post(
    '/v2/blocks',
    {
      schema: {
        operationId: 'createBlock',
        summary: 'Create a block: at the top of an address scope, or inside a parent block',
        tags,
        body: ref(BlockRequest),
        response: {
          200: TriedBlocks,
          201: ref(Block),
          ...changeProblems(...placeProblems, 'gateway_unusable'),
        },
      },
    },
    async ({ body }, reply) => {
      const { scope_id, parent_id, cidr, adopt_children, dry_run, ...settings } = body
      const wanted = {
        container: readContainer(scope_id, parent_id),
        wanted: [readPrefix(cidr, 'cidr')],
        adopt_children,
        settings: readSettings(settings),
      }
      if (dry_run) return reply.code(200).send(await tryBlocks(db, wanted))
      const [block] = await once({ db, reply }, tx => createBlocks(tx, wanted))
      if (!block) throw new Error('a block was created, but did not come back')
      return reply.code(201).header('location', `/v2/blocks/${block.id}`).send(block)
    },
  )

  app.post(
    '/v2/blocks/:block_id/children',
    {
      schema: {
        operationId: 'createChildren',
        summary: 'Cut children from a block: these CIDRs, or the next free ones; all or none',
        tags,
        params,
        body: ref(ChildrenRequest),
        response: {
          200: TriedBlocks,
          201: Type.Object({ blocks: Type.Array(ref(Block)) }),
          ...changeProblems(...placeProblems, 'no_free_prefix'),
        },
      },
    },
    async ({ params: { block_id }, body }, reply) => {
      const { cidrs, prefix_length, count, dry_run, ...settings } = body
      const wanted = {
        container: { parent_id: block_id },
        wanted: readWanted({ cidrs, prefix_length, count }),
        adopt_children: false,
        settings: readSettings(settings),
      }
      if (dry_run) return reply.code(200).send(await tryBlocks(db, wanted))
      const blocks = await once({ db, reply }, tx => createBlocks(tx, wanted))
      return reply.code(201).send({ blocks })
    },
  )

  app.get(
    '/v2/blocks',
    {
      schema: {
        operationId: 'listBlocks',
        summary: 'List blocks',
        tags,
        querystring: BlockQuery,
        response: {
          200: pageOf('blocks', ref(Block)),
          ...problems('marker_invalid', 'cidr_has_host_bits'),
        },
      },
    },
    async request => {
      const { query, url } = request
      const { limit, marker, sort, ...filter } = query
      const { scope_id, cidr, contains, within, overlaps } = filter
      const found = await listBlocks(
        db,
        {
          ...filter,
          scope_id: scope_id && scopeIdOf(scope_id),
          cidr: cidr && canonicalPrefix(cidr, 'cidr'),
          contains: contains && readEither(contains, 'contains'),
          within: within && canonicalPrefix(within, 'within'),
          overlaps: overlaps && readEither(overlaps, 'overlaps'),
        },
        {
          sort,
          limit,
          after: marker === undefined ? null : readMarker(marker, sort, [sortShapes[sort], isId]),
          bound: boundTo(request),
        },
      )
      const markerOf = (block: Block) => writeMarker(sort, [block[sort], block.id])
      return toPage({ key: 'blocks', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/blocks/:block_id',
    {
      schema: {
        operationId: 'getBlock',
        summary: 'Show a block',
        tags,
        params,
        response: { 200: ref(Block), ...problems('block_not_found') },
      },
    },
    ({ params: { block_id } }) => getBlock(db, block_id),
  )

  app.patch(
    '/v2/blocks/:block_id',
    {
      schema: {
        operationId: 'updateBlock',
        summary: 'Change a block; a new CIDR grows or shrinks it',
        tags,
        params,
        body: ref(BlockPatch),
        response: {
          200: ref(Block),
          ...changeProblems(
            'block_not_found',
            'precondition_failed',
            'block_in_use',
            'block_cannot_move',
            'block_overlaps',
            'block_overlaps_in_network',
            'block_outside_parent',
            'gateway_unusable',
            'gateway_taken',
            'cidr_has_host_bits',
            'policy_not_found',
            'prefix_length_refused',
          ),
        },
      },
    },
    ({ params: { block_id: id }, headers, body }, reply) => {
      const { cidr, ...settings } = body
      const target = { id, expected: readIfMatch(headers) }
      const patch = {
        ...readSettings(settings),
        ...(cidr !== undefined && { cidr: canonicalPrefix(cidr, 'cidr') }),
      }
      return once({ db, reply }, tx => updateBlock(tx, target, patch))
    },
  )

  app.delete(
    '/v2/blocks/:block_id',
    {
      schema: {
        operationId: 'deleteBlock',
        summary: 'Delete a block in which nothing is',
        tags,
        params,
        response: {
          204: Type.Null(),
          ...changeProblems(
            'block_not_found',
            'precondition_failed',
            'block_has_children',
            'block_in_use',
          ),
        },
      },
    },
    async ({ params: { block_id: id }, headers }, reply) => {
      const target = { id, expected: readIfMatch(headers) }
      await once({ db, reply }, tx => deleteBlock(tx, target))
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/v2/blocks/:block_id/utilisation',
    {
      schema: {
        operationId: 'getUtilisation',
        summary: 'Count the addresses of a block and of all blocks below it',
        tags,
        params,
        response: { 200: ref(Utilisation), ...problems('block_not_found') },
      },
    },
    ({ params: { block_id } }) => getUtilisation(db, block_id),
  )

  app.get(
    '/v2/blocks/:block_id/free-ranges',
    {
      schema: {
        operationId: 'listFreeRanges',
        summary: 'List the free ranges of a block, lowest first',
        tags,
        params,
        querystring: Type.Object(PageQuery, { additionalProperties: false }),
        response: {
          200: pageOf('free_ranges', ref(FreeRange)),
          ...problems('block_not_found', 'marker_invalid'),
        },
      },
    },
    async ({ params: { block_id }, query: { limit, marker }, url }) => {
      const found = await listFreeRanges(db, block_id, { limit, after: readPlace(marker) })
      const markerOf = ({ last }: { last: string }) => writeMarker('last', [last])
      return toPage({ key: 'free_ranges', url, limit, markerOf }, found)
    },
  )

  app.get(
    '/v2/blocks/:block_id/free-prefixes',
    {
      schema: {
        operationId: 'listFreePrefixes',
        summary: 'List the fewest prefixes that cover the free space of a block, lowest first',
        tags,
        params,
        querystring: Type.Object(
          {
            prefix_length: Type.Integer({
              minimum: 0,
              maximum: 128,
              default: 128,
              description: 'Leave out what is smaller than this.',
            }),
            ...PageQuery,
          },
          { additionalProperties: false },
        ),
        response: {
          200: pageOf('free_prefixes', CidrText),
          ...problems('block_not_found', 'marker_invalid'),
        },
      },
    },
    async ({ params: { block_id }, query: { limit, marker, prefix_length }, url }) => {
      const page = { limit, after: readPlace(marker), length: prefix_length }
      const found = await listFreePrefixes(db, block_id, page)
      const markerOf = (cidr: string) => writeMarker('last', [lastAddressOf(cidr)])
      return toPage({ key: 'free_prefixes', url, limit, markerOf }, found)
    },
  )
}

const tryBlocks = async (db: Database, wanted: NewBlocks) => ({
  blocks: await tryOut(db, tx => createBlocks(tx, wanted)),
  dry_run: true as const,
})

function readContainer(scope_id?: string, parent_id?: string): Container {
  if (scope_id && !parent_id) return { scope_id: scopeIdOf(scope_id) }
  if (parent_id && !scope_id) return { parent_id }
  const detail =
    'scope_id: name either the address scope of a top-level block, or the parent_id of a child'
  throw new IpamError('invalid_request', detail, { field: 'scope_id' })
}

type Wanted = {
  readonly [K in 'cidrs' | 'prefix_length' | 'count']: ChildrenRequest[K] | undefined
}

function readWanted({ cidrs, prefix_length, count }: Wanted) {
  if (cidrs && prefix_length === undefined && count === undefined) {
    return cidrs.map((cidr, index) => readPrefix(cidr, `cidrs/${index}`))
  }
  if (prefix_length !== undefined && !cidrs) return { prefix_length, count: count ?? 1 }
  const detail = 'cidrs: name either the cidrs of the children, or their prefix_length and count'
  throw new IpamError('invalid_request', detail, { field: 'cidrs' })
}

type Addresses = { gateway_ip?: string | null | undefined; dns_nameservers?: string[] | undefined }

/** The settings with their addresses in the one spelling that answers use. */
function readSettings<S extends Addresses>(settings: S): S {
  const { gateway_ip, dns_nameservers } = settings
  return {
    ...settings,
    ...(gateway_ip && { gateway_ip: canonicalAddress(gateway_ip, 'gateway_ip') }),
    ...(dns_nameservers && {
      dns_nameservers: dns_nameservers.map((ip, i) => canonicalAddress(ip, `dns_nameservers/${i}`)),
    }),
  }
}

function readEither(text: string, field: string): string {
  return text.includes('/') ? canonicalPrefix(text, field) : canonicalAddress(text, field)
}

const sortShapes = { id: isId, cidr: isAddressOrCidr, name: isText, created_at: isTime }

/** An address that a marker holds. */
function readPlace(marker: string | undefined): string | null {
  if (marker === undefined) return null
  return readMarker(marker, 'last', [isAddress])[0] ?? null
}
