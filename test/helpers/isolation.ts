import { afterAll } from 'vitest'
import { Api, expectStatus } from './api.ts'
import { report, reportOf } from './leases.ts'
import { createMacRange } from './macs.ts'
import { createPersonas } from './personas.ts'

/** Whose a thing is, seen from the project red. */
export type Whose = 'own' | 'foreign' | 'shared' | 'granted'
/** What is granted is of blue, too, which lets red use it. */
export const whoseProject = { own: 'red', foreign: 'blue', shared: null, granted: 'blue' } as const
const grantable = ['network', 'block', 'grant', 'public_block']

/** What the first parameter of a path names. */
export const kinds: Readonly<Record<string, string>> = {
  scope_id: 'address_scope',
  network_id: 'network',
  block_id: 'block',
  policy_id: 'policy',
  allocation_id: 'allocation',
  floating_ip_id: 'floating_ip',
  nat_mapping_id: 'nat_mapping',
  range_id: 'mac_range',
  mac_id: 'mac',
  interface_id: 'interface',
  grant_id: 'grant',
  token_id: 'token',
}

const none = undefined
/** A body for each write to a thing; with a generation that no thing has, or for what is not there. */
export const payloads: Readonly<Record<string, object | undefined>> = {
  updateAddressScope: {},
  deleteAddressScope: none,
  setAddressScopeDhcpOption: { value: 1500 },
  deleteAddressScopeDhcpOption: none,
  updateNetwork: {},
  deleteNetwork: none,
  setNetworkDhcpOption: { value: 1500 },
  deleteNetworkDhcpOption: none,
  createChildren: { prefix_length: 28, count: 1 },
  updateBlock: {},
  deleteBlock: none,
  createBlockRoute: { destination: '192.0.2.0/24', gateway: '10.0.0.1' },
  updateBlockRoute: {},
  deleteBlockRoute: none,
  setBlockDhcpOption: { value: 1500 },
  deleteBlockDhcpOption: none,
  updatePolicy: {},
  deletePolicy: none,
  updateAllocation: {},
  releaseAllocation: none,
  renewAllocation: { lifetime_seconds: 60 },
  confirmAllocation: {},
  restoreAllocation: {},
  endQuarantine: none,
  endWithholding: none,
  updateFloatingIp: {},
  deleteFloatingIp: none,
  deleteNatMapping: none,
  updateMacRange: {},
  deleteMacRange: none,
  releaseMac: none,
  updateInterface: {},
  deleteInterface: none,
  createInterfaceAddresses: {},
  releaseInterfaceAddress: none,
  setInterfaceDhcpOption: { value: 1500 },
  deleteInterfaceDhcpOption: none,
  createAllowedAddress: { address: '10.255.0.1' },
  updateAllowedAddress: { role: 'primary' },
  deleteAllowedAddress: none,
  updateGrant: {},
  revokeGrant: none,
  revokeToken: none,
}

export type World = {
  /** A thing of a kind; null if there can be none of no project. */
  idOf(kind: string, whose: Whose): string | null
  /** One more of it. */
  fresh(kind: string, whose: Whose): Promise<string | null>
}

/** An API with all of it, and the tokens of all personas. It is closed after the file's tests. */
export async function openWorld() {
  const api = new Api()
  afterAll(() => api.close())
  await api.open()
  return { api, world: await createWorld(api), tokens: await createPersonas(api) }
}

