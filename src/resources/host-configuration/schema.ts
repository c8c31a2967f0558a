import { type Static, type TSchema, Type } from 'typebox'
import {
  AddressText,
  CidrText,
  closed,
  Id,
  Name,
  Nullable,
  oneOf,
  ProjectId,
  ref,
} from '../../schema.ts'
import { ConfiguredRoute, OptionInForce, origin, Version } from '../dhcp-options/schema.ts'
import { DeviceId } from '../interfaces/schema.ts'
import { MacText } from '../macs/schema.ts'

const sourced = <S extends TSchema>(value: S) => closed({ value, ...origin })
const Addresses = Type.Array(AddressText)
const Names = Type.Array(Type.String())
const Mtu = Type.Integer({ minimum: 68, maximum: 65_535 })

const Subnet = closed({
  block_id: Id,
  network_id: Nullable(Id),
  cidr: CidrText,
  version: Version,
  prefix_length: sourced(Type.Integer({ minimum: 0, maximum: 128 })),
  addresses: Type.Array(closed({ allocation_id: Id, address: AddressText })),
  gateway: Nullable(sourced(AddressText), {
    description: 'Where the default route leads; null also if `routes` has a default route.',
  }),
  routes: Nullable(sourced(Type.Array(ConfiguredRoute))),
  name_servers: Nullable(sourced(Addresses)),
  search_domains: Nullable(sourced(Names)),
  ntp_servers: Nullable(sourced(Names), {
    description: 'Addresses, and in IPv6 also domain names.',
  }),
  options: Type.Array(OptionInForce, {
    description: 'The DHCP options of the version of the subnet, by code.',
  }),
})

/** All that is needed to configure an interface. What nobody says is null. */
export const InterfaceConfiguration = closed(
  {
    interface_id: Id,
    device_id: Nullable(DeviceId),
    project_id: ProjectId,
    network_id: Nullable(Id),
    name: Name,
    mac_address: Nullable(MacText),
    mtu: Nullable(sourced(Mtu)),
    subnets: Type.Array(Subnet, { description: 'Those in which the interface has addresses.' }),
    prefixes: Type.Array(closed({ allocation_id: Id, block_id: Id, prefix: CidrText }), {
      description: 'Prefixes that are delegated to the machine: none of its own addresses.',
    }),
  },
  { $id: 'InterfaceConfiguration' },
)
export type InterfaceConfiguration = Static<typeof InterfaceConfiguration>

export const DeviceConfiguration = closed(
  { device_id: DeviceId, interfaces: Type.Array(ref(InterfaceConfiguration)) },
  { $id: 'DeviceConfiguration' },
)

const LinkId = Type.String({ pattern: '^interface[0-9]+$' })

/** OpenStack's network_data.json. */
export const NetworkData = closed(
  {
    links: Type.Array(
      closed({
        id: LinkId,
        vif_id: Id,
        type: Type.Literal('phy'),
        ethernet_mac_address: MacText,
        mtu: Nullable(Mtu),
      }),
    ),
    networks: Type.Array(
      closed({
        id: Type.String({ pattern: '^network[0-9]+$' }),
        link: LinkId,
        network_id: Type.String({ description: 'Empty for an address of no network.' }),
        type: oneOf(['ipv4', 'ipv6']),
        ip_address: AddressText,
        netmask: AddressText,
        routes: Type.Array(
          closed({ network: AddressText, netmask: AddressText, gateway: AddressText }),
        ),
        dns_nameservers: Type.Optional(Addresses),
        dns_search: Type.Optional(Names),
      }),
    ),
    services: Type.Array(closed({ type: Type.Literal('dns'), address: AddressText })),
  },
  { $id: 'NetworkData' },
)

/** cloud-init's network config version 2. */
export const CloudInitNetwork = closed(
  {
    version: Type.Literal(2),
    ethernets: Type.Record(
      Type.String(),
      closed({
        match: closed({ macaddress: MacText }),
        'set-name': Type.Optional(Type.String({ maxLength: 15 })),
        mtu: Type.Optional(Mtu),
        addresses: Type.Optional(Type.Array(CidrText)),
        routes: Type.Optional(
          Type.Array(
            closed({
              to: CidrText,
              via: AddressText,
              'on-link': Type.Optional(Type.Literal(true)),
              metric: Type.Optional(Type.Integer({ minimum: 0, maximum: 4_294_967_295 })),
            }),
          ),
        ),
        nameservers: Type.Optional(
          closed({ addresses: Type.Optional(Addresses), search: Type.Optional(Names) }),
        ),
      }),
    ),
  },
  { $id: 'CloudInitNetwork' },
)
