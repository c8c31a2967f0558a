import type { ServedHost, ServedNetwork, ServedSubnet } from '../../src/dhcp/served.ts'

// What the API says of a network, for servers of machines.

export const blocks = {
  v4: '22222222-2222-4222-8222-222222222222',
  v6: '33333333-3333-4333-8333-333333333333',
}
export const networkId = '11111111-1111-4111-8111-111111111111'

const automatic = (lease_seconds: number) => ({
  project_id: networkId,
  lease_seconds,
  purpose: null,
})

export function subnet4(more: Partial<ServedSubnet> = {}, automaticSeconds?: number): ServedSubnet {
  return {
    block_id: blocks.v4,
    cidr: '10.0.0.0/24',
    version: 4,
    gateway_ip: '10.0.0.1',
    options: [
      { code: 1, value: '255.255.255.0' },
      { code: 3, value: ['10.0.0.1'] },
      { code: 6, value: ['10.0.0.53'] },
    ],
    boot_files: [],
    unknown_clients: automaticSeconds === undefined ? null : automatic(automaticSeconds),
    ...more,
  }
}

export function subnet6(more: Partial<ServedSubnet> = {}, automaticSeconds?: number): ServedSubnet {
  return {
    block_id: blocks.v6,
    cidr: '2001:db8::/64',
    version: 6,
    gateway_ip: null,
    options: [{ code: 23, value: ['2001:db8::53'] }],
    boot_files: [],
    unknown_clients: automaticSeconds === undefined ? null : automatic(automaticSeconds),
    ...more,
  }
}

export function networkOf(subnets: readonly ServedSubnet[], more: Partial<ServedNetwork> = {}) {
  const network: ServedNetwork = {
    id: networkId,
    project_id: null,
    name: 'net',
    mtu: null,
    subnets: [...subnets],
    ...more,
  }
  return network
}

type AddressFacts = Partial<ServedHost['addresses'][number]> & { readonly address: string }

export function hostOf(
  id: string,
  addresses: readonly (string | AddressFacts)[],
  more: Partial<ServedHost> = {},
): ServedHost {
  return {
    id,
    type: 'interface',
    mac_address: null,
    client_id: null,
    duid: null,
    iaid: null,
    host_name: null,
    addresses: addresses.map(one => {
      const facts = typeof one === 'string' ? { address: one } : one
      const block_id = facts.address.includes(':') ? blocks.v6 : blocks.v4
      const allocation_id = `allocation of ${facts.address}`
      return { allocation_id, block_id, expires_at: null, withheld_until: null, ...facts }
    }),
    options: [],
    ...more,
  }
}
