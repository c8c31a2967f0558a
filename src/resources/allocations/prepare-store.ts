import { type Static, Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import { builtinGenerators } from '../../generators/builtin.ts'
import { missingInputs } from '../../generators/generator.ts'
import { formatAddress } from '../../ip/address.ts'
import { parseMac } from '../../ip/mac.ts'
import { CidrText, Id, Nullable, oneOf } from '../../schema.ts'
import { prefixOf } from '../blocks/rules.ts'
import { resolveForBlocks } from '../policies/rules-store.ts'
import type { NewAllocations } from './allocator-store.ts'
import type { AllocationRequest } from './schema.ts'

/**
 * Completes a request with what only a look at its block can tell: the length of the prefix that
 * holds contiguous addresses, and the addresses that a policy generates.
 *
 * @throws {IpamError} `block_not_found`, `invalid_request`
 */
export async function prepare(
  db: Database,
  wanted: NewAllocations,
  body: AllocationRequest,
): Promise<NewAllocations> {
  const [prepared] = await prepareAll(db, [{ wanted, body }])
  return prepared ?? wanted
}

type Unprepared = { readonly wanted: NewAllocations; readonly body: AllocationRequest }

/** The same for several requests, whose blocks are looked at together. */
export async function prepareAll(
  db: Database,
  requests: readonly Unprepared[],
): Promise<NewAllocations[]> {
  const generators = await generatorsFor(db, requests.filter(mayBeGenerated))
  const prepared: NewAllocations[] = []
  for (const request of requests) {
    const { wanted } = request
    if (wanted.contiguous) {
      prepared.push({ ...wanted, prefix_length: await spanLength(db, wanted) })
    } else if (mayBeGenerated(request)) {
      prepared.push({ ...wanted, candidates: generate(generators, request) })
    } else prepared.push(wanted)
  }
  return prepared
}

function mayBeGenerated({ wanted, body }: Unprepared): boolean {
  const isPlain = !wanted.contiguous && !wanted.address && (wanted.prefix_length ?? null) === null
  return isPlain && (body.mac_address !== undefined || body.interface_id !== undefined)
}

const Version = Type.Object({ version: Type.Union([Type.Literal(4), Type.Literal(6)]) })

async function spanLength(db: Database, { block_id, ids }: NewAllocations): Promise<number> {
  const [block] = await rows(db, Version)`
    select family(cidr) as version from blocks where id = ${block_id}`
  if (!block) throw new IpamError('block_not_found', `There is no block ${block_id}.`)
  return (block.version === 4 ? 32 : 128) - Math.ceil(Math.log2(ids.length))
}

const Generated = Type.Object({
  id: Id,
  cidr: CidrText,
  network_id: Nullable(Id),
  ipv6_generator: oneOf(Object.keys(builtinGenerators) as (keyof typeof builtinGenerators)[]),
})

/** For how many subnets addresses are generated, in the mean of all requests. */
const subnetsMax = 16

type Generators = {
  readonly blocks: readonly Static<typeof Generated>[]
  readonly rules: Awaited<ReturnType<typeof resolveForBlocks>>
}

/** The blocks that requests may get generated addresses of, best first, with their rules. */
async function generatorsFor(db: Database, requests: readonly Unprepared[]): Promise<Generators> {
  if (requests.length === 0) return { blocks: [], rules: new Map() }
  const ids = requests.flatMap(({ wanted }) => wanted.block_id ?? [])
  const networks = requests.flatMap(({ wanted }) => wanted.network_id ?? [])
  const blocks = await rows(db, Generated)`
    select id, cidr, network_id, ipv6_generator from blocks
    where (id = any (${ids}::uuid[]) or network_id = any (${networks}::uuid[]))
      and ipv6_generator is not null
    order by priority, cidr limit ${subnetsMax * requests.length}`
  const needSecrets = blocks.filter(block => block.ipv6_generator === 'stable_private')
  if (needSecrets.length === 0) return { blocks, rules: new Map() }
  const rules = await resolveForBlocks(
    db,
    needSecrets.map(({ id }) => id),
  )
  return { blocks, rules }
}

/** What the policies of the block, or of the subnets, make of MAC and interface, best first. */
function generate({ blocks, rules }: Generators, { wanted, body }: Unprepared): string[] {
  const { mac_address, interface_id, project_id } = body
  const mac = mac_address === undefined ? null : parseMac(mac_address)
  if (mac_address !== undefined && mac === null) {
    const detail = `mac_address: "${mac_address}" is not a MAC address such as 52:54:00:12:34:56`
    throw new IpamError('invalid_request', detail, { field: 'mac_address' })
  }
  const own = blocks.filter(({ id, network_id }) =>
    wanted.block_id ? id === wanted.block_id : network_id === wanted.network_id,
  )
  const addresses = own.flatMap(block => {
    const generator = builtinGenerators[block.ipv6_generator]
    const secret = rules.get(block.id)?.ipv6_generator?.value.secret ?? null
    const { network_id } = block
    const input = {
      project_id,
      mac_address: mac,
      interface_id: interface_id ?? null,
      network_id,
      secret,
    }
    if (missingInputs(generator, input).length > 0) return []
    return [...generator.candidates(input, prefixOf(block))]
  })
  return addresses.map(value => formatAddress({ version: 6, value }))
}
