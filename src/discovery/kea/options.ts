import { encodeOption } from '../../dhcp/option-types.ts'
import { type OptionDefinition, optionOf } from '../../dhcp/options.ts'
import type { ServedHost, ServedNetwork, ServedOption, ServedSubnet } from '../../dhcp/served.ts'
import { type IpVersion, parseAddress } from '../../ip/address.ts'

/** An option as Kea keeps it: its bytes as hex, whatever Kea knows of its type. */
export type RawOption = { readonly code: number; readonly hex: string }

/** What a client is told beside its address. */
export type Told = {
  readonly options: readonly RawOption[]
  readonly lease_seconds: number | null
  readonly renewal_seconds: number | null
  readonly rebinding_seconds: number | null
  /** What it boots from: DHCPv4 only. */
  readonly boot: Boot
}

/** `next_server` is an IPv4 address; the texts are as long as their fields of a message allow. */
export type Boot = {
  readonly next_server: string | null
  readonly server_hostname: string | null
  readonly boot_file_name: string | null
  readonly options: readonly RawOption[]
}

export const codes4 = {
  subnetMask: 1,
  hostName: 12,
  leaseTime: 51,
  renewalTime: 58,
  rebindingTime: 59,
  tftpServerName: 66,
  bootfileName: 67,
  classlessRoutes: 121,
  tftpServers: 150,
  microsoftRoutes: 249,
}

/** What Kea tells by itself, in its own way. The mask is that of the subnet. */
const elsewhere: Readonly<Record<IpVersion, ReadonlySet<number>>> = {
  4: new Set([
    codes4.subnetMask,
    codes4.leaseTime,
    codes4.renewalTime,
    codes4.rebindingTime,
    codes4.tftpServerName,
    codes4.bootfileName,
  ]),
  // Clients are to be heard through relays and port security, so that nobody is told to unicast.
  6: new Set([12]),
}

const ofSubnet = new WeakMap<ServedSubnet, readonly ServedOption[]>()

/**
 * The options that Kea tells in a subnet. A DHCPv6 client has addresses in several at once, but is told
 * the options of one: those of the others stand there, too, behind its own.
 */
export function optionsIn(
  { subnets }: ServedNetwork,
  subnet: ServedSubnet,
  own: ServedHost['options'] = [],
): readonly ServedOption[] {
  const known = own.length === 0 ? ofSubnet.get(subnet) : undefined
  if (known) return known
  const said = ({ block_id, options }: ServedSubnet) =>
    own.find(one => one.block_id === block_id)?.options ?? options
  const others = subnets.filter(one => one.version === 6 && one !== subnet)
  const lists = [subnet, ...(subnet.version === 6 ? others : [])].map(said)
  const [first = [], ...more] = lists
  const codes = new Set(first.map(({ code }) => code))
  const added = more.flat().filter(({ code }) => !codes.has(code) && codes.add(code))
  const options = added.length === 0 ? first : [...first, ...added]
  if (own.length === 0) ofSubnet.set(subnet, options)
  return options
}

const worked = new WeakMap<readonly ServedOption[], Told>()

/** What options come to. A list of them is worked out once. */
export function toldBy(version: IpVersion, options: readonly ServedOption[]): Told {
  const told = worked.get(options) ?? workOut(version, options)
  worked.set(options, told)
  return told
}

function workOut(version: IpVersion, options: readonly ServedOption[]): Told {
  const values = new Map(options.map(({ code, value }) => [code, value]))
  const raw = options
    .filter(({ code }) => !elsewhere[version].has(code))
    .map(({ code, value }) => rawOption(optionOf(version, code), value))
  if (version === 6) return { ...nothingElse, options: raw }
  const routes = raw.find(({ code }) => code === codes4.classlessRoutes)
  const hasOwn = raw.some(({ code }) => code === codes4.microsoftRoutes)
  const microsoft = { code: codes4.microsoftRoutes, hex: routes?.hex ?? '' }
  const secondsOf = (code: number) => Number(values.get(code) ?? 0) || null
  const textOf = (code: number) => (values.has(code) ? String(values.get(code)) : null)
  const server = textOf(codes4.tftpServerName)
  const [tftpServer = null] = [values.get(codes4.tftpServers) ?? []].flat()
  const siaddr = addressOf(server) ?? addressOf(tftpServer)
  return {
    // Who asks for routes by Microsoft's number only gets the same.
    options: routes && !hasOwn ? [...raw, microsoft] : raw,
    lease_seconds: secondsOf(codes4.leaseTime),
    renewal_seconds: secondsOf(codes4.renewalTime),
    rebinding_seconds: secondsOf(codes4.rebindingTime),
    boot: { ...bootOf(server, textOf(codes4.bootfileName)), next_server: siaddr },
  }
}

const nothingElse: Omit<Told, 'options'> = {
  lease_seconds: null,
  renewal_seconds: null,
  rebinding_seconds: null,
  boot: { next_server: null, server_hostname: null, boot_file_name: null, options: [] },
}

function rawOption(option: OptionDefinition, value: unknown): RawOption {
  // Of what has several instances Kea tells one.
  const [first = Buffer.alloc(0), ...more] = encodeOption(option, value)
  const bytes = option.version === 4 ? Buffer.concat([first, ...more]) : first
  return { code: option.code, hex: bytes.toString('hex') }
}

/** An IPv4 address as it is, null for anything else. */
function addressOf(value: unknown): string | null {
  return typeof value === 'string' && parseAddress(value)?.version === 4 ? value : null
}

/** The fields `sname` and `file` of a message hold text that a zero ends (RFC 2131 §2). */
const snameMax = 63
const fileMax = 127

export const textOption = (code: number, text: string): RawOption => ({
  code,
  hex: Buffer.from(text).toString('hex'),
})

/** What is told of a server and file to boot from; what is too long for a field is in its option. */
export function bootOf(server: string | null, file: string | null): Boot {
  const next_server = addressOf(server)
  const fits = (text: string | null, max: number) =>
    text !== null && Buffer.byteLength(text) <= max ? text : null
  return {
    next_server,
    server_hostname: next_server === null ? fits(server, snameMax) : null,
    boot_file_name: fits(file, fileMax),
    options: [
      ...(server === null ? [] : [textOption(codes4.tftpServerName, server)]),
      ...(file === null ? [] : [textOption(codes4.bootfileName, file)]),
    ],
  }
}
