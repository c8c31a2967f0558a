import { randomUUID } from 'node:crypto'
import type { LeaseReport } from '../../src/dhcp/served.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { ReportOutcome } from '../../src/resources/leases/schema.ts'
import { type Answer, type Api, expectStatus } from './api.ts'

/** What a server reports of an allocation: told now for an hour, unless told otherwise. */
export function reportOf(
  { id: allocation_id, address }: Pick<Allocation, 'id' | 'address'>,
  more: Partial<LeaseReport> & Pick<LeaseReport, 'network_id'>,
): LeaseReport {
  const now = Date.now()
  const told_at = more.told_at ?? new Date(now).toISOString()
  return {
    id: randomUUID(),
    allocation_id,
    address,
    mac_address: '52:54:00:00:00:01',
    client_id: null,
    duid: null,
    iaid: null,
    host_name: null,
    relay: null,
    state: 'bound',
    started_at: told_at,
    told_at,
    ends_at: new Date(Date.parse(told_at) + 3_600_000).toISOString(),
    ...more,
  }
}

export const postLeases = (
  api: Pick<Api, 'post'>,
  leases: readonly LeaseReport[],
  server = 'dhcp-1',
): Promise<Answer> => api.post('/v2/leases', { server, leases })

/** The outcome of reports that are well formed. */
export const report = async (
  api: Pick<Api, 'post'>,
  leases: readonly LeaseReport[],
  server?: string,
) => expectStatus(200, await postLeases(api, leases, server)) as unknown as ReportOutcome

/** What belongs to a client that got its address because it asked. */
export const ofClient = (mac_address: string) => ({
  owner_type: 'dhcp_client',
  owner_id: mac_address,
  lifetime_seconds: 3600,
})
