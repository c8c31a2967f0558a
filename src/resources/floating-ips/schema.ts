import { type Static, Type } from 'typebox'
import {
  AddressText,
  closed,
  Description,
  Generation,
  Id,
  Name,
  Nullable,
  PageQuery,
  ProjectId,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'
import { AllocationRequest } from '../allocations/schema.ts'

const settings = { name: Name, description: Description, tags: Tags }
const optionalSettings = Type.Partial(closed(settings)).properties

/** A public allocation that can point at one private allocation. */
export const FloatingIp = closed(
  {
    id: Id,
    project_id: ProjectId,
    ...settings,
    allocation_id: Id,
    address: AddressText,
    private_allocation_id: Nullable(Id, { description: 'What it points at; null is nothing.' }),
    private_address: Nullable(AddressText),
    associated_at: Nullable(Time, { description: 'Since when it points there.' }),
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'FloatingIp' },
)
export type FloatingIp = Static<typeof FloatingIp>

const PrivateAllocationId = Type.Union([Id, Type.Null()], {
  description:
    'The current allocation of a single address, in a private address scope, that it shall point at; null is nothing.',
})

export const FloatingIpRequest = closed(
  {
    id: Type.Optional(
      Type.String({
        format: 'uuid',
        description:
          'The id that it has elsewhere, for instance in Neutron. With the id that one had before, its address can be had again while it is in quarantine.',
      }),
    ),
    project_id: ProjectId,
    ...optionalSettings,
    block_id: Type.Optional(
      Type.String({ format: 'uuid', description: 'Take it from this block of the public scope,' }),
    ),
    network_id: Type.Optional(
      Type.String({
        format: 'uuid',
        description: 'or from the subnets of this network, an IPv4 address unless `address` says,',
      }),
    ),
    address: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 45,
        description: 'or this address, wherever in the public scope it is.',
        examples: ['192.0.2.10'],
      }),
    ),
    purpose: AllocationRequest.properties.purpose,
    private_allocation_id: Type.Optional(PrivateAllocationId),
  },
  { $id: 'FloatingIpRequest' },
)
export type FloatingIpRequest = Static<typeof FloatingIpRequest>

export const FloatingIpPatch = closed(
  { ...optionalSettings, private_allocation_id: Type.Optional(PrivateAllocationId) },
  { $id: 'FloatingIpPatch' },
)
export type FloatingIpPatch = Static<typeof FloatingIpPatch>

export const FloatingIpQuery = closed({
  project_id: Type.Optional(ProjectId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  address: Type.Optional(AddressText),
  allocation_id: Type.Optional(Id),
  private_allocation_id: Type.Optional(Id),
  private_address: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 45,
      description: 'Points at this address, in whichever address scope.',
    }),
  ),
  associated: Type.Optional(
    Type.Boolean({ description: 'Only those that point at something, or only the others.' }),
  ),
  ...PageQuery,
})
export type FloatingIpQuery = Static<typeof FloatingIpQuery>

/** That a floating IP pointed at a private allocation, from one time to another. */
export const FloatingIpAssociation = closed(
  {
    id: Id,
    floating_ip_id: Id,
    project_id: ProjectId,
    allocation_id: Id,
    address: AddressText,
    private_allocation_id: Id,
    private_address: AddressText,
    started_at: Time,
    ended_at: Nullable(Time, { description: 'Null while it lasts.' }),
  },
  { $id: 'FloatingIpAssociation' },
)
export type FloatingIpAssociation = Static<typeof FloatingIpAssociation>

export const AssociationQuery = closed({
  floating_ip_id: Type.Optional(Id),
  project_id: Type.Optional(ProjectId),
  address: Type.Optional(AddressText),
  private_allocation_id: Type.Optional(Id),
  private_address: Type.Optional(AddressText),
  at: Type.Optional(
    Type.String({ minLength: 1, maxLength: 40, description: 'Lasted at this time (RFC 3339).' }),
  ),
  ...PageQuery,
})
export type AssociationQuery = Static<typeof AssociationQuery>
