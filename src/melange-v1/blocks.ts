import type { Database } from '../db/database.ts'
import { formatAddress, parseAddress } from '../ip/address.ts'
import type { Prefix } from '../ip/prefix.ts'
import { formatPrefix, prefixContains } from '../ip/prefix.ts'
import { canBeGateway, prefixOf } from '../resources/blocks/rules.ts'
import {
  type BlockRow,
  type EmptyMember,
  getBlockRow,
  getOwnBlock,
  hasAddresses,
  listNetworkBlocks,
  listOwnBlocks,
  listSubnets,
  overlapInNetwork,
  overlapInParent,
  overlapInPublic,
  typeOfNetwork,
} from './block-store.ts'
import { describe, originOf, showBlock } from './block-views.ts'
import { createDescribedBlock, deleteBlockTree, describeBlock } from './block-write-store.ts'
import { Fault, FieldErrors } from './fault.ts'
import { findNetwork } from './network-store.ts'
import { pageAnswer, pageOf } from './page.ts'
import { findPolicy } from './policy-store.ts'
import { readModel } from './request-body.ts'
import { type Call, resource, route } from './route-table.ts'
import { sees } from './tenancy.ts'
import { echoNumbers, type Fields, readAddress, readNetwork, textOf } from './values.ts'

const ownBlock = ({ db, params }: Call, id = params.id) =>
  getOwnBlock(db, { id: id ?? '', tenant_id: params.tenant_id ?? '' })

/** The block that a route calls `ip_block_id`. */
export const parentBlock = (call: Call) => ownBlock(call, call.params.ip_block_id)

type Place = {
  readonly prefix: Prefix | null
  readonly isPublic: boolean | null
  readonly network: string | null
  readonly parent: BlockRow | null
  /** The block itself, if it is there already. */
  readonly id: string | null
}

/** What is wrong with where a block is to be. */
async function checkPlace(db: Database, errors: FieldErrors, place: Place): Promise<void> {
  const { prefix, isPublic, parent, id } = place
  const network = place.network === null ? null : await findNetwork(db, place.network)
  if (prefix && id === null) {
    const cidr = formatPrefix(prefix)
    const inPublic = isPublic ? await overlapInPublic(db, cidr) : null
    if (inPublic) errors.add('cidr', `cidr overlaps with public block ${inPublic}`)
    if (parent && !prefixContains(prefixOf(parent), prefix)) {
      errors.add('cidr', "cidr should be within parent block's cidr")
    }
    const sibling = parent ? await overlapInParent(db, parent.id, cidr) : null
    if (sibling) errors.add('cidr', `cidr overlaps with sibling ${sibling}`)
  }
  if (prefix && network && parent?.network !== place.network) {
    const where = { network_id: network.id, apart: id }
    const other = await overlapInNetwork(db, where, formatPrefix(prefix))
    if (other) errors.add('cidr', `cidr overlaps with block ${other} in same network`)
  }
  if (parent?.network && parent.network !== place.network) {
    errors.add('network_id', 'network_id should be same as that of parent')
  }
  if (parent && id === null && !parent.has_subnets && (await hasAddresses(db, parent.id))) {
    errors.add('parent_id', 'parent is not subnettable since it has allocated ips')
  }
  const others = network && (await typeOfNetwork(db, { network_id: network.id, apart: id }))
  if (others !== null && others !== isPublic) {
    errors.add('type', 'type should be same within a network')
  }
}

