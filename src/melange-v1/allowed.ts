import { formatAddress, parseAddress } from '../ip/address.ts'
import { findAddress } from './address-store.ts'
import { showAddressRow } from './address-views.ts'
import { allowAddress, disallowAddress, listAllowed } from './allowed-store.ts'
import { networkBlocks } from './blocks.ts'
import { Fault, notFound, refuseField } from './fault.ts'
import { findByName } from './interface-store.ts'
import { readModel } from './request-body.ts'
import { type Call, resource, route } from './route-table.ts'
import { optionalText } from './takers.ts'

const path = '/ipam/tenants/:tenant_id/interfaces/:interface_id/allowed_ips'

async function ownInterface({ db, params }: Call) {
  const found = await findByName(db, params.interface_id ?? '', params.tenant_id)
  if (!found) throw notFound('Interface')
  return found
}

/** The address of the path, which the interface may use. @throws {Fault} 404 */
async function findAllowed(call: Call) {
  const holder = await ownInterface(call)
  const wanted = parseAddress(call.params.address ?? '')
  const allowed = wanted ? await listAllowed(call.db, holder) : []
  const found = allowed.find(({ address }) => wanted && address === formatAddress(wanted))
  if (!found) {
    const name = holder.vif_id ?? holder.id
    const detail = `Ip Address ${call.params.address} hasnt been allowed on interface ${name}`
    throw new Fault(404, detail)
  }
  return { holder, found }
}

const single = { versions: ['0.1'], suffix: 'none' } as const

export const allowedRoutes = [
  route(
    'GET',
    `${path}/:address`,
    async call => {
      const { found } = await findAllowed(call)
      return { status: 200, root: 'ip_address', data: showAddressRow(found) }
    },
    single,
  ),
  route(
    'DELETE',
    `${path}/:address`,
    async call => {
      const { holder, found } = await findAllowed(call)
      await disallowAddress(call.db, holder.id, found)
      return { status: 200 }
    },
    single,
  ),
  ...resource(
    path,
    {
      async index(call) {
        const found = await listAllowed(call.db, await ownInterface(call))
        return { status: 200, root: 'ip_addresses', data: found.map(showAddressRow) }
      },
      async create(call) {
        const { db, params } = call
        const holder = await ownInterface(call)
        const fields = readModel(call, 'allowed_ip')
        const name = optionalText(fields, 'network_id')
        const text = optionalText(fields, 'ip_address')
        if (name === null) refuseField('network_id', 'network_id should be present')
        if (text === null) refuseField('ip_address', 'ip_address should be present')
        const blocks = await networkBlocks(db, { name })
        const wanted = parseAddress(text)
        if (!wanted) throw new Fault(400, `${text} is not a valid address`)
        for (const block of blocks) {
          const found = await findAddress(db, block, formatAddress(wanted))
          if (!found || found.tenant_id !== params.tenant_id) continue
          if (holder.network_id !== block.network_id) {
            const name = holder.vif_id ?? holder.id
            const detail = `Ip ${text} cannot be allowed on interface ${name} as interface is not configured for ip's network`
            throw new Fault(422, detail)
          }
          await allowAddress(db, holder.id, formatAddress(wanted))
          return { status: 201, root: 'ip_address', data: showAddressRow(found) }
        }
        throw new Fault(404, `IpAddress ${text} for network ${name} not found`)
      },
    },
    ['0.1'],
  ),
]
