import { formatAddress, parseAddress } from '../ip/address.ts'
import { addressesOf, deallocate, lockBlockRows, waitingBlocks } from './address-store.ts'
import { showConfiguration, showInterface } from './address-views.ts'
import { allocateOfNetwork, NoMoreAddresses } from './allocate.ts'
import type { BlockRow } from './block-store.ts'
import { originOf } from './block-views.ts'
import { createDescribedBlock, purgeBlocks } from './block-write-store.ts'
import { networkBlocks } from './blocks.ts'
import { Fault, notFound, refuseField } from './fault.ts'
import {
  findByName,
  findOfDevice,
  getInterfaceRow,
  type InterfaceRow,
  listOfDevice,
  NoMoreMacs,
} from './interface-store.ts'
import { readFields, readModel } from './request-body.ts'
import { type Answer, type Call, resource, route } from './route-table.ts'
import {
  createInterface,
  deleteInterface,
  obtainInterface,
  optionalText,
  type Plug,
  readMacOf,
} from './takers.ts'
import { type Data, type Fields, readNetwork, textOf } from './values.ts'

const onlyOld = { versions: ['0.1'] } as const
const onlyNew = { versions: ['1.0'] } as const

const required = (row: InterfaceRow | null): InterfaceRow => {
  if (!row) throw notFound('Interface')
  return row
}

async function show({ db, settings }: Call, row: InterfaceRow): Promise<Data> {
  return showInterface(row, await showConfiguration(db, await addressesOf(db, row.id), settings))
}

type NetworkPlace = { readonly name: string; readonly tenant_id: string }

/**
 * The blocks of a tenant in a network. Where there are none, one is made of `default_cidr`.
 *
 * @throws {Fault} 404
 */
async function obtainBlocks(call: Call, place: NetworkPlace): Promise<readonly BlockRow[]> {
  const { db, settings } = call
  const prefix = settings.default_cidr === undefined ? null : readNetwork(settings.default_cidr)
  try {
    return await networkBlocks(db, place)
  } catch (fault) {
    if (!prefix || !(fault instanceof Fault)) throw fault
  }
  const { dns1, dns2 } = settings
  const servers = [dns1, dns2].flatMap(text => parseAddress(text) ?? []).map(formatAddress)
  await createDescribedBlock(db, {
    tenant_id: place.tenant_id,
    prefix,
    place: 'private',
    origin: originOf(prefix, settings),
    gateway: null,
    gateway_ip: null,
    dns1,
    dns2,
    dns_nameservers: [...new Set(servers)],
    policy_id: null,
    network: place.name,
    empty_members: [],
  })
  return networkBlocks(db, place)
}

function readAddresses(fields: Fields): string[] {
  const value = fields.get('addresses')
  if (value === undefined || value === null || value === '') return []
  if (!Array.isArray(value)) throw new Fault(400, 'addresses should be a list')
  return value.map(one => textOf(one) ?? refuseField('addresses', 'addresses should be texts'))
}

/** Which network an interface is to be on, and with which addresses; null if it is to be on none. */
function readNetworkOf(fields: Fields) {
  const network = readFields(fields.get('network'), 'network')
  if (network.size === 0) return null
  const name = optionalText(network, 'id')
  const tenant_id = optionalText(network, 'tenant_id')
  if (name === null) refuseField('id', 'id of network should be present')
  if (tenant_id === null) refuseField('tenant_id', 'tenant_id of network should be present')
  return { place: { name, tenant_id }, addresses: readAddresses(network) }
}

const readInterface = (fields: Fields, given: { vif: string; device_id: string | null }) => ({
  vif_id: optionalText(fields, given.vif),
  tenant_id: optionalText(fields, 'tenant_id') ?? '',
  device_id: given.device_id ?? optionalText(fields, 'device_id'),
  mac: readMacOf(fields),
})

type Described = ReturnType<typeof readInterface>

/**
 * Makes an interface with its MAC and the addresses of its network, or nothing of it. Where there are
 * no more MACs it is made without any, as in the original, and the refusal is returned.
 *
 * @throws {Fault} 400, 404, 422
 */
