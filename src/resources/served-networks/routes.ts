import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { accessTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { ServedHost, ServedNetwork } from '../../dhcp/served.ts'
import { sendTagged } from '../../etags.ts'
import {
  Id,
  isText,
  pageOf,
  problems,
  readMarker,
  ref,
  taggedByContent,
  toPage,
  writeMarker,
} from '../../schema.ts'
import { type FoundHost, listServedHosts, namedHosts } from './hosts-store.ts'
import { ServedHostQuery } from './schema.ts'
import { getServedNetwork } from './store.ts'

const params = Type.Object({ network_id: Id })
const tags = ['dhcp']
const types = ['interface', 'client'] as const
type HostType = (typeof types)[number]
const isHostType = (text: string): text is HostType => types.some(type => type === text)

/** /v2/networks/…/dhcp: what servers for machines need to answer them. */
export const servedNetworkRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.get(
    '/v2/networks/:network_id/dhcp',
    {
      schema: {
        operationId: 'getServedNetwork',
        summary: 'Show a network as machines on it see it: its subnets, and what is told there',
        tags,
        params,
        response: {
          200: taggedByContent(ref(ServedNetwork)),
          ...problems('network_not_found'),
        },
      },
    },
    async (request, reply) =>
      sendTagged(request, reply, await getServedNetwork(db, request.params.network_id)),
  )

  app.get(
    '/v2/networks/:network_id/dhcp/hosts',
    {
      schema: {
        operationId: 'listServedHosts',
        summary: 'List the machines that are known on a network, and what they are told',
        tags,
        params,
        querystring: ServedHostQuery,
        response: {
          200: pageOf('hosts', ref(ServedHost)),
          ...problems('network_not_found', 'marker_invalid'),
        },
      },
    },
    async request => {
      const {
        params: { network_id },
        query: { id: ids, limit, marker },
        url,
      } = request
      const bound = accessTo(request).boundOf('dhcp:list_hosts')
      if (ids) {
        const hosts = await namedHosts(db, { network_id, bound }, ids)
        return { hosts, next_marker: null, links: [] }
      }
      const [type, id = ''] =
        marker === undefined ? [] : readMarker(marker, 'hosts', [isHostType, isText])
      const after = type === undefined ? null : { type: type as HostType, id }
      const found = await listServedHosts(db, { network_id, bound }, { limit, after })
      const markerOf = ({ type, id }: FoundHost) => writeMarker('hosts', [type, id])
      const page = toPage({ key: 'hosts', url, limit, markerOf }, found)
      return { ...page, hosts: page.hosts.flatMap(({ host }) => host ?? []) }
    },
  )
}
