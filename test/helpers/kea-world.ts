import type { ServedHost, ServedNetwork } from '../../src/dhcp/served.ts'

// Networks and hosts as the API says them, for tests of the driver `kea` without one.

const uuid = (kind: string, n: number) =>
  `${kind.padEnd(8, '0')}-0000-7000-8000-${n.toString(16).padStart(12, '0')}`

type Subnet = ServedNetwork['subnets'][number]

/** A subnet; the gateway and a DNS server of IPv4 follow from its CIDR. */
export function subnetOf(n: number, cidr: string, more: Partial<Subnet> = {}): Subnet {
  const version = cidr.includes(':') ? 6 : 4
  const near = cidr.replace(/\d+\/\d+$/, '')
  const options =
    version === 4
      ? [
          { code: 3, value: [`${near}1`] },
          { code: 6, value: [`${near}53`] },
        ]
      : [{ code: 23, value: [`${cidr.replace(/\/\d+$/, '')}53`] }]
  return {
    block_id: uuid('b', n),
    cidr,
    version,
    gateway_ip: version === 4 ? `${near}1` : null,
    options,
    boot_files: [],
    unknown_clients: null,
    ...more,
  }
}

export const networkOf = (n: number, subnets: readonly Subnet[]): ServedNetwork => ({
  id: uuid('a', n),
  project_id: null,
  name: `network ${n}`,
  mtu: null,
  subnets: [...subnets],
})

export const macOf = (n: number) => `02:4b:45:00:00:${n.toString(16).padStart(2, '0')}`

type Address = Partial<ServedHost['addresses'][number]> & { readonly address: string }

/** A host with addresses in blocks, each by its number. */
export function hostOf(
  n: number,
  addresses: readonly (readonly [block: number, address: string | Address])[],
  more: Partial<ServedHost> = {},
): ServedHost {
  return {
    id: uuid('c', n),
    type: 'interface',
    mac_address: macOf(n),
    client_id: null,
    duid: null,
    iaid: null,
    host_name: null,
    addresses: addresses.map(([block, one], index) => ({
      allocation_id: uuid('d', n * 16 + index),
      block_id: uuid('b', block),
      expires_at: null,
      withheld_until: null,
      ...(typeof one === 'string' ? { address: one } : one),
    })),
    options: [],
    ...more,
  }
}

export const blockId = (n: number) => uuid('b', n)
