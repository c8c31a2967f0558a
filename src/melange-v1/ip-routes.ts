import { getOwnBlock } from './block-store.ts'
import { FieldErrors, notFound } from './fault.ts'
import { pageAnswer, pageOf } from './page.ts'
import { readModel } from './request-body.ts'
import {
  deleteIpRoute,
  findIpRoute,
  listIpRoutes,
  type RouteRow,
  type Words,
  writeIpRoute,
} from './route-store.ts'
import { type Call, resource } from './route-table.ts'
import { type Data, echoNumbers, type Fields, Timestamp, textOf } from './values.ts'

const showRoute = (route: RouteRow) => ({
  id: route.id,
  destination: route.destination,
  netmask: route.netmask,
  gateway: route.gateway,
  created_at: new Timestamp(route.created_at),
  updated_at: new Timestamp(route.updated_at),
})

const echo = (fields: Fields, route: RouteRow): Data =>
  echoNumbers(showRoute(route), fields, ['destination', 'gateway', 'netmask'])

const lengthMax = 255

function readWords(fields: Fields, before: Words | null): Words {
  const errors = new FieldErrors()
  const read = (name: keyof Words) => {
    const value = fields.has(name) ? fields.get(name) : before?.[name]
    const text = value === undefined || value === null ? '' : textOf(value)
    if (text === undefined || text.length > lengthMax) errors.add(name, `${name} should be a text`)
    else if (text === '' && name !== 'netmask') errors.add(name, `${name} should be present`)
    return text ?? ''
  }
  const [destination, gateway, netmask] = [read('destination'), read('gateway'), read('netmask')]
  errors.throwIfAny()
  const mask = fields.has('netmask') ? fields.get('netmask') : (before?.netmask ?? null)
  return { destination, gateway, netmask: mask === null ? null : netmask }
}

const ownBlock = ({ db, params }: Call) =>
  getOwnBlock(db, { id: params.source_block_id ?? '', tenant_id: params.tenant_id ?? '' })

async function find(call: Call): Promise<RouteRow> {
  const { id: block_id } = await ownBlock(call)
  const route = await findIpRoute(call.db, { id: call.params.id ?? '', block_id })
  if (!route) throw notFound('IpRoute')
  return route
}

export const ipRoutes = resource('/ipam/tenants/:tenant_id/ip_blocks/:source_block_id/ip_routes', {
  async index(call) {
    const { id } = await ownBlock(call)
    const page = pageOf(call)
    const found = await listIpRoutes(call.db, id, page)
    return pageAnswer(call, 'ip_routes', { found, limit: page.limit, show: showRoute })
  },
  async create(call) {
    const { id: block_id } = await ownBlock(call)
    const fields = readModel(call, 'ip_route')
    const route = await writeIpRoute(call.db, { block_id, ...readWords(fields, null) })
    return { status: 201, root: 'ip_route', data: echo(fields, route) }
  },
  async show(call) {
    return { status: 200, root: 'ip_route', data: showRoute(await find(call)) }
  },
  async update(call) {
    const before = await find(call)
    const fields = readModel(call, 'ip_route')
    const { id, block_id } = before
    const route = await writeIpRoute(call.db, { id, block_id, ...readWords(fields, before) })
    return { status: 200, root: 'ip_route', data: echo(fields, route) }
  },
  async remove(call) {
    await deleteIpRoute(call.db, await find(call))
    return { status: 200 }
  },
})
