import type { ServedNetwork, ServedOption } from '../../dhcp/served.ts'
import { addressBits, formatAddress } from '../../ip/address.ts'
import { type Prefix, parsePrefix } from '../../ip/prefix.ts'
import { optionLines } from './option-lines.ts'

type ServedSubnet = ServedNetwork['subnets'][number]

/** A subnet as one dnsmasq has it. */
export type Subnet = ServedSubnet & {
  readonly network: ServedNetwork
  readonly prefix: Prefix
  /** What dnsmasq calls it. */
  readonly tag: string
  readonly lease_seconds: number
}

const leaseTime = 51
export const infinite = 0xffff_ffff
/** dnsmasq gives no shorter leases. */
const leaseSecondsMin = 120
/** Of more it could not read the number. */
const leaseSecondsMax = 2_147_483_647

/** What all hosts that dnsmasq knows have as a tag. */
export const known = 'known'
/** Tag of hosts with options of their own. */
export const own = 'own'

const isLeaseTime = ({ code }: ServedOption) => code === leaseTime

/** For how long a client is to have an address, as far as dnsmasq can do it. */
export function leaseSeconds(options: readonly ServedOption[], usual: number): number {
  const said = Number(options.find(isLeaseTime)?.value ?? 0) || usual
  if (said >= infinite) return infinite
  return Math.min(Math.max(said, leaseSecondsMin), leaseSecondsMax)
}

export const leaseText = (seconds: number) => (seconds >= infinite ? 'infinite' : String(seconds))

/** The subnets of a network, without those that dnsmasq cannot serve. */
export function subnetsOf(network: ServedNetwork, lease_seconds: number): Subnet[] {
  return network.subnets.flatMap(subnet => {
    const prefix = parsePrefix(subnet.cidr)?.prefix
    if (!prefix || (prefix.version === 6 && prefix.length < 64)) return []
    const tag = `b${subnet.block_id.replaceAll('-', '')}`
    const seconds = leaseSeconds(subnet.options, lease_seconds)
    return [{ ...subnet, network, prefix, tag, lease_seconds: seconds }]
  })
}

export const firstOf = ({ prefix: { version, first } }: Subnet) =>
  formatAddress({ version, value: first })

export function maskOf({ version, length }: Prefix): string {
  const bits = addressBits(version)
  return formatAddress({ version, value: BigInt.asUintN(bits, -1n << BigInt(bits - length)) })
}

/** Without what dnsmasq says by itself. */
export function optionsToSay({ prefix }: Subnet, options: readonly ServedOption[]): ServedOption[] {
  const isMask = ({ code, value }: ServedOption) =>
    prefix.version === 4 && code === 1 && value === maskOf(prefix)
  return options.filter(option => !isMask(option) && !(prefix.version === 4 && isLeaseTime(option)))
}

/** Options of a subnet for those hosts that have none of their own. */
export function subnetLines(subnet: Subnet) {
  const { tag, version, options, boot_files } = subnet
  const said = optionsToSay(subnet, options)
  return optionLines([tag, known, `!${own}`], { version, options: said, boot_files })
}