async function configure(
  call: Call,
  said: Described,
  fields: Fields,
): Promise<InterfaceRow | NoMoreMacs> {
  const { db, settings } = call
  const network = readNetworkOf(fields)
  const blocks = network ? await obtainBlocks(call, network.place) : []
  await lockBlockRows(
    db,
    blocks.map(({ id }) => id),
  )
  const made = await createInterface(db, said)
  if ('refusal' in made) return made.refusal
  const { taker, save } = made
  if (network) {
    const { addresses } = network
    await allocateOfNetwork({ db, settings }, { blocks, taker, addresses })
  }
  await save()
  return getInterfaceRow(db, taker.id)
}

const ownInterface = async ({ db, params }: Call): Promise<InterfaceRow> =>
  required(await findByName(db, params.virtual_interface_id ?? '', params.tenant_id))

const interfaces = [
  route(
    'GET',
    '/ipam/tenants/:tenant_id/interfaces/:virtual_interface_id',
    async call => {
      return { status: 200, root: 'interface', data: await show(call, await ownInterface(call)) }
    },
    onlyOld,
  ),
  route(
    'DELETE',
    '/ipam/interfaces/:virtual_interface_id',
    async call => {
      await deleteInterface(call.db, (await ownInterface(call)).id)
      return { status: 200 }
    },
    onlyOld,
  ),
  ...resource(
    '/ipam/interfaces',
    {
      async create(call) {
        const fields = readModel(call, 'interface')
        const said = readInterface(fields, { vif: 'id', device_id: null })
        const row = await configure(call, said, fields)
        if (row instanceof NoMoreMacs) return { status: row.status, fault: row }
        return { status: 201, root: 'interface', data: await show(call, row) }
      },
      async show(call) {
        const row = required(await findByName(call.db, call.params.id ?? ''))
        return { status: 200, root: 'interface', data: await show(call, row) }
      },
    },
    ['0.1'],
  ),
]

const allocationsPath =
  '/ipam/tenants/:tenant_id/networks/:network_id/interfaces/:interface_id/ip_allocations'

const placeOf = ({ params }: Call): NetworkPlace => ({
  name: params.network_id ?? '',
  tenant_id: params.tenant_id ?? '',
})

/** Allocates, and puts the interface there; where nothing is free the blocks stay marked. */
async function allocateFor(
  call: Call,
  request: { readonly blocks: readonly BlockRow[]; readonly plug: Plug; addresses: string[] },
): Promise<Answer> {
  const { db, settings } = call
  const { blocks, plug, addresses } = request
  try {
    const found = await allocateOfNetwork(
      { db, settings },
      { blocks, taker: plug.taker, addresses },
    )
    await plug.save()
    const held = await addressesOf(db, plug.taker.id)
    const named = found.map(({ id }) => held.find(one => one.id === id) ?? null)
    const shown = named.filter(one => one !== null)
    const data = await showConfiguration(db, shown, settings)
    return { status: 201, root: 'ip_addresses', data }
  } catch (fault) {
    if (!(fault instanceof NoMoreAddresses)) throw fault
    await plug.save()
    return { status: fault.status, fault }
  }
}

const allocations = [
  route(
    'POST',
    allocationsPath,
    async call => {
      const { db, params } = call
      const blocks = await obtainBlocks(call, placeOf(call))
      const fields = readModel(call, 'network')
      await lockBlockRows(
        db,
        blocks.map(({ id }) => id),
      )
      const plug = await obtainInterface(call, {
        vif_id: params.interface_id ?? null,
        tenant_id: optionalText(fields, 'tenant_id') ?? params.tenant_id ?? '',
        device_id: optionalText(fields, 'used_by_device'),
        mac: readMacOf(fields),
      })
      return allocateFor(call, { blocks, plug, addresses: readAddresses(fields) })
    },
    onlyOld,
  ),
  route(
    'GET',
    allocationsPath,
    async call => {
      const { db, params, settings } = call
      const blocks = await networkBlocks(db, placeOf(call))
      const { id } = required(await findByName(db, params.interface_id ?? ''))
      const held = await addressesOf(db, id)
      const ofNetwork = held.filter(({ block_id }) => blocks.some(block => block.id === block_id))
      const data = await showConfiguration(db, ofNetwork, settings)
      return { status: 200, root: 'ip_addresses', data }
    },
    onlyOld,
  ),
  route(
    'DELETE',
    allocationsPath,
    async call => {
      const { db, params, settings } = call
      const place = placeOf(call)
      const [block] = await networkBlocks(db, place)
      const network_id = block?.network_id ?? ''
      const { id } = required(await findByName(db, params.interface_id ?? ''))
      const held = (await addressesOf(db, id)).filter(one => one.network_id === network_id)
      await deallocate(
        db,
        held.map(one => one.id),
      )
      if (settings.keep_deallocated_ips) return { status: 200 }
      const { tenant_id } = place
      await purgeBlocks(db, await waitingBlocks(db, { tenant_id, network_id }))
      return { status: 200 }
    },
    onlyOld,
  ),
]

