import type { LeaseReport } from '../../dhcp/served.ts'
import { canonicalAddress, readTime } from '../../fields.ts'
import { readAllocated } from '../allocations/read-request.ts'

const bytea = (hex: string | null): string | null => (hex === null ? null : `\\x${hex}`)

/** Machines say what they like; a NUL is what the database cannot hold of it. */
const storable = (text: string | null): string | null => text?.replaceAll('\0', '\ufffd') ?? null

/**
 * A report as the database takes it.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readReport(report: LeaseReport, request: number) {
  const { relay, ...told } = report
  const field = (name: string) => `leases/${request}/${name}`
  return {
    ...told,
    request,
    address: readAllocated(report.address, field('address')),
    client_id: bytea(report.client_id),
    duid: bytea(report.duid),
    host_name: storable(report.host_name),
    relay_address: relay && canonicalAddress(relay.address, field('relay/address')),
    relay_circuit_id: bytea(relay?.circuit_id ?? null),
    relay_remote_id: bytea(relay?.remote_id ?? null),
    started_at: readTime(report.started_at, field('started_at')),
    told_at: readTime(report.told_at, field('told_at')),
    ends_at: report.ends_at && readTime(report.ends_at, field('ends_at')),
  }
}

export type ReadReport = ReturnType<typeof readReport>
