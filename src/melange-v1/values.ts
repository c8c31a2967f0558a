import { type Address, parseAddress } from '../ip/address.ts'
import { formatMac, type MacPrefix, parseMac, parseMacPrefix } from '../ip/mac.ts'
import { type Prefix, parsePrefix } from '../ip/prefix.ts'

/** A time of the database, with microseconds; the formats write it differently. */
export class Timestamp {
  readonly #iso: string

  /** @param iso RFC 3339 in UTC with six digits of a second */
  constructor(iso: string) {
    this.#iso = iso
  }

  /** As JSON answers have it: without fraction and zone. */
  toJSON(): string {
    return this.#iso.slice(0, 19)
  }

  /** As XML answers have it. */
  toString(): string {
    return this.#iso.replace('T', ' ').replace('Z', '')
  }
}

/** What an answer is made of. */
export type Data =
  | string
  | number
  | boolean
  | null
  | Timestamp
  | readonly Data[]
  | { readonly [member: string]: Data }

/** An object of a request, of which only the own members count. */
export type Fields = ReadonlyMap<string, unknown>

/** The members of what should be an object; null if it is something else. */
export function fieldsOf(value: unknown): Fields | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  return new Map(Object.entries(value))
}

/** A text member; numbers are texts too. Undefined for what is neither. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && !/\p{Surrogate}|\0/u.test(value) ? value : undefined
}

/**
 * A whole number as the original's Python takes it: also from text, cut off from fractions, and from
 * booleans. Null for what is none, or is more than a double holds exactly.
 */
export function integerOf(value: unknown): number | null {
  if (typeof value === 'boolean') return Number(value)
  if (typeof value === 'string' && !/^\s*[+-]?\d+\s*$/.test(value)) return null
  if (typeof value !== 'number' && typeof value !== 'string') return null
  const number = Math.trunc(Number(value))
  return Number.isSafeInteger(number) ? number + 0 : null
}

/**
 * The network of a CIDR as the original's address library reads it: host bits are cut, `10/8` and
 * `10.5/16` are filled up, masks may be written as addresses, without a mask it is one address.
 */
export function readNetwork(value: unknown): Prefix | null {
  if (typeof value !== 'string') return null
  const [head = '', mask, ...more] = value.trim().split('/')
  if (more.length > 0) return null
  const address = parseAddress(fillUp(head))
  if (!address) return null
  const length = mask === undefined ? bitsOf(address) : maskLength(mask, address)
  if (length === null) return null
  return parsePrefix(`${fillUp(head)}/${length}`)?.prefix ?? null
}

/** `10.5` is `10.5.0.0`. */
function fillUp(head: string): string {
  if (!/^\d{1,3}(\.\d{1,3}){0,3}$/.test(head)) return head
  return [...head.split('.'), '0', '0', '0'].slice(0, 4).join('.')
}

const bitsOf = ({ version }: Address): number => (version === 4 ? 32 : 128)

function maskLength(mask: string, { version }: Address): number | null {
  const bits = version === 4 ? 32 : 128
  if (/^\d{1,3}$/.test(mask)) return Number(mask) <= bits ? Number(mask) : null
  const address = parseAddress(mask)
  if (!address || address.version !== version) return null
  const digits = address.value.toString(2).padStart(bits, '0')
  if (/^1*0*$/.test(digits)) return digits.lastIndexOf('1') + 1
  return /^0*1*$/.test(digits) ? digits.indexOf('1') : null
}

/**
 * An address as the original's address library reads it: IPv4 may have fewer than four numbers, of
 * which the last fills the rest (`10.3` is 10.0.0.3, `inet_aton`), but none of them octal or hexadecimal.
 */
export function readAddress(text: string): Address | null {
  if (!/^(0|[1-9]\d{0,9})(\.(0|[1-9]\d{0,9})){0,2}$/.test(text)) return parseAddress(text)
  const numbers = text.split('.').map(BigInt)
  const last = numbers.pop() ?? 0n
  const bits = BigInt(32 - 8 * numbers.length)
  if (last >> bits > 0n || numbers.some(number => number > 255n)) return null
  const head = numbers.reduce((value, number) => (value << 8n) | number, 0n)
  return { version: 4, value: (head << bits) | last }
}

/**
 * A MAC as the original's address library reads it: digits may be missing at the front of each group,
 * of which there are six, or three of four digits, or two of six.
 */
export function readMac(text: string): bigint | null {
  for (const [groups, digits] of [
    [6, 2],
    [3, 4],
    [2, 6],
  ] as const) {
    for (const separator of [':', '-', '.']) {
      const parts = text.split(separator)
      const isMeant = parts.every(part => /^[0-9a-f]+$/i.test(part) && part.length <= digits)
      if (parts.length === groups && isMeant) {
        return BigInt(`0x${parts.map(part => part.padStart(digits, '0')).join('')}`)
      }
    }
  }
  return parseMac(text)
}

/** A range of MACs, which may be named by any of them. */
export function readMacPrefix(text: string): MacPrefix | null {
  const [head = '', ...length] = text.split('/')
  const mac = readMac(head)
  return mac === null
    ? null
    : (parseMacPrefix([formatMac(mac), ...length].join('/'))?.prefix ?? null)
}

/** Texts that were given as numbers are shown as numbers in the answer to that request. */
export function echoNumbers<Shown extends object>(
  shown: Shown,
  fields: Fields,
  names: readonly (keyof Shown & string)[],
): Shown {
  const numbers = names.flatMap(name =>
    typeof fields.get(name) === 'number' ? [[name, fields.get(name)]] : [],
  )
  return { ...shown, ...Object.fromEntries(numbers) }
}

/** The mask of a block as answers have it: dotted for IPv4, the length for IPv6, both as text. */
export function showMask({ version, length }: Prefix): string {
  if (version === 6) return String(length)
  const mask = ((1n << 32n) - 1n) ^ ((1n << BigInt(32 - length)) - 1n)
  return [24n, 16n, 8n, 0n].map(shift => String((mask >> shift) & 255n)).join('.')
}

/** An address as answers have it: IPv6 in all of its 32 digits. */
export function showAddress(text: string): string {
  const address = parseAddress(text)
  if (!address || address.version === 4) return text
  return address.value
    .toString(16)
    .padStart(32, '0')
    .replaceAll(/....(?!$)/g, '$&:')
}
