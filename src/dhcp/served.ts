import { type Static, Type } from 'typebox'
import { closed, Id, Nullable, oneOf, ProjectId, Time } from '../schema.ts'

// What the API and those who answer machines say to each other.

/** The owner type of an address that a machine got because it asked, and nobody had told of it. */
export const clientOwner = 'dhcp_client'

const Hex = (bytesMax: number, description: string) =>
  Type.String({ pattern: `^([0-9a-f]{2}){1,${bytesMax}}$`, description })

/** By what a client calls itself; all but the MAC as hex. */
export const clientNames = {
  mac_address: Nullable(Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' })),
  client_id: Nullable(Hex(255, "DHCPv4's client identifier (option 61), with its type.")),
  duid: Nullable(Hex(130, "DHCPv6's unique identifier (RFC 8415 §11), with its type.")),
  iaid: Nullable(Type.Integer({ minimum: 0, maximum: 4_294_967_295 }), {
    description: 'Which interface of the machine with that DUID; null with a DUID is any of them.',
  }),
}

/** An option that is in force, by its number; its value as its type has it. */
export const ServedOption = closed({
  code: Type.Integer({ minimum: 1, maximum: 65_535 }),
  value: Type.Unsafe<unknown>({}),
})
export type ServedOption = Static<typeof ServedOption>

export const BootFile = closed({
  architectures: Type.Array(Type.Integer({ minimum: 0, maximum: 65_535 }), {
    description: 'Of clients (option 93): RFC 4578 §2.1 and its registry.',
  }),
  server: Nullable(Type.String({ maxLength: 255 })),
  file: Type.String({ maxLength: 255 }),
})
export type BootFile = Static<typeof BootFile>

const ServedSubnet = closed({
  block_id: Id,
  cidr: Type.String(),
  version: Type.Union([Type.Literal(4), Type.Literal(6)]),
  gateway_ip: Nullable(Type.String()),
  options: Type.Array(ServedOption, { description: 'Those in force there, by code.' }),
  boot_files: Type.Array(BootFile, { description: 'The first that fits a client is its.' }),
  unknown_clients: Nullable(
    closed({
      project_id: ProjectId,
      lease_seconds: Type.Integer({ minimum: 1 }),
      purpose: Nullable(Type.String()),
    }),
    {
      description: 'What an unknown client gets there: an address, held in this project; or none.',
    },
  ),
})
export type ServedSubnet = Static<typeof ServedSubnet>

/** A network as machines on it see it. */
export const ServedNetwork = closed(
  {
    id: Id,
    project_id: Nullable(ProjectId),
    name: Type.String(),
    mtu: Nullable(Type.Integer()),
    subnets: Type.Array(ServedSubnet, { description: 'Those that give out addresses, by id.' }),
  },
  { $id: 'ServedNetwork' },
)
export type ServedNetwork = Static<typeof ServedNetwork>

/** A machine that is known on a network, and what it has there. */
export const ServedHost = closed(
  {
    id: Type.String({
      description: 'Of an interface its id, of a client its `owner_id`.',
      minLength: 1,
      maxLength: 300,
    }),
    type: oneOf(['interface', 'client'], {
      description: `\`client\`: one with allocations of owner type \`${clientOwner}\`.`,
    }),
    ...clientNames,
    host_name: Nullable(Type.String({ maxLength: 255 }), {
      description:
        'The option `host-name` of the interface, else the name of an allocation that is one.',
    }),
    addresses: Type.Array(
      closed({
        allocation_id: Id,
        block_id: Id,
        address: Type.String({ description: 'An address, or a delegated prefix as CIDR.' }),
        expires_at: Nullable(Time),
        withheld_until: Nullable(Time, {
          description: 'Until when it is told to nobody: a machine found it in use.',
        }),
      }),
      { description: 'Oldest first.' },
    ),
    options: Type.Array(closed({ block_id: Id, options: Type.Array(ServedOption) }), {
      description:
        'All that are in force for it in these subnets, in place of those of the subnet; none if nothing is set on the interface.',
    }),
  },
  { $id: 'ServedHost' },
)
export type ServedHost = Static<typeof ServedHost>

/** Through which relay a client was heard. */
export const LeaseRelay = closed({
  address: Type.String({ description: 'giaddr, or the link address of the nearest relay.' }),
  circuit_id: Nullable(Hex(255, 'Circuit id (RFC 3046), or Interface-Id (RFC 8415 §21.18).')),
  remote_id: Nullable(Hex(255, 'Remote id (RFC 3046), or that of RFC 4649.')),
})
export type LeaseRelay = Static<typeof LeaseRelay>

/**
 * What a machine was told. A server keeps the `id` as long as it tells the same machine the same
 * address without a gap, so what is reported twice is known once.
 */
export const LeaseReport = closed(
  {
    id: Type.String({ format: 'uuid' }),
    allocation_id: Id,
    network_id: Id,
    address: Type.String({ maxLength: 49 }),
    ...clientNames,
    host_name: Nullable(Type.String({ maxLength: 255 }), {
      description: 'As the machine says it.',
    }),
    relay: Nullable(LeaseRelay),
    state: oneOf(['bound', 'released', 'declined'], {
      description:
        '`released`: the machine gave it back. `declined`: it found that another uses it.',
    }),
    started_at: Time,
    told_at: Time,
    ends_at: Nullable(Time, { description: 'Null for a lease without end.' }),
  },
  { $id: 'LeaseReport' },
)
export type LeaseReport = Static<typeof LeaseReport>