/** The members that may change, as they are given or else as they were. */
async function readDescription(
  { db, settings, reach }: Call,
  errors: FieldErrors,
  { fields, before }: { readonly fields: Fields; readonly before: BlockRow | null },
) {
  const shown = before && describe(before, settings)
  const read = (member: 'gateway' | 'dns1' | 'dns2' | 'policy_id' | 'network') => {
    const name = member === 'network' ? 'network_id' : member
    const value = fields.has(name) ? fields.get(name) : shown?.[member]
    if (value === undefined || value === null) return null
    const text = textOf(value)
    if (text === undefined || text.length > 255) errors.add(name, `${name} should be a text`)
    return text ?? null
  }
  const gateway = read('gateway')
  if (gateway && !readAddress(gateway)) {
    errors.add('gateway', 'Gateway is not a valid address')
  }
  const [policy_id, network] = [read('policy_id'), read('network')]
  const policy = policy_id ? await findPolicy(db, policy_id) : null
  // Whose policy it is matters where a block comes under it, not where it stays.
  const isThere = policy && (policy_id === shown?.policy_id || sees(reach, policy.project_id))
  if (policy_id && !isThere) {
    errors.add('policy_id', `Policy with id = '${policy_id}' doesn't exist`)
  }
  // Whose network it is matters where a block comes to it, not where it stays.
  const joined = network && network !== shown?.network ? await findNetwork(db, network) : null
  if (joined) reach(joined.project_id)
  const dns1 = read('dns1') || settings.dns1
  const dns2 = read('dns2') || settings.dns2
  const empty_members: EmptyMember[] = [
    ...(network === '' ? ['network_id' as const] : []),
    ...(policy_id === '' ? ['policy_id' as const] : []),
  ]
  const known = { policy_id: policy_id || null, network: network || null }
  return { gateway, dns1, dns2, ...known, empty_members }
}

type Read = Awaited<ReturnType<typeof readDescription>>

/** What the rest of Melange can make of what is said of a block. */
function meaningOf({ gateway, dns1, dns2 }: Read, prefix: Prefix, old: readonly string[] = []) {
  const shape = {
    cidr: formatPrefix(prefix),
    gateway_ip: null,
    allocate_network_address: true,
    keeps_last_address: true,
  }
  const address = gateway ? readAddress(gateway) : null
  const gateway_ip = address && canBeGateway(shape, address) ? formatAddress(address) : null
  const servers = [dns1, dns2].flatMap(text => {
    const server = parseAddress(text)
    return server ? [formatAddress(server)] : []
  })
  return { gateway_ip, dns_nameservers: [...new Set([...servers, ...old.slice(2)])] }
}

const echo = (fields: Fields, block: BlockRow, settings: Call['settings']) =>
  echoNumbers(showBlock(block, settings), fields, ['network_id', 'dns1', 'dns2'])

const blocks = resource('/ipam/tenants/:tenant_id/ip_blocks', {
  async index(call) {
    const { db, params, query, settings } = call
    const page = pageOf(call)
    const filter = { tenant_id: params.tenant_id ?? '', type: query.get('type') }
    const found = await listOwnBlocks(db, filter, page)
    const show = (block: BlockRow) => showBlock(block, settings)
    return pageAnswer(call, 'ip_blocks', { found, limit: page.limit, show })
  },
  async create(call) {
    const { db, params, settings } = call
    const fields = readModel(call, 'ip_block')
    const errors = new FieldErrors()
    const type = fields.get('type')
    const isPublic = type === 'public' ? true : type === 'private' ? false : null
    if (isPublic) call.reach(null)
    if (isPublic === null) errors.add('type', 'type should be one among public, private')
    const prefix = readNetwork(fields.get('cidr'))
    if (!prefix) errors.add('cidr', 'cidr is invalid')
    const said = await readDescription(call, errors, { fields, before: null })
    const { network } = said
    await checkPlace(db, errors, { prefix, isPublic, network, parent: null, id: null })
    errors.throwIfAny()
    if (!prefix) throw new Error('unreachable: a block without a CIDR was refused')
    const id = await createDescribedBlock(db, {
      ...said,
      ...meaningOf(said, prefix),
      tenant_id: params.tenant_id ?? '',
      prefix,
      place: isPublic ? 'public' : 'private',
      origin: originOf(prefix, settings),
    })
    const data = echo(fields, await getBlockRow(db, id), settings)
    return { status: 201, root: 'ip_block', data }
  },
  async show(call) {
    const data = showBlock(await ownBlock(call), call.settings)
    return { status: 200, root: 'ip_block', data }
  },
  async update(call) {
    const { db, settings } = call
    const before = await ownBlock(call)
    const fields = readModel(call, 'ip_block')
    const errors = new FieldErrors()
    const prefix = prefixOf(before)
    const said = await readDescription(call, errors, { fields, before })
    const { id, is_public: isPublic, parent_id } = before
    if (isPublic) call.reach(null)
    const parent = parent_id === null ? null : await getBlockRow(db, parent_id)
    await checkPlace(db, errors, { prefix, isPublic, network: said.network, parent, id })
    errors.throwIfAny()
    await describeBlock(db, before, { ...said, ...meaningOf(said, prefix, before.dns_nameservers) })
    const data = echo(fields, await getBlockRow(db, before.id), settings)
    return { status: 200, root: 'ip_block', data }
  },
  async remove(call) {
    const block = await ownBlock(call)
    if (block.is_public) call.reach(null)
    await deleteBlockTree(call.db, block)
    return { status: 200 }
  },
})

