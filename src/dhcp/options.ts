import type { IpVersion } from '../ip/address.ts'

/**
 * How an option's value is written, in JSON and on the wire; see option-types.ts. What an option
 * without a type of its own holds is `hex`.
 */
export const optionTypeNames = [
  'address',
  'addresses',
  'address-pairs',
  'routes',
  'uint8',
  'uint16',
  'uint32',
  'int32',
  'uint16s',
  'boolean',
  'string',
  'strings',
  'domain-text',
  'domain',
  'domains',
  'fqdn',
  'sip-servers',
  'ntp-servers',
  'hex',
] as const
export type OptionTypeName = (typeof optionTypeNames)[number]

type OptionRow = {
  readonly code: number
  readonly name: string
  readonly type: OptionTypeName
  /** Where it is defined; nothing for what is only in common use. Some RFCs number no sections. */
  readonly rfc?: number
  readonly section?: string
  /** Bounds of an integer, or of each of a list. */
  readonly min?: number
  readonly max?: number
  /** What the two addresses of a pair are called. */
  readonly members?: readonly [string, string]
  /** How long a value in hex has to be. */
  readonly bytes?: number
}

/** A DHCP option; one that is not in the registry has no name, and its value is hex. */
export type OptionDefinition = Omit<OptionRow, 'name'> & {
  readonly version: IpVersion
  readonly name: string | null
}

