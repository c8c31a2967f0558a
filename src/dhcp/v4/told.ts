import { createBoundedMap } from '../../bounded-map.ts'
import { parseAddress } from '../../ip/address.ts'
import type { OptionValue } from '../configuration.ts'
import { encodeOption } from '../option-types.ts'
import { uint16At } from './codec.ts'
import { codes } from './codes.ts'

/**
 * What machines boot from, as it is configured: for all, or for some architectures (RFC 4578 §2.1).
 */
export type BootFacts = {
  readonly architectures: readonly number[] | null
  /** An address, or a name that the client has to look up. */
  readonly server: string | null
  readonly file: string | null
}

/** The same as the bytes of an answer. */
export type Boot = {
  readonly architectures: readonly number[] | null
  readonly siaddr: number
  readonly sname: Uint8Array
  readonly file: Uint8Array
  /** Options 66 and 67. */
  readonly options: ReadonlyMap<number, Uint8Array>
}

/** All that a client may be told beside its address. Who has the same configuration shares it. */
export type Told = {
  /** By code; without the times below and what boots. What matters most comes first. */
  readonly options: ReadonlyMap<number, Uint8Array>
  readonly lease_seconds: number | null
  readonly renewal_seconds: number | null
  readonly rebinding_seconds: number | null
  /** The first that fits a client is its. */
  readonly boots: readonly Boot[]
}

export type PrepareTold = (configured: readonly OptionValue[], boots?: readonly BootFacts[]) => Told

/**
 * Makes the bytes of configurations, once for each of them as long as it is among the last
 * `size_max`: the machines of a subnet are mostly told the same.
 */
export function createPreparer({ size_max }: { readonly size_max: number }): PrepareTold {
  const prepared = createBoundedMap<Told>(size_max)
  return (configured, boots = []) => {
    const key = JSON.stringify([configured.map(({ option, value }) => [option.code, value]), boots])
    const known = prepared.get(key)
    if (known) return known
    const told = prepare(configured, boots)
    prepared.set(key, told)
    return told
  }
}

function prepare(configured: readonly OptionValue[], boots: readonly BootFacts[]): Told {
  const values = new Map(configured.map(({ option, value }) => [option.code, value]))
  const secondsOf = (code: number) => (values.has(code) ? Number(values.get(code)) : null)
  const textOf = (code: number) => (values.has(code) ? String(values.get(code)) : null)
  const [tftpServer] = [values.get(codes.tftpServers) ?? []].flat()
  const server = textOf(codes.tftpServerName)
  const usual: BootFacts = { architectures: null, server, file: textOf(codes.bootfileName) }
  const siaddr = numberOf(server) || numberOf(tftpServer)
  return {
    options: new Map(
      configured
        .filter(({ option }) => !elsewhere.has(option.code))
        .toSorted((a, b) => rankOf(a.option.code) - rankOf(b.option.code))
        .map(({ option, value }) => [
          option.code,
          Uint8Array.from(Buffer.concat(encodeOption(option, value))),
        ]),
    ),
    lease_seconds: secondsOf(codes.leaseTime),
    renewal_seconds: secondsOf(codes.renewalTime),
    rebinding_seconds: secondsOf(codes.rebindingTime),
    // Who has a file of its own, and no server, loads it from the usual one.
    boots: [...boots, usual].map(boot => {
      const prepared = prepareBoot({ ...boot, server: boot.server ?? server })
      return boot.server === null || boot === usual ? { ...prepared, siaddr } : prepared
    }),
  }
}

/** Options that depend on the lease or on the architecture of the client. */
const elsewhere: ReadonlySet<number> = new Set([
  codes.leaseTime,
  codes.renewalTime,
  codes.rebindingTime,
  codes.tftpServerName,
  codes.bootfileName,
])

/** The mask comes before the routers (RFC 2132 §3.3), and so do the routes that replace them. */
function rankOf(code: number): number {
  if (code === codes.subnetMask) return 0
  return code === codes.classlessRoutes || code === codes.microsoftRoutes ? 2 : code
}

