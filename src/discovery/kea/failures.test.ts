import { expect, test } from 'vitest'
import { createFailureReader } from './failures.ts'

const label4 = '[hwtype=1 02:00:00:00:00:AA], cid=[01:02:00:00:00:00:aa], tid=0xbd0d0052'
const warn4 = '2026-01-01 00:00:00.794 WARN  [kea-dhcp4.alloc-engine/13.14]'
const label6 = 'duid=[00:03:00:01:02:00:00:00:00:aa], tid=0x616d0e'
const warn6 = '2026-01-01 00:00:00.692 WARN  [kea-dhcp6.alloc-engine/820.13]'

test('who asks in vain is told with the place', () => {
  const read = createFailureReader()
  const mac_address = '02:00:00:00:00:aa'
  const client = {
    mac_address,
    client_id: '010200000000aa',
    duid: null,
    iaid: null,
  }
  expect(
    read(
      `${warn4} ALLOC_ENGINE_V4_ALLOC_FAIL_SUBNET ${label4}: failed to allocate an IPv4 lease in the subnet 10.77.0.0/24, subnet-id 1000001, shared network (none)`,
    ),
  ).toEqual({ subnet_id: 1_000_001, network_name: null, client })
  expect(
    read(
      `${warn4} ALLOC_ENGINE_V4_ALLOC_FAIL_SHARED_NETWORK ${label4}: failed to allocate an IPv4 address in the shared network melange-a: 2 subnets have no available addresses, 0 subnets have no matching pools`,
    ),
  ).toEqual({ subnet_id: null, network_name: 'melange-a', client })
  expect(read(`${warn4} ALLOC_ENGINE_V4_ALLOC_FAIL_NO_POOLS ${label4}: no pools`)).toBeNull()
  expect(read('')).toBeNull()
})

const failed = `${warn6} ALLOC_ENGINE_V6_ALLOC_FAIL_SUBNET ${label6}: failed to allocate an IPv6 lease in the subnet fd77::/64, subnet-id 5, shared network (none)`
const associated = `2026-01-01 00:00:00.692 DEBUG [kea-dhcp6.leases/820.13] DHCP6_LEASE_ADVERT_FAIL ${label6}: failed to advertise an address lease for iaid=102`

test('the association of a DHCPv6 client is told when it is known, in whatever order', () => {
  for (const lines of [
    [failed, associated],
    [associated, failed],
  ]) {
    const read = createFailureReader()
    const last = lines.map(read).at(-1)
    expect(last).toMatchObject({
      subnet_id: 5,
      client: { duid: '000300010200000000aa', iaid: 102 },
    })
  }
  const read = createFailureReader()
  expect(read(failed)).toMatchObject({ client: { iaid: null } })
  expect(read(associated.replace('DHCP6_LEASE', 'DHCP6_PD_LEASE'))).toBeNull()
  expect(read(associated.replace('0x616d0e', '0x616d0f'))).toBeNull()
})

test('a flood is forgotten', () => {
  const read = createFailureReader()
  read(associated)
  for (let n = 0; n < 1000; n += 1) read(associated.replace('616d0e', n.toString(16)))
  expect(read(failed)).toMatchObject({ client: { iaid: null } })
})