const v4: readonly OptionRow[] = [
  { code: 1, name: 'subnet-mask', type: 'address', rfc: 2132, section: '3.3' },
  { code: 2, name: 'time-offset', type: 'int32', rfc: 2132, section: '3.4' },
  { code: 3, name: 'router', type: 'addresses', rfc: 2132, section: '3.5' },
  { code: 4, name: 'time-servers', type: 'addresses', rfc: 2132, section: '3.6' },
  { code: 5, name: 'name-servers', type: 'addresses', rfc: 2132, section: '3.7' },
  { code: 6, name: 'dns-servers', type: 'addresses', rfc: 2132, section: '3.8' },
  { code: 7, name: 'log-servers', type: 'addresses', rfc: 2132, section: '3.9' },
  { code: 8, name: 'cookie-servers', type: 'addresses', rfc: 2132, section: '3.10' },
  { code: 9, name: 'lpr-servers', type: 'addresses', rfc: 2132, section: '3.11' },
  { code: 10, name: 'impress-servers', type: 'addresses', rfc: 2132, section: '3.12' },
  { code: 11, name: 'resource-location-servers', type: 'addresses', rfc: 2132, section: '3.13' },
  { code: 12, name: 'host-name', type: 'domain-text', rfc: 2132, section: '3.14' },
  { code: 13, name: 'boot-size', type: 'uint16', rfc: 2132, section: '3.15' },
  { code: 14, name: 'merit-dump', type: 'string', rfc: 2132, section: '3.16' },
  { code: 15, name: 'domain-name', type: 'domain-text', rfc: 2132, section: '3.17' },
  { code: 16, name: 'swap-server', type: 'address', rfc: 2132, section: '3.18' },
  { code: 17, name: 'root-path', type: 'string', rfc: 2132, section: '3.19' },
  { code: 18, name: 'extensions-path', type: 'string', rfc: 2132, section: '3.20' },
  { code: 19, name: 'ip-forwarding', type: 'boolean', rfc: 2132, section: '4.1' },
  { code: 20, name: 'non-local-source-routing', type: 'boolean', rfc: 2132, section: '4.2' },
  {
    code: 21,
    name: 'policy-filters',
    type: 'address-pairs',
    members: ['address', 'mask'],
    rfc: 2132,
    section: '4.3',
  },
  { code: 22, name: 'max-reassembly-size', type: 'uint16', min: 576, rfc: 2132, section: '4.4' },
  { code: 23, name: 'default-ip-ttl', type: 'uint8', min: 1, rfc: 2132, section: '4.5' },
  { code: 24, name: 'path-mtu-aging-timeout', type: 'uint32', rfc: 2132, section: '4.6' },
  { code: 25, name: 'path-mtu-plateaus', type: 'uint16s', min: 68, rfc: 2132, section: '4.7' },
  { code: 26, name: 'mtu', type: 'uint16', min: 68, rfc: 2132, section: '5.1' },
  { code: 27, name: 'all-subnets-local', type: 'boolean', rfc: 2132, section: '5.2' },
  { code: 28, name: 'broadcast-address', type: 'address', rfc: 2132, section: '5.3' },
  { code: 29, name: 'mask-discovery', type: 'boolean', rfc: 2132, section: '5.4' },
  { code: 30, name: 'mask-supplier', type: 'boolean', rfc: 2132, section: '5.5' },
  { code: 31, name: 'router-discovery', type: 'boolean', rfc: 2132, section: '5.6' },
  { code: 32, name: 'router-solicitation-address', type: 'address', rfc: 2132, section: '5.7' },
  {
    code: 33,
    name: 'static-routes',
    type: 'address-pairs',
    members: ['destination', 'gateway'],
    rfc: 2132,
    section: '5.8',
  },
  { code: 34, name: 'trailer-encapsulation', type: 'boolean', rfc: 2132, section: '6.1' },
  { code: 35, name: 'arp-cache-timeout', type: 'uint32', rfc: 2132, section: '6.2' },
  { code: 36, name: 'ieee-802-3-encapsulation', type: 'boolean', rfc: 2132, section: '6.3' },
  { code: 37, name: 'default-tcp-ttl', type: 'uint8', min: 1, rfc: 2132, section: '7.1' },
  { code: 38, name: 'tcp-keepalive-interval', type: 'uint32', rfc: 2132, section: '7.2' },
  { code: 39, name: 'tcp-keepalive-garbage', type: 'boolean', rfc: 2132, section: '7.3' },
  { code: 40, name: 'nis-domain', type: 'string', rfc: 2132, section: '8.1' },
  { code: 41, name: 'nis-servers', type: 'addresses', rfc: 2132, section: '8.2' },
  { code: 42, name: 'ntp-servers', type: 'addresses', rfc: 2132, section: '8.3' },
  { code: 43, name: 'vendor-options', type: 'hex', rfc: 2132, section: '8.4' },
  { code: 44, name: 'netbios-name-servers', type: 'addresses', rfc: 2132, section: '8.5' },
  { code: 45, name: 'netbios-dd-servers', type: 'addresses', rfc: 2132, section: '8.6' },
  { code: 46, name: 'netbios-node-type', type: 'uint8', min: 1, max: 8, rfc: 2132, section: '8.7' },
  { code: 47, name: 'netbios-scope', type: 'string', rfc: 2132, section: '8.8' },
  { code: 48, name: 'x-font-servers', type: 'addresses', rfc: 2132, section: '8.9' },
  { code: 49, name: 'x-display-managers', type: 'addresses', rfc: 2132, section: '8.10' },
  { code: 51, name: 'lease-time', type: 'uint32', rfc: 2132, section: '9.2' },
  { code: 58, name: 'renewal-time', type: 'uint32', rfc: 2132, section: '9.11' },
  { code: 59, name: 'rebinding-time', type: 'uint32', rfc: 2132, section: '9.12' },
  { code: 60, name: 'vendor-class', type: 'string', rfc: 2132, section: '9.13' },
  { code: 64, name: 'nis-plus-domain', type: 'string', rfc: 2132, section: '8.11' },
  { code: 65, name: 'nis-plus-servers', type: 'addresses', rfc: 2132, section: '8.12' },
  { code: 66, name: 'tftp-server-name', type: 'string', rfc: 2132, section: '9.4' },
  { code: 67, name: 'bootfile-name', type: 'string', rfc: 2132, section: '9.5' },
  { code: 68, name: 'mobile-ip-home-agents', type: 'addresses', rfc: 2132, section: '8.13' },
  { code: 69, name: 'smtp-servers', type: 'addresses', rfc: 2132, section: '8.14' },
  { code: 70, name: 'pop3-servers', type: 'addresses', rfc: 2132, section: '8.15' },
  { code: 71, name: 'nntp-servers', type: 'addresses', rfc: 2132, section: '8.16' },
  { code: 72, name: 'www-servers', type: 'addresses', rfc: 2132, section: '8.17' },
  { code: 73, name: 'finger-servers', type: 'addresses', rfc: 2132, section: '8.18' },
  { code: 74, name: 'irc-servers', type: 'addresses', rfc: 2132, section: '8.19' },
  { code: 75, name: 'streettalk-servers', type: 'addresses', rfc: 2132, section: '8.20' },
  { code: 76, name: 'stda-servers', type: 'addresses', rfc: 2132, section: '8.21' },
  { code: 78, name: 'slp-directory-agents', type: 'hex', rfc: 2610, section: '3' },
  { code: 79, name: 'slp-service-scope', type: 'hex', rfc: 2610, section: '4' },
  { code: 85, name: 'nds-servers', type: 'addresses', rfc: 2241, section: '2' },
  { code: 86, name: 'nds-tree-name', type: 'string', rfc: 2241, section: '3' },
  { code: 87, name: 'nds-context', type: 'string', rfc: 2241, section: '4' },
  { code: 93, name: 'client-architecture', type: 'uint16s', rfc: 4578, section: '2.1' },
  { code: 94, name: 'client-network-interface', type: 'hex', bytes: 3, rfc: 4578, section: '2.2' },
  { code: 97, name: 'client-machine-id', type: 'hex', bytes: 17, rfc: 4578, section: '2.3' },
  { code: 98, name: 'uap-servers', type: 'string', rfc: 2485 },
  { code: 99, name: 'civic-location', type: 'hex', rfc: 4776, section: '3.1' },
  { code: 100, name: 'timezone-posix', type: 'string', rfc: 4833, section: '2' },
  { code: 101, name: 'timezone-name', type: 'string', rfc: 4833, section: '2' },
  { code: 108, name: 'ipv6-only-preferred', type: 'uint32', rfc: 8925, section: '3.1' },
  { code: 114, name: 'captive-portal', type: 'string', rfc: 8910, section: '2.1' },
  { code: 116, name: 'auto-configuration', type: 'boolean', rfc: 2563, section: '2' },
  { code: 117, name: 'name-service-search', type: 'uint16s', rfc: 2937 },
  { code: 119, name: 'domain-search', type: 'domains', rfc: 3397, section: '2' },
  { code: 120, name: 'sip-servers', type: 'sip-servers', rfc: 3361, section: '3' },
  { code: 121, name: 'classless-routes', type: 'routes', rfc: 3442 },
  { code: 123, name: 'geo-location', type: 'hex', rfc: 6225, section: '2.2.1' },
  { code: 124, name: 'vendor-identifying-class', type: 'hex', rfc: 3925, section: '3' },
  { code: 125, name: 'vendor-identifying-options', type: 'hex', rfc: 3925, section: '4' },
  { code: 136, name: 'pana-agents', type: 'addresses', rfc: 5192, section: '4' },
  { code: 138, name: 'capwap-controllers', type: 'addresses', rfc: 5417, section: '2' },
  { code: 150, name: 'tftp-servers', type: 'addresses', rfc: 5859, section: '3' },
  { code: 209, name: 'pxelinux-config-file', type: 'string', rfc: 5071, section: '4' },
  { code: 210, name: 'pxelinux-path-prefix', type: 'string', rfc: 5071, section: '5' },
  { code: 211, name: 'pxelinux-reboot-time', type: 'uint32', rfc: 5071, section: '6' },
  { code: 212, name: '6rd', type: 'hex', rfc: 5969, section: '7.1.1' },
  { code: 213, name: 'access-domain', type: 'domain', rfc: 5986, section: '3.2' },
  { code: 249, name: 'microsoft-classless-routes', type: 'routes' },
  { code: 252, name: 'wpad-url', type: 'string' },
]

