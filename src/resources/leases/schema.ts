import { type Static, Type } from 'typebox'
import { LeaseRelay, LeaseReport } from '../../dhcp/served.ts'
import {
  closed,
  Id,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  ref,
  ScopeId,
  Time,
} from '../../schema.ts'
import { Allocation } from '../allocations/schema.ts'

/** How many reports one call may hold. */
export const reportsMax = 1000

const ServerName = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'What the server calls itself (`name` of its configuration).',
})

export const LeaseReports = closed(
  {
    server: ServerName,
    leases: Type.Array(ref(LeaseReport), { minItems: 1, maxItems: reportsMax }),
  },
  { $id: 'LeaseReports' },
)
export type LeaseReports = Static<typeof LeaseReports>

/** Why a report can never be kept. */
export const reportRefusals = [
  'allocation_unknown',
  'address_differs',
  'network_differs',
  'lease_of_another',
] as const

export const ReportOutcome = closed(
  {
    accepted: Type.Integer({
      description: 'How many are kept, with those that were told before or say nothing newer.',
    }),
    refused: Type.Array(
      closed({
        id: Id,
        allocation_id: Id,
        reason: oneOf(reportRefusals, {
          description:
            '`allocation_unknown`: there never was one of this id. `address_differs`, `network_differs`: it is, or was, another address, or elsewhere. `lease_of_another`: the lease is one of another allocation.',
        }),
      }),
      { description: 'What can never be kept, and is not to be sent again.' },
    ),
  },
  { $id: 'ReportOutcome' },
)
export type ReportOutcome = Static<typeof ReportOutcome>

const { address: _, relay: __, ...told } = LeaseReport.properties

/** What a machine was told, from the first time until the last. */
export const Lease = closed(
  {
    ...told,
    address: Allocation.properties.address,
    relay: Nullable(LeaseRelay, { description: 'Through which it was heard last.' }),
    server: ServerName,
    scope_id: Id,
    project_id: Type.String({ description: 'Of the allocation.' }),
    reported_at: Type.String({
      description: 'When that came to be known here; all other times are those of the server.',
    }),
  },
  { $id: 'Lease' },
)
export type Lease = Static<typeof Lease>

const HexQuery = (bytesMax: number, description: string) =>
  Type.Optional(
    Type.String({
      pattern: `^([0-9a-fA-F]{2}){1,${bytesMax}}$`,
      maxLength: 2 * bytesMax,
      description,
    }),
  )

export const LeaseQuery = closed({
  network_id: Type.Optional(Id),
  allocation_id: Type.Optional(Id),
  scope_id: Type.Optional(ScopeId),
  address: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 49,
      description: 'This address, or this delegated prefix; in `scope_id`, or in any scope.',
    }),
  ),
  mac_address: Type.Optional(Type.String({ minLength: 12, maxLength: 17 })),
  client_id: HexQuery(255, 'As hex, with its type.'),
  duid: HexQuery(130, 'As hex, with its type.'),
  server: Type.Optional(ServerName),
  project_id: Type.Optional(ProjectId),
  state: oneOf(['current', 'ended', 'all'], {
    default: 'all',
    description: '`current`: bound, and not past `ends_at`.',
  }),
  at: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 40,
      description: 'In force at this time (RFC 3339).',
    }),
  ),
  ...PageQuery,
})
export type LeaseQuery = Static<typeof LeaseQuery>

/** An address that is told to nobody for a while, since a machine found that another uses it. */
export const WithheldAddress = closed(
  {
    allocation_id: Type.String({ format: 'uuid', description: 'Current, and goes on.' }),
    address: Allocation.properties.address,
    scope_id: Id,
    block_id: Id,
    network_id: Id,
    project_id: ProjectId,
    owner_type: Allocation.properties.owner_type,
    owner_id: Allocation.properties.owner_id,
    lease_id: Type.String({ format: 'uuid', description: 'The lease that was declined.' }),
    server: ServerName,
    withheld_at: Time,
    withheld_until: Time,
  },
  { $id: 'WithheldAddress' },
)
export type WithheldAddress = Static<typeof WithheldAddress>

export const WithheldQuery = closed({
  network_id: Type.Optional(Id),
  project_id: Type.Optional(ProjectId),
  ...PageQuery,
})
export type WithheldQuery = Static<typeof WithheldQuery>
