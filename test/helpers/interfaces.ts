import type {
  Interface,
  InterfaceRequest,
  InterfaceSpec,
} from '../../src/resources/interfaces/schema.ts'
import { type Answer, type Api, expectStatus, networks } from './api.ts'

export const askInterface = (api: Api, request: Partial<InterfaceRequest> = {}): Promise<Answer> =>
  api.post('/v2/interfaces', { project_id: 'red', network_id: networks[0], ...request })

export const createInterface = async (api: Api, request: Partial<InterfaceRequest> = {}) =>
  expectStatus(201, await askInterface(api, request)) as unknown as Interface

export const putInterfaces = (
  api: Api,
  device: string,
  interfaces: (Partial<InterfaceSpec> & object)[],
): Promise<Answer> =>
  api.put(`/v2/devices/${device}/interfaces`, {
    project_id: 'red',
    interfaces: interfaces.map(one => ({ network_id: networks[0], ...one })),
  })

/** The interfaces of an answer. */
export const interfacesOf = (answer: Answer): Interface[] =>
  (expectStatus(200, answer) as unknown as { interfaces: Interface[] }).interfaces

export const addressesOf = ({ addresses }: Interface): string[] =>
  addresses.map(({ address }) => address)