const v6: readonly OptionRow[] = [
  { code: 7, name: 'preference', type: 'uint8', rfc: 8415, section: '21.8' },
  { code: 12, name: 'server-unicast', type: 'address', rfc: 8415, section: '21.12' },
  { code: 17, name: 'vendor-options', type: 'hex', rfc: 8415, section: '21.17' },
  { code: 21, name: 'sip-server-names', type: 'domains', rfc: 3319, section: '3.1' },
  { code: 22, name: 'sip-servers', type: 'addresses', rfc: 3319, section: '3.2' },
  { code: 23, name: 'dns-servers', type: 'addresses', rfc: 3646, section: '3' },
  { code: 24, name: 'domain-search', type: 'domains', rfc: 3646, section: '4' },
  { code: 27, name: 'nis-servers', type: 'addresses', rfc: 3898, section: '3' },
  { code: 28, name: 'nis-plus-servers', type: 'addresses', rfc: 3898, section: '4' },
  { code: 29, name: 'nis-domain', type: 'domain', rfc: 3898, section: '5' },
  { code: 30, name: 'nis-plus-domain', type: 'domain', rfc: 3898, section: '6' },
  { code: 31, name: 'sntp-servers', type: 'addresses', rfc: 4075, section: '4' },
  {
    code: 32,
    name: 'information-refresh-time',
    type: 'uint32',
    min: 600,
    rfc: 8415,
    section: '21.23',
  },
  { code: 36, name: 'civic-location', type: 'hex', rfc: 4776, section: '3.2' },
  { code: 39, name: 'client-fqdn', type: 'fqdn', rfc: 4704, section: '4' },
  { code: 40, name: 'pana-agents', type: 'addresses', rfc: 5192, section: '5' },
  { code: 41, name: 'timezone-posix', type: 'string', rfc: 4833, section: '3' },
  { code: 42, name: 'timezone-name', type: 'string', rfc: 4833, section: '3' },
  { code: 52, name: 'capwap-controllers', type: 'addresses', rfc: 5417, section: '3' },
  { code: 56, name: 'ntp-servers', type: 'ntp-servers', rfc: 5908, section: '4' },
  { code: 57, name: 'access-domain', type: 'domain', rfc: 5986, section: '3.3' },
  { code: 59, name: 'bootfile-url', type: 'string', rfc: 5970, section: '3.1' },
  { code: 60, name: 'bootfile-parameters', type: 'strings', rfc: 5970, section: '3.2' },
  { code: 62, name: 'client-network-interface', type: 'hex', bytes: 3, rfc: 5970, section: '3.4' },
  { code: 64, name: 'aftr-name', type: 'domain', rfc: 6334, section: '3' },
  { code: 65, name: 'erp-local-domain', type: 'domain', rfc: 6440 },
  {
    code: 82,
    name: 'sol-max-rt',
    type: 'uint32',
    min: 60,
    max: 86400,
    rfc: 8415,
    section: '21.24',
  },
  {
    code: 83,
    name: 'inf-max-rt',
    type: 'uint32',
    min: 60,
    max: 86400,
    rfc: 8415,
    section: '21.25',
  },
  { code: 88, name: 'dhcp4o6-servers', type: 'addresses', rfc: 7341, section: '7.2' },
  { code: 103, name: 'captive-portal', type: 'string', rfc: 8910, section: '2.2' },
]

