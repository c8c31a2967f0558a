import { findAddress, waitsFor } from './address-store.ts'
import { showAddressRow } from './address-views.ts'
import { namedAddress } from './addresses.ts'
import { type BlockRow, getOwnBlock } from './block-store.ts'
import { parentBlock } from './blocks.ts'
import { Fault, notFound } from './fault.ts'
import { listPartners, mapAll, type Side, unmap } from './nat-store.ts'
import { pageOf } from './page.ts'
import { readFields } from './request-body.ts'
import { type Answer, type Call, route } from './route-table.ts'
import { readAddress, textOf } from './values.ts'

const addressPath = '/ipam/tenants/:tenant_id/ip_blocks/:ip_block_id/ip_addresses/:address'

/**
 * The allocation of an address of a block; null where the address waits for its last owner.
 *
 * @throws {Fault} 404
 */
async function findOrWaiting({ db }: Call, block: BlockRow, address: string) {
  const found = await findAddress(db, block, address)
  if (found) return found
  if (await waitsFor(db, block, address)) return null
  throw notFound('IpAddress')
}

/** The same of what has to be held. @throws {Fault} 404, 422 */
async function findHeld(call: Call, block: BlockRow, address: string): Promise<string> {
  const found = await findOrWaiting(call, block, address)
  if (!found) throw new Fault(422, 'Address is locked')
  return found.id
}

/** The partners that a body names. @throws {Fault} 400, 404, 422 */
async function readPartners(call: Call): Promise<string[]> {
  const named = call.body.get('ip_addresses')
  if (!Array.isArray(named)) throw new Fault(400, 'ip_addresses should be a list')
  const partners: string[] = []
  for (const one of named) {
    const fields = readFields(one, 'ip_address')
    const id = textOf(fields.get('ip_block_id'))
    const address = textOf(fields.get('ip_address'))
    if (id === undefined || address === undefined) {
      throw new Fault(400, 'ip_block_id and ip_address should be present')
    }
    const block = await getOwnBlock(call.db, { id, tenant_id: call.params.tenant_id ?? '' })
    partners.push(await findHeld(call, block, namedAddress({ params: { address } })))
  }
  return partners
}

function natRoutes(name: string, side: Side) {
  const path = `${addressPath}/${name}`
  const own = async (call: Call) => findOrWaiting(call, await parentBlock(call), namedAddress(call))
  const remove = async (call: Call): Promise<Answer> => {
    const { db, params } = call
    const held = await own(call)
    const partner = params.partner === undefined ? null : readAddress(params.partner)
    if (params.partner !== undefined && !partner) return { status: 200 }
    if (held) await unmap(db, { id: held.id, side, partner })
    return { status: 200 }
  }
  return [
    route('GET', path, async call => {
      const held = await own(call)
      const page = pageOf(call)
      const found = held ? await listPartners(call.db, { id: held.id, side }, page) : []
      return { status: 200, root: 'ip_addresses', data: found.map(showAddressRow) }
    }),
    route('POST', path, async call => {
      const id = await findHeld(call, await parentBlock(call), namedAddress(call))
      await mapAll(call.db, { id, side, partners: await readPartners(call) })
      return { status: 200 }
    }),
    route('DELETE', path, remove),
    route('DELETE', `${path}/:partner`, remove),
  ]
}

export const natMappingRoutes = [
  ...natRoutes('inside_globals', 'local'),
  ...natRoutes('inside_locals', 'global'),
]
