import { addressBits, formatAddress, type IpVersion } from '../../../src/ip/address.ts'
import { formatPrefix, type Prefix } from '../../../src/ip/prefix.ts'
import { isInside, type Range, rangeOf, readPrefix } from '../space.ts'
import type { Block, Held, House, Words } from './house.ts'

// What each address of a block is, looked at one by one.

/** Every address of a block; these are small. */
export function addressesOf({ prefix }: Pick<Block, 'prefix'>): bigint[] {
  const { first, last } = rangeOf(prefix)
  return Array.from({ length: Number(last - first + 1n) }, (_, n) => first + BigInt(n))
}

export const holds = (prefix: Prefix, value: bigint) => {
  const { first, last } = rangeOf(prefix)
  return first <= value && value <= last
}

/** Whether the words of a rule name an address of a block. */
function names(words: Words, block: Block, value: bigint): boolean {
  const { first, last } = rangeOf(block.prefix)
  const at = (offset: number) => (offset < 0 ? last + 1n + BigInt(offset) : first + BigInt(offset))
  return (
    (words.offsets ?? []).some(({ from, to }) => at(from) <= value && value <= at(to)) ||
    value < first + BigInt(words.first ?? 0) ||
    value > last - BigInt(words.last ?? 0) ||
    (words.addresses ?? []).map(readPrefix).some(prefix => {
      return prefix.version === block.prefix.version && holds(prefix, value)
    })
  )
}

/** The addresses that a block keeps back by itself. */
export function isReserved({ prefix, gateway, allocate_network_address }: Block, value: bigint) {
  const { first, last } = rangeOf(prefix)
  const isSubnet =
    prefix.version === 4 ? prefix.length <= 30 : prefix.length >= 64 && prefix.length <= 126
  if (isSubnet && value === first && !allocate_network_address) return true
  if (isSubnet && value === last && prefix.version === 4) return true
  return value === gateway
}

/** Whether the rules exclude an address, whatever its last octet is. */
export function isNamedByExclusions(house: House, block: Block, value: bigint): boolean {
  const exclusions = house.ruleFor(block, 'exclusions')?.value
  return exclusions !== undefined && names(exclusions, block, value)
}

/** Whether the last octet of an address is excluded. */
export function hasExcludedOctet(house: House, block: Block, value: bigint): boolean {
  const octets = house.ruleFor(block, 'exclusions')?.value.last_octets ?? []
  return octets.includes(Number(value % 256n))
}

/** For what an address is kept: for nobody (null), for a purpose, or for everybody (''). */
export function keptFor(house: House, block: Block, value: bigint): string | null {
  if (isReserved(block, value) || isNamedByExclusions(house, block, value)) return null
  const purposes = house.ruleFor(block, 'purposes')?.value ?? []
  return purposes.find(words => names(words, block, value))?.purpose ?? ''
}

/** Who has an address, or waits for it. */
export function userOf(list: readonly Held[], value: bigint, version: IpVersion): Held | undefined {
  return list.find(({ prefix }) => prefix.version === version && holds(prefix, value))
}

/** What an address of a leaf is: somebody's, waiting, excluded, or free, and for what. */
export type Fact = {
  readonly value: bigint
  readonly user: 'allocated' | 'quarantined' | null
  readonly kept: string | null
  readonly isOctetExcluded: boolean
}

export function factsOf(house: House, block: Block): Fact[] {
  const { version } = block.prefix
  return addressesOf(block).map(value => ({
    value,
    user: userOf(house.held, value, version)
      ? 'allocated'
      : userOf(house.waiting, value, version)
        ? 'quarantined'
        : null,
    kept: keptFor(house, block, value),
    isOctetExcluded: hasExcludedOctet(house, block, value),
  }))
}

/** Whether an address is free at least as a part of a prefix. */
export const isOpen = ({ user, kept }: Fact) => user === null && kept !== null
/** Whether an address is free by itself. */
export const isUsable = (fact: Fact) => isOpen(fact) && !fact.isOctetExcluded

/** What serves a purpose: the ranges kept for it where there are some, else what is for all. */
export function poolFor(facts: readonly Fact[], purpose: string | null): string {
  return purpose !== null && facts.some(({ kept }) => kept === purpose) ? purpose : ''
}

export const showValue = ({ version }: Prefix, value: bigint) => formatAddress({ version, value })
export const showHeld = ({ prefix }: Pick<Held, 'prefix'>) =>
  prefix.length === addressBits(prefix.version)
    ? showValue(prefix, prefix.first)
    : formatPrefix(prefix)

/** All prefixes of a length in a block, lowest first. */
export function prefixesOfLength({ prefix }: Block, length: number): Prefix[] {
  if (length < prefix.length || length > addressBits(prefix.version)) return []
  const size = 2n ** BigInt(addressBits(prefix.version) - length)
  const count = 2 ** (length - prefix.length)
  return Array.from({ length: count }, (_, n) => {
    return { version: prefix.version, first: prefix.first + BigInt(n) * size, length }
  })
}

export const covers = (outer: Range, inner: Range) => isInside(inner, outer)
