import { deleteInterface } from '../resources/interfaces/store.ts'
import { addressesOf, waitingBlocks } from './address-store.ts'
import { showConfiguration } from './address-views.ts'
import type { BlockRow } from './block-store.ts'
import { purgeBlocks } from './block-write-store.ts'
import { networkBlocks } from './blocks.ts'
import {
  allocateFor,
  configure,
  type NetworkPlace,
  obtainBlocks,
  readAddresses,
  readInterface,
  required,
  showOne,
} from './configure.ts'
import { findByName, type InterfaceRow, lockByName, NoMoreMacs } from './interface-store.ts'
import { readModel } from './request-body.ts'
import { type Call, resource, route } from './route-table.ts'
import { obtainInterface, optionalText, readMacOf, takeFrom, tenantOf } from './takers.ts'

const onlyOld = { versions: ['0.1'] } as const

const ownInterface = async ({ db, params }: Call): Promise<InterfaceRow> =>
  required(await findByName(db, params.virtual_interface_id ?? '', params.tenant_id))

const interfaces = [
  route(
    'GET',
    '/ipam/tenants/:tenant_id/interfaces/:virtual_interface_id',
    async call => {
      return { status: 200, root: 'interface', data: await showOne(call, await ownInterface(call)) }
    },
    onlyOld,
  ),
  route(
    'DELETE',
    '/ipam/interfaces/:virtual_interface_id',
    async call => {
      const { id } = await ownInterface(call)
      await deleteInterface(call.db, { id })
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
        return { status: 201, root: 'interface', data: await showOne(call, row) }
      },
      async show(call) {
        const row = required(await findByName(call.db, call.params.id ?? ''))
        return { status: 200, root: 'interface', data: await showOne(call, row) }
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

const allocations = [
  route(
    'POST',
    allocationsPath,
    async call => {
      const { params } = call
      const fields = readModel(call, 'network')
      const said = {
        vif_id: params.interface_id ?? null,
        tenant_id: tenantOf(fields, params.tenant_id),
        device_id: optionalText(fields, 'used_by_device'),
        mac: readMacOf(fields),
      }
      call.reach(said.tenant_id)
      let blocks: readonly BlockRow[] = []
      const plug = await obtainInterface(call, said, async () => {
        blocks = await obtainBlocks(call, placeOf(call))
        return blocks
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
      const { id, tenant_id } = required(await findByName(db, params.interface_id ?? ''))
      call.reach(tenant_id)
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
      const taker = required(await lockByName(db, params.interface_id ?? ''))
      call.reach(taker.tenant_id)
      const [block] = await networkBlocks(db, place)
      const network_id = block?.network_id ?? ''
      const held = (await addressesOf(db, taker.id)).filter(one => one.network_id === network_id)
      const releasing = held.map(({ id }) => id)
      if (settings.keep_deallocated_ips) {
        await takeFrom(db, taker, { releasing })
        return { status: 200 }
      }
      const purged = { tenant_id: place.tenant_id, network_id }
      const blocks = [...(await waitingBlocks(db, purged)), ...held.map(({ block_id }) => block_id)]
      await takeFrom(db, taker, { releasing, blocks })
      // What waits elsewhere since then is not locked.
      const waiting = await waitingBlocks(db, purged)
      await purgeBlocks(
        db,
        waiting.filter(id => blocks.includes(id)),
      )
      return { status: 200 }
    },
    onlyOld,
  ),
]

export const interfaceRoutes = [...interfaces, ...allocations]