const subnetsPath = '/ipam/tenants/:tenant_id/ip_blocks/:ip_block_id/subnets'

const subnets = [
  route('GET', subnetsPath, async call => {
    const { id } = await parentBlock(call)
    const found = await listSubnets(call.db, id)
    return { status: 200, root: 'subnets', data: found.map(one => showBlock(one, call.settings)) }
  }),
  route('POST', subnetsPath, async call => {
    const { db, settings } = call
    const parent = await parentBlock(call)
    const all = readModel(call, 'subnet')
    const fields: Fields = new Map([['network_id', all.get('network_id')]])
    const errors = new FieldErrors()
    const prefix = readNetwork(all.get('cidr'))
    if (!prefix) errors.add('cidr', 'cidr is invalid')
    const tenant = textOf(all.get('tenant_id'))
    if (tenant !== undefined && tenant.length > 255) {
      errors.add('tenant_id', 'tenant_id should be a text')
    }
    const read = await readDescription(call, errors, { fields, before: null })
    const network = read.network ?? parent.network
    const said = { ...read, network, empty_members: [] }
    const isPublic = parent.is_public
    if (isPublic) call.reach(null)
    if (tenant) call.reach(tenant)
    await checkPlace(db, errors, { prefix, isPublic, network, parent, id: null })
    errors.throwIfAny()
    if (!prefix) throw new Error('unreachable: a block without a CIDR was refused')
    const id = await createDescribedBlock(db, {
      ...said,
      ...meaningOf(said, prefix),
      tenant_id: tenant || parent.tenant_id,
      prefix,
      place: { parent_id: parent.id },
      origin: originOf(prefix, settings),
    })
    return { status: 201, root: 'subnet', data: showBlock(await getBlockRow(db, id), settings) }
  }),
]

/**
 * The blocks of a tenant in a network, the first made first.
 *
 * @throws {Fault} 404 where it has none
 */
export async function networkBlocks(
  db: Database,
  { name, tenant_id }: { readonly name: string; readonly tenant_id?: string },
): Promise<BlockRow[]> {
  const network = await findNetwork(db, name)
  const place = network && { network_id: network.id, ...(tenant_id !== undefined && { tenant_id }) }
  const found = place ? await listNetworkBlocks(db, place) : []
  if (found.length === 0) throw new Fault(404, `Network ${name} not found`)
  return found
}

const networks = resource(
  '/ipam/tenants/:tenant_id/networks/:network_id',
  {
    async index({ db, params, settings }) {
      const place = { name: params.network_id ?? '', tenant_id: params.tenant_id ?? '' }
      const found = await networkBlocks(db, place)
      return { status: 200, root: 'ip_blocks', data: found.map(one => showBlock(one, settings)) }
    },
  },
  ['0.1'],
)

export const blockRoutes = [...blocks, ...subnets, ...networks]
