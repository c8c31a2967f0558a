import type { AddressScope } from '../../src/resources/address-scopes/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { ServerProcess } from './server-process.ts'

/** The blocks that clients compete for. */
export type World = {
  readonly scope_id: string
  /** Blocks that give out addresses, of each strategy and both versions. */
  readonly leaves: readonly Block[]
  /** A block that clients cut children from. */
  readonly container: Block
  /** The children that clients have heard of. */
  readonly children: Block[]
}

const shapes: readonly Record<string, string>[] = [
  { cidr: '10.1.0.0/24', gateway_ip: '10.1.0.1' },
  { cidr: '10.2.0.0/22', strategy: 'random' },
  { cidr: '10.3.0.0/26', strategy: 'least_recently_used', gateway_ip: '10.3.0.62' },
  { cidr: '10.4.0.0/23', strategy: 'least_recently_used' },
  { cidr: '2001:db8:1::/64', gateway_ip: '2001:db8:1::1' },
  { cidr: '2001:db8:2::/64', strategy: 'random' },
  { cidr: '2001:db8:3::/120' },
  { cidr: '2001:db8:4000::/40' },
]

/** Makes a private address scope with the blocks of a race. */
export async function createWorld(server: ServerProcess): Promise<World> {
  const make = async <T>(path: string, body: object): Promise<T> => {
    const answer = await server.post<T>(path, body)
    if (answer.status !== 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const scope = await make<AddressScope>('/v2/address-scopes', { project_id: 'p', name: 'race' })
  const top = (shape: object) => make<Block>('/v2/blocks', { scope_id: scope.id, ...shape })
  const leaves: Block[] = []
  for (const shape of shapes) leaves.push(await top(shape))
  const container = await top({ cidr: '10.128.0.0/18' })
  return { scope_id: scope.id, leaves, container, children: [] }
}
