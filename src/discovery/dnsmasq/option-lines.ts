import { canonicalDomain } from '../../dhcp/domain-names.ts'
import { encodeOption, readOptionValue } from '../../dhcp/option-types.ts'
import { optionOf } from '../../dhcp/options.ts'
import type { BootFile, ServedOption } from '../../dhcp/served.ts'
import { IpamError } from '../../errors.ts'
import { formatAddress, type IpVersion, parseAddress } from '../../ip/address.ts'

// Options as dnsmasq reads them (--dhcp-optsfile). What it takes as bytes is written in hex, so that
// nothing of a value can be read as anything else; some that it knows by name it takes as text only.

/** A line is read into a buffer of 1025 bytes; what is longer would become two lines. */
export const lineMax = 1000
/** In DHCPv4 dnsmasq does not split options (RFC 3396). */
const bytesMax4 = 255

const ofAddresses: Readonly<Record<IpVersion, ReadonlySet<number>>> = {
  4: new Set([
    ...[1, 3, 6, 7, 9, 16, 21, 28, 32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 74, 150],
  ]),
  6: new Set([22, 23, 27, 28, 31]),
}
const ofText: Readonly<Record<IpVersion, ReadonlySet<number>>> = {
  4: new Set([12, 15, 17, 18, 40, 64, 66, 67, 100, 101]),
  6: new Set([41, 42, 59]),
}
const ofDomains: Readonly<Record<IpVersion, ReadonlySet<number>>> = {
  4: new Set([119]),
  6: new Set([21, 24, 29, 30]),
}
const ofSeconds: Readonly<Record<IpVersion, ReadonlySet<number>>> = {
  4: new Set([58, 59]),
  6: new Set([32]),
}
const secondsMax = 2_147_483_647
const bootParameters = 60
/** The preference and the name of the client are dnsmasq's own to say. */
const unsayable6: ReadonlySet<number> = new Set([7, 39])
/** dnsmasq puts its own addresses in place of these. */
const placeholders: ReadonlySet<string> = new Set(['0.0.0.0', '::', 'fd00::', 'fe80::'])

/** Code and value of an option, as a line has it behind its tags; null if dnsmasq cannot say it. */
export function optionText(version: IpVersion, { code, value }: ServedOption): string | null {
  try {
    const canonical = readOptionValue(optionOf(version, code), value, 'value')
    const text = valueText(version, code, canonical)
    return text === null ? null : `${version === 4 ? '' : 'option6:'}${code},${text}`
  } catch (error) {
    if (error instanceof IpamError) return null
    throw error
  }
}

function valueText(version: IpVersion, code: number, value: unknown): string | null {
  const values = [value].flat()
  if (ofText[version].has(code)) return quote(String(value), code)
  if (ofDomains[version].has(code)) return domainsText(values.map(String))
  if (ofSeconds[version].has(code)) return String(Math.min(Number(value), secondsMax))
  if (version === 6 && unsayable6.has(code)) return null
  if (version === 6 && code === bootParameters) {
    const texts = values.map(one => quote(String(one), code))
    return texts.includes(null) ? null : texts.join(',')
  }
  const bytes = Buffer.concat(encodeOption(optionOf(version, code), value))
  if (bytes.length === 0 || (version === 4 && bytes.length > bytesMax4)) return null
  if (ofAddresses[version].has(code)) return addressesText(version, bytes)
  // A single byte would be taken for text.
  return bytes.length === 1 ? `${bytes[0]}b` : (bytes.toString('hex').match(/../g) ?? []).join(':')
}

/** A text that nothing can break out of: inside of quotes only backslashes and quotes mean something. */
function quote(text: string, code: number): string | null {
  // dnsmasq adds a zero to the names of servers and files that boot.
  const longest = code === 66 || code === 67 ? bytesMax4 - 1 : bytesMax4
  if (text === '' || /\p{Cc}/u.test(text) || Buffer.byteLength(text) > longest) return null
  return `"${text.replaceAll(/["\\]/g, found => `\\${found}`)}"`
}

