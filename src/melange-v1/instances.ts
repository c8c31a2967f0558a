import { formatAddress, parseAddress } from '../ip/address.ts'
import { appendEvents } from '../resources/events/store.ts'
import {
  heldBy,
  lockManyMacs,
  lockSpace,
  releaseAddresses,
  removeInterfaces,
} from '../resources/interfaces/parts-store.ts'
import {
  deleteInterface,
  deleteInterfaces,
  interfaceEvent,
  lockDevice,
  lockInterfacesOfDevice,
} from '../resources/interfaces/store.ts'
import { addressesOf } from './address-store.ts'
import { networkBlocks } from './blocks.ts'
import {
  allocateFor,
  configure,
  giveAddresses,
  readAddresses,
  readInterface,
  readWanted,
  required,
  showOne,
  type Wanted,
} from './configure.ts'
import { Fault, notFound, refuseField } from './fault.ts'
import {
  findOfDevice,
  type InterfaceRow,
  listOfDevice,
  lockMacs,
  lockOfDevice,
  NoMoreMacs,
} from './interface-store.ts'
import { readFields, readModel } from './request-body.ts'
import { type Answer, type Call, resource, route } from './route-table.ts'
import { bringTo, type Made, optionalText, putThere, refuseTaken, takeFrom } from './takers.ts'
import type { Data, Fields } from './values.ts'

const onlyNew = { versions: ['1.0'] } as const

const devicePath = '/ipam/instances/:device_id/interfaces'

const ofDevice = async ({ db, params }: Call): Promise<InterfaceRow> => {
  const { id = '', device_id = '', tenant_id } = params
  return required(await findOfDevice(db, { id, device_id, tenant_id }))
}

async function showAll(call: Call, found: readonly InterfaceRow[]): Promise<Answer> {
  const shown: Data[] = []
  for (const row of found) shown.push(await showOne(call, row))
  return { status: 200, root: 'instance', data: { interfaces: shown } }
}

async function deleteOfDevice({ db, params }: Call): Promise<void> {
  await deleteInterfaces(db, await lockInterfacesOfDevice(db, params.device_id ?? ''))
}

/** Gives a device these interfaces instead of those that it has. @throws {Fault} */
async function replaceOfDevice(
  call: Call,
  { tenant_id, asked }: { readonly tenant_id: string; readonly asked: readonly Fields[] },
): Promise<InterfaceRow[]> {
  const { db, params } = call
  const { device_id = '' } = params
  if (asked.length === 0) {
    await deleteOfDevice(call)
    return []
  }
  if (tenant_id === '') refuseField('tenant_id', 'tenant_id should be present')
  const device = { project_id: tenant_id, device_id }
  const gone = await lockDevice(db, device, { only_own: false })
  const given = { vif: 'virtual_interface_id', device_id }
  const wanted: Wanted[] = []
  for (const of of asked) {
    wanted.push(await readWanted(call, { ...readInterface(of, given), tenant_id }, of))
  }
  const held = heldBy(gone)
  const blocks = wanted.flatMap(one => one.blocks)
  await lockSpace(db, {
    project_id: tenant_id,
    other_projects: gone.map(one => one.project_id),
    more: wanted.length - gone.filter(one => one.project_id === tenant_id).length,
    names: wanted.flatMap(({ said }) => said.vif_id ?? []),
    gone: gone.map(({ id }) => id),
    taking: [],
    held,
    networks: blocks.flatMap(({ network_id }) => network_id ?? []),
    blocks: blocks.map(({ id }) => id),
  })
  await lockMacs(
    db,
    wanted.map(({ said }) => said.mac),
  )
  await lockManyMacs(db)
  const events = await removeInterfaces(db, gone)
  const made: Made[] = []
  for (const { said, blocks } of wanted) {
    await refuseTaken(db, said)
    const one = await putThere(db, said, blocks)
    if (one.refusal) throw one.refusal
    made.push(one)
  }
  await releaseAddresses(db, held)
  events.push(...gone.map(one => interfaceEvent('interface.deleted', one)))
  await appendEvents(db, events)
  const answer: InterfaceRow[] = []
  for (const [n, one] of made.entries()) {
    answer.push(await giveAddresses(call, one, wanted[n] as Wanted))
  }
  return answer
}

const instances = [
  route('PUT', devicePath, async call => {
    const fields = readModel(call, 'instance')
    const tenant_id = optionalText(fields, 'tenant_id') ?? ''
    const wanted = fields.get('interfaces') ?? []
    if (!Array.isArray(wanted)) throw new Fault(400, 'interfaces should be a list')
    const asked = wanted.map(one => readFields(one, 'interface'))
    return showAll(call, await replaceOfDevice(call, { tenant_id, asked }))
  }),
  route('GET', devicePath, async call =>
    showAll(call, await listOfDevice(call.db, call.params.device_id ?? '')),
  ),
  route('DELETE', devicePath, async call => {
    await deleteOfDevice(call)
    return { status: 200 }
  }),
  ...resource(devicePath, {
    async create(call) {
      const fields = readModel(call, 'interface')
      const given = { vif: 'virtual_interface_id', device_id: call.params.device_id ?? '' }
      const row = await configure(call, readInterface(fields, given), fields)
      if (row instanceof NoMoreMacs) return { status: row.status, fault: row }
      return { status: 200, root: 'interface', data: await showOne(call, row) }
    },
    async show(call) {
      return { status: 200, root: 'interface', data: await showOne(call, await ofDevice(call)) }
    },
    async remove(call) {
      const { id } = await ofDevice(call)
      await deleteInterface(call.db, { id })
      return { status: 200 }
    },
  }),
  route('GET', '/ipam/tenants/:tenant_id/instances/:device_id/interfaces/:id', async call => {
    return { status: 200, root: 'interface', data: await showOne(call, await ofDevice(call)) }
  }),
]

/** The interface of a device whose addresses the path names, locked. @throws {Fault} 404 */
const ownOfDevice = async ({ db, params }: Call): Promise<InterfaceRow> => {
  const { interface_id: id = '', device_id = '' } = params
  return required(await lockOfDevice(db, { id, device_id }))
}

const deviceAddresses = [
  route(
    'DELETE',
    `${devicePath}/:interface_id/ip_addresses/:address`,
    async call => {
      const { db, params } = call
      const taker = await ownOfDevice(call)
      const { id } = taker
      const held = await addressesOf(db, id)
      if (!held[0]) throw notFound('IpAddress')
      const wanted = parseAddress(params.address ?? '')
      if (!wanted) throw new Fault(400, `${params.address} is not a valid address`)
      const found = held.find(({ address }) => address === formatAddress(wanted))
      if (!found) {
        throw new Fault(404, `IpAddress ${params.address} of interface ${id} not found`)
      }
      await takeFrom(db, taker, { releasing: [found.id] })
      return { status: 200 }
    },
    onlyNew,
  ),
  ...resource(
    `${devicePath}/:interface_id/ip_addresses`,
    {
      async create(call) {
        const { db } = call
        const taker = await ownOfDevice(call)
        const fields = readModel(call, 'network')
        const name = optionalText(fields, 'id')
        const tenant_id = optionalText(fields, 'tenant_id')
        if (name === null) refuseField('id', 'id of network should be present')
        if (tenant_id === null) refuseField('tenant_id', 'tenant_id of network should be present')
        const blocks = await networkBlocks(db, { name, tenant_id })
        const plug = await bringTo(db, taker, blocks)
        return allocateFor(call, { blocks, plug, addresses: readAddresses(fields) })
      },
    },
    ['1.0'],
  ),
]

export const instanceRoutes = [...instances, ...deviceAddresses]
