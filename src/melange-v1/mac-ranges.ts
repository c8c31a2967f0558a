import { Fault, notFound } from './fault.ts'
import {
  createV1MacRange,
  deleteV1MacRange,
  findMacRange,
  listV1MacRanges,
  type MacRangeRow,
} from './mac-range-store.ts'
import { readModel } from './request-body.ts'
import { type Call, resource } from './route-table.ts'
import { type Data, Timestamp, textOf } from './values.ts'

const showRange = (range: MacRangeRow): Data => ({
  id: range.id,
  cidr: range.cidr,
  created_at: new Timestamp(range.created_at),
  updated_at: new Timestamp(range.updated_at),
})

async function find({ db, params }: Call): Promise<MacRangeRow> {
  const range = await findMacRange(db, params.id ?? '')
  if (!range) throw notFound('MacAddressRange')
  return range
}

export const macRangeRoutes = resource('/ipam/mac_address_ranges', {
  async index({ db }) {
    const found = await listV1MacRanges(db)
    return { status: 200, root: 'mac_address_ranges', data: found.map(showRange) }
  },
  async create(call) {
    const cidr = textOf(readModel(call, 'mac_address_range').get('cidr'))
    if (cidr === undefined || cidr.length > 64) throw new Fault(400, 'cidr should be present')
    const range = await createV1MacRange(call.db, cidr)
    return { status: 201, root: 'mac_address_range', data: showRange(range) }
  },
  async show(call) {
    return { status: 200, root: 'mac_address_range', data: showRange(await find(call)) }
  },
  async remove(call) {
    await deleteV1MacRange(call.db, (await find(call)).id)
    return { status: 200 }
  },
})
