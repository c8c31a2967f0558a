import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { sendTagged } from '../../etags.ts'
import { cloudInitNetwork } from '../../host/cloud-init.ts'
import { networkData } from '../../host/network-data.ts'
import { closed, Id, oneOf, ProjectId, problems, ref, taggedByContent } from '../../schema.ts'
import { showValue } from '../dhcp-options/store.ts'
import { DeviceId } from '../interfaces/schema.ts'
import {
  CloudInitNetwork,
  DeviceConfiguration,
  InterfaceConfiguration,
  NetworkData,
} from './schema.ts'
import { configurationOfDevice, configurationOfInterface, type HostInterface } from './store.ts'

const ofDevice = Type.Object({ device_id: DeviceId })
const project_id = Type.Optional(ProjectId)
const tags = ['host configuration']

const formats = { openstack: networkData, 'cloud-init': cloudInitNetwork }

/** …/configuration and …/network-data: all that a host needs to set up its network. */
export const hostConfigurationRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (
  app,
  { db },
) => {
  app.get(
    '/v2/interfaces/:interface_id/configuration',
    {
      schema: {
        operationId: 'getInterfaceConfiguration',
        summary: 'Show what an interface is told, and where each part comes from',
        tags,
        params: Type.Object({ interface_id: Id }),
        response: {
          200: taggedByContent(ref(InterfaceConfiguration)),
          ...problems('interface_not_found'),
        },
      },
    },
    async (request, reply) => {
      const found = await configurationOfInterface(db, request.params.interface_id)
      return sendTagged(request, reply, show(found))
    },
  )

  app.get(
    '/v2/devices/:device_id/configuration',
    {
      schema: {
        operationId: 'getDeviceConfiguration',
        summary: 'Show what the interfaces of a device are told, and where each part comes from',
        tags,
        params: ofDevice,
        querystring: closed({ project_id }),
        response: { 200: taggedByContent(ref(DeviceConfiguration)), ...problems() },
      },
    },
    async (request, reply) => {
      const { device_id } = request.params
      const found = await configurationOfDevice(db, {
        device_id,
        ...request.query,
        bound: boundTo(request),
      })
      return sendTagged(request, reply, { device_id, interfaces: found.map(show) })
    },
  )

  app.get(
    '/v2/devices/:device_id/network-data',
    {
      schema: {
        operationId: 'getDeviceNetworkData',
        summary: 'Show the network of a device as OpenStack or cloud-init describes it',
        tags,
        params: ofDevice,
        querystring: closed({
          project_id,
          format: oneOf(['openstack', 'cloud-init'], {
            default: 'openstack',
            description:
              '`openstack`: network_data.json. `cloud-init`: network config version 2, whose JSON is YAML, too.',
          }),
        }),
        response: {
          200: taggedByContent(Type.Union([ref(NetworkData), ref(CloudInitNetwork)])),
          ...problems(),
        },
      },
    },
    async (request, reply) => {
      const { device_id } = request.params
      const { project_id, format } = request.query
      const found = await configurationOfDevice(db, {
        device_id,
        project_id,
        bound: boundTo(request),
      })
      return sendTagged(request, reply, formats[format](found))
    },
  )
}

function show({ nic, mtu, subnets, prefixes }: HostInterface): InterfaceConfiguration {
  const { id, device_id, project_id, network_id, name, mac_address } = nic
  return {
    interface_id: id,
    device_id,
    project_id,
    network_id,
    name,
    mac_address,
    mtu,
    subnets: subnets.map(({ block, options, ...rest }) => ({
      block_id: block.id,
      network_id: block.network_id,
      cidr: block.cidr,
      version: block.version,
      ...rest,
      options: options.map(({ option, value, ...from }) => ({
        ...showValue(option, value),
        ...from,
      })),
    })),
    prefixes: prefixes.map(({ address, ...rest }) => ({ ...rest, prefix: address })),
  }
}
