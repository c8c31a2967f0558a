import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import { grantsNeededBy } from '../../access/sources.ts'
import type { Database } from '../../db/database.ts'
import { once } from '../../idempotency.ts'
import { changeProblems, closed, ProjectId, problems, ref } from '../../schema.ts'
import { setInterfacesOfDevice } from './device-store.ts'
import { interfaceRefusals } from './routes.ts'
import { DeviceId, DeviceInterfacesRequest, Interface } from './schema.ts'
import { interfacesOfDevice } from './store.ts'

const params = Type.Object({ device_id: DeviceId })
const tags = ['interfaces']
const Interfaces = closed({ interfaces: Type.Array(ref(Interface)) })

/** /v2/devices: a device is no more than the interfaces that name it. */
export const deviceRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.get(
    '/v2/devices/:device_id/interfaces',
    {
      schema: {
        operationId: 'getDeviceInterfaces',
        summary: 'Show the interfaces of a device',
        tags,
        params,
        querystring: closed({ project_id: Type.Optional(ProjectId) }),
        response: { 200: Interfaces, ...problems() },
      },
    },
    async request => {
      const place = { ...request.params, ...request.query, bound: boundTo(request) }
      return { interfaces: await interfacesOfDevice(db, place) }
    },
  )

  app.put(
    '/v2/devices/:device_id/interfaces',
    {
      schema: {
        operationId: 'setDeviceInterfaces',
        summary: 'Give a device just these interfaces; what is there and wanted stays as it is',
        tags,
        params,
        body: ref(DeviceInterfacesRequest),
        response: {
          200: Interfaces,
          ...changeProblems(...interfaceRefusals, 'too_many_allocations'),
        },
      },
    },
    async (request, reply) => {
      const { params, body } = request
      const underGrants = grantsNeededBy(request)
      const interfaces = await once({ db, reply }, tx =>
        setInterfacesOfDevice(tx, params.device_id, body, underGrants),
      )
      return { interfaces }
    },
  )
}