const domainsText = (domains: readonly string[]) =>
  domains.length > 0 && domains.every(domain => canonicalDomain(domain) === domain)
    ? domains.join(',')
    : null

function addressesText(version: IpVersion, bytes: Buffer): string | null {
  const size = version === 4 ? 4 : 16
  if (bytes.length % size > 0) return null
  const addresses = Array.from({ length: bytes.length / size }, (_, index) =>
    formatAddress({
      version,
      value: BigInt(`0x${bytes.toString('hex', index * size, (index + 1) * size)}`),
    }),
  )
  if (addresses.some(address => placeholders.has(address))) return null
  return addresses.map(address => (version === 4 ? address : `[${address}]`)).join(',')
}

const codes = { leaseTime: 51, server: 66, file: 67, tftpServers: 150 }

export type OptionFacts = {
  readonly version: IpVersion
  readonly options: readonly ServedOption[]
  readonly boot_files: readonly BootFile[]
}

export type OptionLines = {
  /** Of two that fit a client dnsmasq takes the later one. */
  readonly lines: readonly string[]
  /** Codes of what dnsmasq cannot say. */
  readonly unsaid: readonly number[]
}

/** The lines that tell options to those clients who have all the tags. */
export function optionLines(
  tags: readonly string[],
  { version, options, boot_files }: OptionFacts,
): OptionLines {
  const lines: string[] = []
  const unsaid: number[] = []
  const add = (more: readonly string[], option: ServedOption) => {
    const text = optionText(version, option)
    const line = [...tags, ...more].map(tag => `tag:${tag},`).join('') + text
    if (text === null || Buffer.byteLength(line) > lineMax) unsaid.push(option.code)
    else lines.push(line)
  }
  if (version === 6) {
    for (const option of options) add([], option)
    return { lines, unsaid }
  }
  for (const option of options) {
    if (![codes.leaseTime, codes.server, codes.file].includes(option.code)) add([], option)
  }
  for (const { tags: more, server, file, next } of bootsOf(options, boot_files).toReversed()) {
    if (server !== null) add(more, { code: codes.server, value: server })
    if (file !== null && file !== '') add(more, { code: codes.file, value: file })
    if (next !== null) {
      const all = [...tags, ...more].map(tag => `tag:${tag},`).join('')
      lines.push(`${all}option:server-ip-address,${next}`)
    }
  }
  return { lines, unsaid }
}

/** The tag of clients of an architecture (option 93). */
export const architectureTag = (architecture: number) => `arch${architecture}`

type Boot = {
  readonly tags: readonly string[]
  readonly server: string | null
  readonly file: string | null
  /** What `siaddr` is. */
  readonly next: string | null
}

/** What each kind of client boots from; the first that fits a client is its, at last what is usual. */
function bootsOf(options: readonly ServedOption[], files: readonly BootFile[]): Boot[] {
  const valueSaid = (code: number) => options.find(one => one.code === code)?.value
  const textOf = (code: number) => (valueSaid(code) === undefined ? null : String(valueSaid(code)))
  const server = textOf(codes.server)
  const [tftpServer] = [valueSaid(codes.tftpServers) ?? []].flat()
  const next = ipv4(server) ?? ipv4(tftpServer)
  const boots: Boot[] = []
  const seen: number[] = []
  const others = () => seen.map(one => `!${architectureTag(one)}`)
  const bootOf = (tags: readonly string[], file: BootFile): Boot => ({
    tags,
    // Who has a file of its own, and no server, loads it from the usual one.
    server: file.server ?? server,
    file: file.file,
    next: file.server === null ? next : ipv4(file.server),
  })
  for (const file of files) {
    if (file.architectures.length === 0) return [...boots, bootOf(others(), file)]
    for (const architecture of file.architectures) {
      if (seen.includes(architecture)) continue
      seen.push(architecture)
      boots.push(bootOf([architectureTag(architecture)], file))
    }
  }
  return [...boots, { tags: others(), server, file: textOf(codes.file), next }]
}

function ipv4(text: unknown): string | null {
  const address = typeof text === 'string' ? parseAddress(text) : null
  return address?.version === 4 ? formatAddress(address) : null
}