/** Things of each kind of the projects red and blue, and of none. */
async function createWorld(api: Api): Promise<World> {
  let made = 0
  const nextCidr = () => `10.${Math.floor(made / 250)}.${made++ % 250}.0/24`
  const nextPrefix = () =>
    `52:54:${Math.floor(made / 256)
      .toString(16)
      .padStart(2, '0')}:${(made++ % 256).toString(16).padStart(2, '0')}:00:00/32`
  const post = async (url: string, payload: object) =>
    expectStatus(201, await api.post(url, payload)).id
  const of = (whose: Whose) => {
    const project_id = whoseProject[whose]
    return project_id === null ? {} : { project_id }
  }
  const newScope = (whose: Whose) =>
    whose === 'shared'
      ? Promise.resolve('public')
      : post('/v2/address-scopes', { ...of(whose), name: `scope-${made++}` })
  const newNetwork = (whose: Whose) => post('/v2/networks', of(whose))
  const newBlock = async (whose: Whose, more: object = {}) => {
    const place = 'scope_id' in more ? {} : { scope_id: await newScope(whose) }
    return post('/v2/blocks', { ...of(whose), ...place, cidr: nextCidr(), ...more })
  }
  const newAllocation = async (whose: Whose, block_id?: string) => {
    const { allocations } = expectStatus(
      201,
      await api.post('/v2/allocations', {
        block_id: block_id ?? (await newBlock(whose)),
        ...of(whose),
        lifetime_seconds: 3600,
      }),
    )
    return allocations[0]?.id ?? ''
  }
  const newRange = async () => (await createMacRange(api, { prefix: nextPrefix() })).id
  /** What a server told of an allocation on a network. */
  const newLease = async (whose: Whose, state: 'bound' | 'declined') => {
    const network_id = await newNetwork(whose)
    const id = await newAllocation(whose, await newBlock(whose, { network_id }))
    const { address } = expectStatus(200, await api.get(`/v2/allocations/${id}`))
    const lease = reportOf({ id, address }, { network_id, state })
    await report(api, [lease])
    return lease
  }
  const held = {
    lease: async (whose: Whose) => (await newLease(whose, 'bound')).id,
    withheld: async (whose: Whose) => (await newLease(whose, 'declined')).allocation_id,
    allocation: (whose: Whose) => newAllocation(whose),
    floating_ip: async (whose: Whose) =>
      post('/v2/floating-ips', { block_id: await newBlock('shared'), ...of(whose) }),
    nat_mapping: async (whose: Whose) =>
      post('/v2/nat-mappings', {
        inside_local_id: await newAllocation(whose),
        inside_global_id: await newAllocation(whose),
      }),
    mac: async (whose: Whose) => post('/v2/macs', { range_id: await newRange(), ...of(whose) }),
    interface: async (whose: Whose) => {
      const network_id = await newNetwork(whose)
      await newBlock(whose, { network_id })
      const mac_range_id = await newRange()
      const nic = { ...of(whose), network_id, mac_range_id, families: [4] }
      const id = await post('/v2/interfaces', nic)
      await post(`/v2/interfaces/${id}/allowed-addresses`, { address: '10.254.0.1' })
      return id
    },
  }
  const publicBlock = (whose: Whose) => newBlock(whose, { scope_id: 'public' })
  const common = {
    public_block: publicBlock,
    address_scope: newScope,
    network: newNetwork,
    block: (whose: Whose) => newBlock(whose),
    policy: (whose: Whose) => post('/v2/policies', { ...of(whose), name: `policy-${made++}` }),
    mac_range: (whose: Whose) => post('/v2/mac-ranges', { ...of(whose), prefix: nextPrefix() }),
    grant: async (whose: Whose) =>
      post('/v2/grants', {
        block_id: await newBlock(whose),
        project_id: whose === 'granted' ? 'red' : 'violet',
      }),
    token: (whose: Whose) => {
      const place = whose === 'shared' ? { system_scope: 'all' } : of(whose)
      return post('/v2/tokens', { name: `token-${made++}`, ...place, roles: ['reader'] })
    },
  }
  const makers: Record<string, (whose: Whose) => Promise<string>> = { ...held, ...common }
  const fresh = async (kind: string, whose: Whose) => {
    if (whose === 'shared' && Object.hasOwn(held, kind)) return null
    if (whose === 'granted' && !grantable.includes(kind)) return null
    const id = (await makers[kind]?.(whose)) ?? null
    if (whose === 'granted' && kind !== 'grant') {
      const place = kind === 'network' ? { network_id: id } : { block_id: id }
      await post('/v2/grants', { ...place, project_id: 'red' })
    }
    return id
  }
  const ids = new Map<string, string | null>()
  for (const kind of Object.keys(makers)) {
    for (const whose of ['own', 'foreign', 'shared', 'granted'] as const) {
      ids.set(`${kind} ${whose}`, await fresh(kind, whose))
    }
  }
  return { fresh, idOf: (kind, whose) => ids.get(`${kind} ${whose}`) ?? null }
}