const snameMax = 63
const fileMax = 127

/**
 * The fields hold text that a zero ends; what is longer is in the options only (RFC 2132 §9.4,
 * §9.5).
 */
function prepareBoot({ architectures, server, file }: BootFacts): Boot {
  const serverBytes = bytesOf(server)
  const fileBytes = bytesOf(file)
  const siaddr = numberOf(server)
  return {
    architectures,
    siaddr,
    sname: siaddr === 0 && serverBytes.length <= snameMax ? serverBytes : bytesOf(null),
    file: fileBytes.length <= fileMax ? fileBytes : bytesOf(null),
    options: new Map([
      ...(server === null ? [] : [[codes.tftpServerName, serverBytes] as const]),
      ...(file === null ? [] : [[codes.bootfileName, fileBytes] as const]),
    ]),
  }
}

const bytesOf = (text: string | null) => Uint8Array.from(Buffer.from(text ?? ''))

/** An IPv4 address as a number; 0 for anything else. */
function numberOf(text: unknown): number {
  const address = typeof text === 'string' ? parseAddress(text) : null
  return address?.version === 4 ? Number(address.value) : 0
}

/** What a client boots from that says its architectures in option 93, or does not. */
export function bootOf({ boots }: Told, said: Uint8Array | undefined): Boot | null {
  for (const boot of boots) {
    if (boot.architectures === null) return boot
    for (let place = 0; said && place + 2 <= said.length; place += 2) {
      if (boot.architectures.includes(uint16At(said, place))) return boot
    }
  }
  return null
}

/** At most so many requested options are looked at. */
const requestedMax = 255

type Asked = {
  readonly told: Told
  readonly boot: Boot | null
  /** Of the host, where the options have none. */
  readonly host_name: string | null
  readonly asked: Uint8Array | undefined
}

/**
 * Adds the options that a client asks for, in its order (RFC 2132 §9.8), to those of an answer;
 * all, if it does not say which. The mask is told in any case, and before the routers (RFC 2132
 * §3.3). Classless routes come before routers, which whoever knows them passes over (RFC 3442):
 * they fit first. Who asks for them only by Microsoft's number gets them so.
 */
export function addOptions(
  answer: Map<number, Uint8Array>,
  { told, boot, host_name, asked }: Asked,
): void {
  const { options } = told
  const nameOf = () => (host_name === null ? undefined : bytesOf(host_name))
  const add = (code: number, value = options.get(code)) => {
    if (value !== undefined && !answer.has(code)) answer.set(code, value)
  }
  const addRoutes = (list: Uint8Array) => {
    const asksClassless = list.includes(codes.classlessRoutes)
    if (asksClassless) add(codes.classlessRoutes)
    if (!list.includes(codes.microsoftRoutes)) return
    const own = options.get(codes.microsoftRoutes)
    add(codes.microsoftRoutes, own ?? (asksClassless ? own : options.get(codes.classlessRoutes)))
  }
  if (!asked) {
    // RFC 8925 §3.3: IPv6-only preferred is for those who ask for it.
    for (const code of options.keys()) if (code !== codes.ipv6OnlyPreferred) add(code)
    add(codes.hostName, nameOf())
    for (const [code, value] of boot?.options ?? []) add(code, value)
    return
  }
  add(codes.subnetMask)
  const end = Math.min(asked.length, requestedMax)
  for (let place = 0; place < end; place += 1) {
    const code = asked[place] ?? 0
    switch (code) {
      case codes.router:
        addRoutes(asked)
        add(code)
        break
      case codes.classlessRoutes:
      case codes.microsoftRoutes:
        addRoutes(asked)
        break
      case codes.hostName:
        add(code, options.get(code) ?? nameOf())
        break
      case codes.tftpServerName:
      case codes.bootfileName:
        add(code, boot?.options.get(code))
        break
      default:
        add(code)
    }
  }
}
