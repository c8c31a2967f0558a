import { Type } from 'typebox'

/** What can be set of the driver `dnsmasq`. */
export const dnsmasqSettings = Type.Object(
  {
    program: Type.String({
      default: 'dnsmasq',
      minLength: 1,
      description: 'Name or path of dnsmasq, 2.87 or newer.',
    }),
    router_advertisements: Type.Boolean({
      default: true,
      description:
        'Whether dnsmasq announces the IPv6 subnets of its interfaces, and that addresses come by DHCPv6.',
    }),
    slaac: Type.Boolean({
      default: false,
      description: 'Whether machines may make IPv6 addresses of their own of what is announced.',
    }),
    dns_port: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 65_535,
      description:
        'Where dnsmasq answers DNS with the names of hosts; 0 for nowhere. On port 53 machines are told of it where no option names a DNS server.',
    }),
    dns_servers: Type.Array(Type.String({ pattern: '^[0-9a-fA-F.:]{2,45}$' }), {
      default: [],
      maxItems: 16,
      description: 'Addresses of DNS servers that are asked for all other names.',
    }),
    dns_domain: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$',
        description: 'Domain of the names of hosts for which no option says one.',
      }),
    ),
  },
  { additionalProperties: false, default: {} },
)
