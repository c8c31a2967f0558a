import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { originOf } from '../server/origin.ts'
import { askedFormat } from './negotiate.ts'
import { writeXmlVersions } from './xml-write.ts'

const Version = Type.Object({
  name: Type.String(),
  status: Type.String(),
  links: Type.Array(Type.Object({ rel: Type.String(), href: Type.String() })),
})

/**
 * The versions of the original at the root, as its clients know them. The API of today, which they
 * do not expect there, is in the header: `Link: </v2/>; rel="latest-version"` (RFC 5829).
 */
export const versionList: FastifyPluginAsyncTypebox = async app => {
  const schema = {
    operationId: 'listVersions',
    summary: 'List the versions of the original API; the header `Link` leads to this one',
    tags: ['status'],
    security: [],
    response: { 200: Type.Object({ versions: Type.Array(Version) }) },
  }
  app.get('/', { exposeHeadRoute: false, schema }, async (request, reply) => {
    const versions = [
      { name: 'v0.1', status: 'DEPRECATED' },
      { name: 'v1.0', status: 'CURRENT' },
    ].map(({ name, status }) => {
      const href = `${originOf(request)}/${name}`
      return { name, status, links: [{ rel: 'self', href }] }
    })
    reply.header('link', '</v2/>; rel="latest-version"')
    if (askedFormat('/', request.headers.accept) === 'json') return { versions }
    reply.serializer(String).type('application/xml')
    return reply.send(writeXmlVersions(versions) as never)
  })
}