/** All of a run. */
const run = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

/**
 * What belongs to the exchange of messages, so that a server makes it itself: RFC 2132 §9, RFC 3004,
 * 3011, 3046, 3118, 4039, 4388, 4702, 6704; RFC 8415 §21, and what relays, leasequeries and
 * failover add (RFC 4580, 4649, 4994, 5007, 5460, 6422, 6939, 6977, 7037, 7341, 7653, 8156, 8357).
 */
const ofProtocol: Readonly<Record<IpVersion, readonly number[]>> = {
  4: [50, ...run(52, 57), 61, 77, 80, 81, 82, 90, 91, 92, 118, 145],
  6: [
    ...[...run(1, 6), 8, 9, 11, ...run(13, 16), 18, 19, 20, 25, 26, 37, 38],
    ...[...run(43, 48), 53, 61, 66, 79, 80, 81, 87, ...run(100, 102), ...run(114, 135)],
  ],
}
const codesMax: Readonly<Record<IpVersion, number>> = { 4: 254, 6: 65_535 }

/** The options that are known by name, in the order of their codes. */
export const knownOptions: Readonly<Record<IpVersion, readonly OptionDefinition[]>> = {
  4: v4.map(option => ({ version: 4, ...option })),
  6: v6.map(option => ({ version: 6, ...option })),
}

const byCode = { 4: new Map<number, OptionDefinition>(), 6: new Map<number, OptionDefinition>() }
const byName = { 4: new Map<string, OptionDefinition>(), 6: new Map<string, OptionDefinition>() }
for (const option of [...knownOptions[4], ...knownOptions[6]]) {
  byCode[option.version].set(option.code, option)
  byName[option.version].set(String(option.name), option)
}

/** The option of a code. */
export const optionOf = (version: IpVersion, code: number): OptionDefinition =>
  byCode[version].get(code) ?? { version, code, name: null, type: 'hex' }

/** The option that a name or a number stands for; null if that is none that can be set. */
export function findOption(version: IpVersion, text: string): OptionDefinition | null {
  if (!/^[1-9]\d*$/.test(text)) return byName[version].get(text) ?? null
  const code = Number(text)
  return code > codesMax[version] || ofProtocol[version].includes(code)
    ? null
    : optionOf(version, code)
}