const devicePath = '/ipam/instances/:device_id/interfaces'

const ofDevice = async ({ db, params }: Call, id = params.id): Promise<InterfaceRow> => {
  const { device_id = '', tenant_id } = params
  return required(await findOfDevice(db, { id: id ?? '', device_id, tenant_id }))
}

async function deleteOfDevice({ db, params }: Call): Promise<void> {
  for (const { id } of await listOfDevice(db, params.device_id ?? '')) await deleteInterface(db, id)
}

async function showAll(call: Call, found: readonly InterfaceRow[]): Promise<Answer> {
  const shown: Data[] = []
  for (const row of found) shown.push(await show(call, row))
  return { status: 200, root: 'instance', data: { interfaces: shown } }
}

const instances = [
  route('PUT', devicePath, async call => {
    const fields = readModel(call, 'instance')
    const tenant_id = optionalText(fields, 'tenant_id') ?? ''
    const wanted = fields.get('interfaces') ?? []
    if (!Array.isArray(wanted)) throw new Fault(400, 'interfaces should be a list')
    await deleteOfDevice(call)
    const made: InterfaceRow[] = []
    for (const one of wanted) {
      const of = readFields(one, 'interface')
      const given = { vif: 'virtual_interface_id', device_id: call.params.device_id ?? '' }
      const row = await configure(call, { ...readInterface(of, given), tenant_id }, of)
      if (row instanceof NoMoreMacs) throw row
      made.push(row)
    }
    return showAll(call, made)
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
      return { status: 200, root: 'interface', data: await show(call, row) }
    },
    async show(call) {
      return { status: 200, root: 'interface', data: await show(call, await ofDevice(call)) }
    },
    async remove(call) {
      await deleteInterface(call.db, (await ofDevice(call)).id)
      return { status: 200 }
    },
  }),
  route('GET', '/ipam/tenants/:tenant_id/instances/:device_id/interfaces/:id', async call => {
    return { status: 200, root: 'interface', data: await show(call, await ofDevice(call)) }
  }),
]

const deviceAddresses = [
  route(
    'DELETE',
    `${devicePath}/:interface_id/ip_addresses/:address`,
    async call => {
      const { db, params } = call
      const { id } = await ofDevice(call, params.interface_id)
      const held = await addressesOf(db, id)
      if (!held[0]) throw notFound('IpAddress')
      const wanted = parseAddress(params.address ?? '')
      if (!wanted) throw new Fault(400, `${params.address} is not a valid address`)
      const found = held.find(({ address }) => address === formatAddress(wanted))
      if (!found) {
        throw new Fault(404, `IpAddress ${params.address} of interface ${id} not found`)
      }
      await deallocate(db, [found.id])
      return { status: 200 }
    },
    onlyNew,
  ),
  ...resource(
    `${devicePath}/:interface_id/ip_addresses`,
    {
      async create(call) {
        const { db, params } = call
        const taker = await ofDevice(call, params.interface_id)
        const fields = readModel(call, 'network')
        const name = optionalText(fields, 'id')
        const tenant_id = optionalText(fields, 'tenant_id')
        if (name === null) refuseField('id', 'id of network should be present')
        if (tenant_id === null) refuseField('tenant_id', 'tenant_id of network should be present')
        const blocks = await networkBlocks(db, { name, tenant_id })
        await lockBlockRows(
          db,
          blocks.map(({ id }) => id),
        )
        const plug = { taker, save: async () => undefined }
        return allocateFor(call, { blocks, plug, addresses: readAddresses(fields) })
      },
    },
    ['1.0'],
  ),
]

export const interfaceRoutes = [...interfaces, ...allocations, ...instances, ...deviceAddresses]
