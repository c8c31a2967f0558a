import { formatAddress } from '../ip/address.ts'
import {
  deallocate,
  findAddress,
  getAddress,
  listAddresses,
  listAllocated,
  restoreDetached,
  waitsFor,
} from './address-store.ts'
import { showAddressRow } from './address-views.ts'
import { allocateAddress, NoMoreAddresses } from './allocate.ts'
import { type BlockRow, getBlockOfHolder, getUsableBlock } from './block-store.ts'
import { parentBlock } from './blocks.ts'
import { Fault, notFound } from './fault.ts'
import { pageAnswer, pageOf } from './page.ts'
import { readModel } from './request-body.ts'
import { type Answer, type Call, route } from './route-table.ts'
import { obtainInterface, optionalText, readMacOf, tell, tenantOf } from './takers.ts'
import { readAddress } from './values.ts'

/**
 * The address that the path names, in its one spelling.
 *
 * @throws {Fault} 400
 */
export function namedAddress({ params }: Pick<Call, 'params'>): string {
  const address = readAddress(params.address ?? '')
  if (!address) throw new Fault(400, `${params.address} is not a valid address`)
  return formatAddress(address)
}

/** The address of the path, which somebody holds. @throws {Fault} 404 */
export async function heldAddress(call: Call) {
  const block = await blockOfAddress(call)
  const found = await findAddress(call.db, block, namedAddress(call))
  if (!found) throw notFound('IpAddress')
  return found
}

const pathOf = ({ params }: Pick<Call, 'params'>) => {
  return { id: params.ip_block_id ?? '', tenant_id: params.tenant_id ?? '' }
}

/** The block of the path, where the tenant has it, or holds the address of the path. */
async function blockOfAddress(call: Call): Promise<BlockRow> {
  try {
    return await parentBlock(call)
  } catch (fault) {
    if (!readAddress(call.params.address ?? '')) throw fault
    return getBlockOfHolder(call.db, { ...pathOf(call), address: namedAddress(call) })
  }
}

async function allocate(call: Call): Promise<Answer> {
  const { db, params, settings } = call
  const block = await getUsableBlock(db, pathOf(call))
  const fields = readModel(call, 'ip_address')
  const tenant_id = tenantOf(fields, params.tenant_id)
  call.reach(tenant_id)
  const said = {
    vif_id: optionalText(fields, 'interface_id'),
    device_id: optionalText(fields, 'used_by_device'),
    mac: readMacOf(fields),
    tenant_id,
  }
  const plug = await obtainInterface(call, said, async () => [block])
  const address = optionalText(fields, 'address')
  const request = { block, taker: plug.taker, address }
  try {
    const { id } = await allocateAddress({ db, settings }, request)
    await tell(db, plug, { isChanged: true })
    const held = await getAddress(db, id)
    return { status: 201, root: 'ip_address', data: showAddressRow(held) }
  } catch (fault) {
    if (!(fault instanceof NoMoreAddresses)) throw fault
    await tell(db, plug, { isChanged: false })
    return { status: fault.status, fault }
  }
}

async function listHeld(call: Call): Promise<Answer> {
  const { db, params, query } = call
  const page = pageOf(call)
  const filter = {
    tenant_id: params.tenant_id,
    used_by_device: query.get('used_by_device'),
    address: query.get('address'),
  }
  const found = await listAllocated(db, filter, page)
  return pageAnswer(call, 'ip_addresses', { found, limit: page.limit, show: showAddressRow })
}

const blockPath = '/ipam/tenants/:tenant_id/ip_blocks/:ip_block_id/ip_addresses'

export const addressRoutes = [
  route('GET', blockPath, async call => {
    const block = await parentBlock(call)
    const page = pageOf(call)
    const found = await listAddresses(call.db, block, page)
    return pageAnswer(call, 'ip_addresses', { found, limit: page.limit, show: showAddressRow })
  }),
  route('POST', blockPath, allocate),
  route('GET', `${blockPath}/:address`, async call => {
    return { status: 200, root: 'ip_address', data: showAddressRow(await heldAddress(call)) }
  }),
  route('DELETE', `${blockPath}/:address`, async call => {
    const { db } = call
    const block = await blockOfAddress(call)
    const address = namedAddress(call)
    const found = await findAddress(db, block, address)
    if (found) await deallocate(db, [found.id])
    else if (!(await waitsFor(db, block, address))) throw notFound('IpAddress')
    return { status: 200 }
  }),
  route('PUT', `${blockPath}/:address/restore`, async call => {
    const { db } = call
    const block = await parentBlock(call)
    const address = namedAddress(call)
    if (await findAddress(db, block, address)) return { status: 200 }
    const ended = await waitsFor(db, block, address)
    if (!ended) throw notFound('IpAddress')
    await restoreDetached(db, ended)
    return { status: 200 }
  }),
  route('GET', '/ipam/allocated_ip_addresses', listHeld),
  route('GET', '/ipam/tenants/:tenant_id/allocated_ip_addresses', listHeld),
]
