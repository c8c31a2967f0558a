import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type TProperties, Type } from 'typebox'
import type { Database } from '../../db/database.ts'
import { findOption, knownOptions, type OptionDefinition } from '../../dhcp/options.ts'
import { type ErrorCode, IpamError } from '../../errors.ts'
import { readIfMatch, sendTagged } from '../../etags.ts'
import { once } from '../../idempotency.ts'
import {
  changeProblems,
  closed,
  Id,
  pageOf,
  problems,
  readMarker,
  ref,
  ScopeId,
  type SortShape,
  taggedByContent,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { scopeIdOf } from '../address-scopes/store.ts'
import { getConfiguration } from './configuration-store.ts'
import {
  BlockConfiguration,
  DhcpOption,
  DhcpOptionQuery,
  DhcpOptionRequest,
  KnownDhcpOption,
  OptionName,
  type SubjectType,
  Version,
} from './schema.ts'
import { deleteOption, getOption, listOptions, setOption } from './store.ts'

type Kind = {
  readonly type: SubjectType
  readonly path: string
  readonly param: string
  /** In the ids of the operations, and in their summaries. */
  readonly noun: string
  readonly words: string
  readonly idSchema: TProperties[string]
}

const kinds: readonly Kind[] = [
  {
    type: 'address_scope',
    path: '/v2/address-scopes',
    param: 'scope_id',
    noun: 'AddressScope',
    words: 'an address scope',
    idSchema: ScopeId,
  },
  {
    type: 'network',
    path: '/v2/networks',
    param: 'network_id',
    noun: 'Network',
    words: 'a network',
    idSchema: Id,
  },
  {
    type: 'block',
    path: '/v2/blocks',
    param: 'block_id',
    noun: 'Block',
    words: 'a block',
    idSchema: Id,
  },
  {
    type: 'interface',
    path: '/v2/interfaces',
    param: 'interface_id',
    noun: 'Interface',
    words: 'an interface',
    idSchema: Id,
  },
]

const tags = ['dhcp options']
const isNumber: SortShape = value => /^\d{1,5}$/.test(value)

/** The values of path parameters, of which one is named after what has the options. */
type Params = { readonly version: 4 | 6; readonly option: string }

const subjectOf = ({ type, param }: Kind, params: object) => {
  const id = String((params as Record<string, unknown>)[param])
  return { type, id: type === 'address_scope' ? scopeIdOf(id) : id }
}

/** @throws {IpamError} `invalid_request` */
function readOption({ version, option: text }: Params): OptionDefinition {
  const option = findOption(version, text)
  if (option) return option
  const detail = /^\d+$/.test(text)
    ? `option: no DHCPv${version} option ${text} can be set`
    : `option: no DHCPv${version} option is called ${text}; it may have a number`
  throw new IpamError('invalid_request', detail, { field: 'option' })
}

/** …/dhcp-options of each thing that can have options, and what they come to for a block. */
export const dhcpOptionRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  for (const kind of kinds) await app.register(routesOf(kind), { db })

  app.get(
    '/v2/dhcp-options',
    {
      schema: {
        operationId: 'listKnownDhcpOptions',
        summary: 'List the DHCP options that are known by name',
        tags,
        querystring: closed({ version: Type.Optional(Version) }),
        response: { 200: closed({ options: Type.Array(ref(KnownDhcpOption)) }), ...problems() },
      },
    },
    async ({ query: { version } }) => ({
      options: [...knownOptions[4], ...knownOptions[6]]
        .filter(option => version === undefined || option.version === version)
        .map(({ version, code, name, type, rfc = null, section = null }) => {
          return { version, code, name, type, rfc, section }
        }),
    }),
  )

  app.get(
    '/v2/blocks/:block_id/configuration',
    {
      schema: {
        operationId: 'getBlockConfiguration',
        summary: 'Show what the machines of a block are told, and where each part comes from',
        tags,
        params: Type.Object({ block_id: Id }),
        response: {
          200: taggedByContent(ref(BlockConfiguration)),
          ...problems('block_not_found'),
        },
      },
    },
    async (request, reply) =>
      sendTagged(request, reply, await getConfiguration(db, request.params.block_id)),
  )
}

/** The routes for the options of one kind of things. */
function routesOf(kind: Kind): FastifyPluginAsyncTypebox<{ db: Database }> {
  const { type, path, param, noun, words, idSchema } = kind
  const url = `${path}/:${param}/dhcp-options`
  const notFound: ErrorCode = `${type}_not_found`
  const ofSubject = Type.Object({ [param]: idSchema })
  const params = Type.Object({ [param]: idSchema, version: Version, option: OptionName })

  return async (app, { db }) => {
    app.get(
      url,
      {
        schema: {
          operationId: `list${noun}DhcpOptions`,
          summary: `List the DHCP options that are set on ${words}`,
          tags,
          params: ofSubject,
          querystring: DhcpOptionQuery,
          response: {
            200: pageOf('dhcp_options', ref(DhcpOption)),
            ...problems(notFound, 'marker_invalid'),
          },
        },
      },
      async ({ params, query: { limit, marker, version }, url }) => {
        const shapes = [isNumber, isNumber]
        const after = marker === undefined ? null : readMarker(marker, 'code', shapes)
        const filter = { subject: subjectOf(kind, params), version }
        const found = await listOptions(db, filter, { limit, after })
        const markerOf = ({ version, code }: DhcpOption) =>
          writeMarker('code', [String(version), String(code)])
        return toPage({ key: 'dhcp_options', url, limit, markerOf }, found)
      },
    )

    app.get(
      `${url}/:version/:option`,
      {
        schema: {
          operationId: `get${noun}DhcpOption`,
          summary: `Show a DHCP option that is set on ${words}`,
          tags,
          params,
          response: { 200: ref(DhcpOption), ...problems(notFound, 'dhcp_option_not_found') },
        },
      },
      ({ params }) => {
        const option = readOption(params as unknown as Params)
        return getOption(db, { subject: subjectOf(kind, params), option })
      },
    )

    app.put(
      `${url}/:version/:option`,
      {
        schema: {
          operationId: `set${noun}DhcpOption`,
          summary: `Set a DHCP option on ${words}`,
          tags,
          params,
          body: ref(DhcpOptionRequest),
          response: {
            200: ref(DhcpOption),
            ...changeProblems(
              notFound,
              'cidr_has_host_bits',
              'dhcp_option_limit_reached',
              'precondition_failed',
            ),
          },
        },
      },
      ({ params, body: { value }, headers }, reply) => {
        const option = readOption(params as unknown as Params)
        const expected = readIfMatch(headers)
        const target = { subject: subjectOf(kind, params), option, expected }
        return once({ db, reply }, tx => setOption(tx, target, value))
      },
    )

    app.delete(
      `${url}/:version/:option`,
      {
        schema: {
          operationId: `delete${noun}DhcpOption`,
          summary: `Set a DHCP option on ${words} no longer`,
          tags,
          params,
          response: {
            204: Type.Null(),
            ...changeProblems(notFound, 'dhcp_option_not_found', 'precondition_failed'),
          },
        },
      },
      async ({ params, headers }, reply) => {
        const option = readOption(params as unknown as Params)
        const expected = readIfMatch(headers)
        const target = { subject: subjectOf(kind, params), option, expected }
        await once({ db, reply }, tx => deleteOption(tx, target))
        return reply.code(204).send(null)
      },
    )
  }
}
