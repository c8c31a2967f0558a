import { type Static, Type } from 'typebox'
import { clientNames } from '../../dhcp/served.ts'
import {
  AddressText,
  closed,
  Generation,
  Id,
  Name,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  ref,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'
import { MacText } from '../macs/schema.ts'

export const DeviceId = Type.String({
  minLength: 1,
  maxLength: 255,
  description: 'What the interface is a part of, for instance an instance of Nova.',
})

/** How many addresses one call gives an interface. */
const addressesMax = 64
/** How many interfaces a device has at most. */
export const interfacesMax = 64

const InterfaceAddress = closed({
  allocation_id: Id,
  block_id: Id,
  address: Type.String({ description: 'An address, or a delegated prefix as address/length.' }),
})

const networkOfInterface = Nullable(Id, {
  description:
    'Null where it was made through v0.1 or v1.0, and has had no address of a network yet. Such a one comes to the network of its first address, and may come to another when it has none left there.',
})

const { client_id, duid, iaid } = clientNames

export const Interface = closed(
  {
    id: Id,
    device_id: Nullable(DeviceId),
    project_id: ProjectId,
    network_id: networkOfInterface,
    name: Name,
    tags: Tags,
    mac_address: Nullable(MacText),
    mac_range_id: Nullable(Id),
    client_id,
    duid,
    iaid,
    addresses: Type.Array(InterfaceAddress, {
      description: 'The allocations of owner type `interface` whose `owner_id` is this id.',
    }),
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'Interface' },
)
export type Interface = Static<typeof Interface>

const addresses = {
  families: Type.Optional(
    Type.Array(Type.Union([Type.Literal(4), Type.Literal(6)]), {
      maxItems: 2,
      uniqueItems: true,
      description: 'The next address of each of these IP versions, of the subnets of the network.',
    }),
  ),
  addresses: Type.Optional(
    Type.Array(AddressText, {
      maxItems: addressesMax,
      uniqueItems: true,
      description: 'These addresses of the network, beside those of `families`.',
    }),
  ),
}

const HexText = (bytesMin: number, bytesMax: number, description: string) =>
  Type.String({
    pattern: `^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){${bytesMin - 1},${bytesMax - 1}}$`,
    description,
  })

/** How a request writes that by which a machine is known. */
const knownBy = {
  client_id: Type.Optional(
    Nullable(
      HexText(
        2,
        255,
        "DHCPv4's client identifier (option 61) with its type, as hex: `01` and a MAC, or `ff` and what RFC 4361 says.",
      ),
    ),
  ),
  duid: Type.Optional(
    Nullable(HexText(3, 130, "DHCPv6's unique identifier (RFC 8415 §11) with its type, as hex.")),
  ),
  iaid: Type.Optional(
    Nullable(
      Type.Integer({
        ...iaid.anyOf[0],
        description: 'Which interface of the machine with that DUID it is; null is any.',
      }),
    ),
  ),
}

const spec = {
  id: Type.Optional(
    Type.Unsafe<string>({ ...Id, description: 'The id that the interface has elsewhere.' }),
  ),
  network_id: Id,
  name: Type.Optional(Name),
  tags: Type.Optional(Tags),
  mac_address: Type.Optional(
    Nullable(MacText, {
      description: 'This MAC; null for none. Without it one of a range, as `POST /v2/macs` takes.',
    }),
  ),
  mac_range_id: Type.Optional(Id),
  ...knownBy,
  ...addresses,
}

/** An interface as a device has it. */
export const InterfaceSpec = closed(spec, { $id: 'InterfaceSpec' })
export type InterfaceSpec = Static<typeof InterfaceSpec>

export const InterfaceRequest = closed(
  { project_id: ProjectId, device_id: Type.Optional(Nullable(DeviceId)), ...spec },
  { $id: 'InterfaceRequest' },
)
export type InterfaceRequest = Static<typeof InterfaceRequest>

export const InterfacePatch = closed(
  {
    device_id: Type.Optional(Nullable(DeviceId)),
    name: Type.Optional(Name),
    tags: Type.Optional(Tags),
    ...knownBy,
  },
  { $id: 'InterfacePatch' },
)
export type InterfacePatch = Static<typeof InterfacePatch>

export const InterfaceAddressRequest = closed(addresses, { $id: 'InterfaceAddressRequest' })
export type InterfaceAddressRequest = Static<typeof InterfaceAddressRequest>

export const InterfaceQuery = closed({
  project_id: Type.Optional(ProjectId),
  device_id: Type.Optional(DeviceId),
  network_id: Type.Optional(Id),
  mac_address: Type.Optional(MacText),
  client_id: Type.Optional(HexText(2, 255, 'As DHCPv4 has it.')),
  duid: Type.Optional(HexText(3, 130, 'As DHCPv6 has it.')),
  address: Type.Optional(AddressText),
  name: Type.Optional(Name),
  tag: TagsQuery,
  ...PageQuery,
})
export type InterfaceQuery = Static<typeof InterfaceQuery>

export const DeviceInterfacesRequest = closed(
  {
    project_id: ProjectId,
    interfaces: Type.Array(ref(InterfaceSpec), { maxItems: interfacesMax }),
  },
  { $id: 'DeviceInterfacesRequest' },
)
export type DeviceInterfacesRequest = Static<typeof DeviceInterfacesRequest>

/** Where an interface is or was, and which MAC it had. */
export const InterfacePeriod = closed(
  {
    interface_id: Id,
    device_id: Nullable(DeviceId),
    project_id: ProjectId,
    network_id: Nullable(Id),
    name: Name,
    mac_address: Nullable(MacText),
    started_at: Time,
    ended_at: Nullable(Time),
  },
  { $id: 'InterfacePeriod' },
)
export type InterfacePeriod = Static<typeof InterfacePeriod>

export const InterfacePeriodQuery = closed({
  interface_id: Type.Optional(Id),
  device_id: Type.Optional(DeviceId),
  at: Type.Optional(
    Type.String({ minLength: 1, maxLength: 40, description: 'There at this time (RFC 3339).' }),
  ),
  ...PageQuery,
})
export type InterfacePeriodQuery = Static<typeof InterfacePeriodQuery>

const AllowedText = Type.String({
  minLength: 1,
  maxLength: 49,
  description: 'An address, or a prefix.',
  examples: ['192.0.2.10', '2001:db8:7::/64'],
})
const Role = oneOf(['exclusive', 'primary', 'secondary', 'shared'], {
  description:
    '`exclusive`: no other interface of the network may have it. Of those that share it at most one is `primary`.',
})

export const AllowedAddress = closed(
  {
    id: Id,
    interface_id: Id,
    network_id: Id,
    address: AllowedText,
    role: Role,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'AllowedAddress' },
)
export type AllowedAddress = Static<typeof AllowedAddress>

export const AllowedAddressRequest = closed(
  { address: AllowedText, role: Type.Optional(Role) },
  { $id: 'AllowedAddressRequest' },
)
export type AllowedAddressRequest = Static<typeof AllowedAddressRequest>

export const AllowedAddressPatch = closed({ role: Role }, { $id: 'AllowedAddressPatch' })
export type AllowedAddressPatch = Static<typeof AllowedAddressPatch>

export const AllowedAddressQuery = closed({
  network_id: Type.Optional(Id),
  address: Type.Optional(
    Type.Unsafe<string>({ ...AllowedText, description: 'Shares an address with this.' }),
  ),
  ...PageQuery,
})
export type AllowedAddressQuery = Static<typeof AllowedAddressQuery>

/** Who had an address beside its own, in which role, and from when to when. */
export const AllowedPeriod = closed(
  {
    allowed_address_id: Id,
    interface_id: Id,
    network_id: Id,
    project_id: ProjectId,
    address: AllowedText,
    role: Role,
    started_at: Time,
    ended_at: Nullable(Time),
  },
  { $id: 'AllowedPeriod' },
)
export type AllowedPeriod = Static<typeof AllowedPeriod>

export const AllowedPeriodQuery = closed({
  interface_id: Type.Optional(Id),
  network_id: Type.Optional(Id),
  project_id: Type.Optional(ProjectId),
  address: Type.Optional(
    Type.Unsafe<string>({ ...AllowedText, description: 'Shares an address with this.' }),
  ),
  at: Type.Optional(
    Type.String({ minLength: 1, maxLength: 40, description: 'Allowed at this time (RFC 3339).' }),
  ),
  ...PageQuery,
})
export type AllowedPeriodQuery = Static<typeof AllowedPeriodQuery>
