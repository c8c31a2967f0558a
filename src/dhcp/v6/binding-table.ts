import { type Prefix, parsePrefix, prefixHolds } from '../../ip/prefix.ts'
import type { Bindings, Host, Lease, Link, PreparedOptions } from './bindings.ts'

/** How a host is found. */
export type Identifiers = {
  /** Of 12 hexadecimal digits. */
  readonly mac?: string
  readonly clients?: readonly { readonly duid: Buffer; readonly iaid: number }[]
}

/** What a link is; see `Link`. */
export type LinkFacts = Pick<Link, 'id' | 'isAutomatic' | 'hasRapidCommit' | 'options'> & {
  /** The served interfaces that lead to it. */
  readonly interfaces: readonly string[]
  /** The Interface-Ids that relays have for it, each with the 16 bytes of the relay's address. */
  readonly relays: readonly { readonly address: Buffer; readonly interfaceId: Buffer }[]
  /** CIDRs of IPv6. */
  readonly prefixes: readonly string[]
}

const clientKey = (duid: Buffer, iaid: number) => `${iaid}:${duid.toString('latin1')}`
const relayKey = (address: Buffer, interfaceId: Buffer) =>
  address.toString('latin1') + interfaceId.toString('latin1')
const integerOf = (address: Buffer) =>
  (address.readBigUInt64BE(0) << 64n) | address.readBigUInt64BE(8)

/** A link with its hosts, in memory. */
export class LinkTable implements Link {
  readonly id: string
  readonly isAutomatic: boolean
  readonly hasRapidCommit: boolean
  readonly options: PreparedOptions | null
  readonly prefixes: readonly Prefix[]
  readonly #hosts = new Map<string, { readonly host: Host; readonly keys: readonly string[] }>()
  readonly #byMac = new Map<string, Host>()
  readonly #byClient = new Map<string, Host>()

  constructor(facts: LinkFacts) {
    this.id = facts.id
    this.isAutomatic = facts.isAutomatic
    this.hasRapidCommit = facts.hasRapidCommit
    this.options = facts.options
    this.prefixes = facts.prefixes.flatMap(text => parsePrefix(text)?.prefix ?? [])
  }

  hostOfMac(mac: string): Host | undefined {
    return this.#byMac.get(mac)
  }

  hostOfClient(duid: Buffer, iaid: number): Host | undefined {
    return this.#byClient.size === 0 ? undefined : this.#byClient.get(clientKey(duid, iaid))
  }

  isOnLink(address: Buffer): boolean | null {
    if (this.prefixes.length === 0) return null
    const value = integerOf(address)
    return this.prefixes.some(prefix => prefixHolds(prefix, { version: 6, value }))
  }

  /**
   * Adds a host, or puts it in the place of that which has its id. An identifier that another host
   * has leads to the new one from now on.
   */
  setHost(host: Host, { mac, clients = [] }: Identifiers): void {
    this.removeHost(host.id)
    const keys = clients.map(({ duid, iaid }) => clientKey(duid, iaid))
    for (const key of keys) this.#byClient.set(key, host)
    if (mac !== undefined) this.#byMac.set(mac, host)
    this.#hosts.set(host.id, { host, keys: mac === undefined ? keys : [...keys, mac] })
  }

  removeHost(id: string): void {
    const found = this.#hosts.get(id)
    for (const key of found?.keys ?? []) {
      // Another host may have taken the identifier over.
      for (const index of [this.#byMac, this.#byClient]) {
        if (index.get(key) === found?.host) index.delete(key)
      }
    }
    this.#hosts.delete(id)
  }

  /** Withholds an address of a host until some time, in seconds since 1970. */
  quarantine(id: string, text: string, until: number): void {
    const found = this.#hosts.get(id)
    if (!found) return
    const withhold = (lease: Lease) =>
      lease.text === text ? { ...lease, withheldUntil: until } : lease
    const host = { ...found.host, addresses: found.host.addresses.map(withhold) }
    for (const key of found.keys) {
      for (const index of [this.#byMac, this.#byClient]) {
        if (index.get(key) === found.host) index.set(key, host)
      }
    }
    this.#hosts.set(id, { host, keys: found.keys })
  }
}

/** What leads to links: each key to those that have it, several if networks share a prefix. */
class LinkIndex {
  readonly #links = new Map<string, Set<LinkTable>>()

  add(key: string, link: LinkTable): void {
    const links = this.#links.get(key)
    if (links) links.add(link)
    else this.#links.set(key, new Set([link]))
  }

  delete(key: string, link: LinkTable): void {
    const links = this.#links.get(key)
    links?.delete(link)
    if (links?.size === 0) this.#links.delete(key)
  }

  linksOf(key: string): Iterable<LinkTable> {
    return this.#links.get(key) ?? []
  }
}

const prefixKeyOf = (value: bigint, length: number) => `${length}/${value >> BigInt(128 - length)}`

/** The links that a server serves, in memory. */
export class BindingTable implements Bindings {
  readonly #links = new Map<string, { readonly link: LinkTable; readonly facts: LinkFacts }>()
  readonly #byInterface = new LinkIndex()
  readonly #byRelay = new LinkIndex()
  readonly #byPrefix = new LinkIndex()
  /** How many prefixes of each length there are. */
  readonly #lengths = new Map<number, number>()

  /** Adds a link without hosts, or puts it in the place of that which has its id. */
  setLink(facts: LinkFacts): LinkTable {
    this.removeLink(facts.id)
    const link = new LinkTable(facts)
    this.#links.set(facts.id, { link, facts })
    for (const name of facts.interfaces) this.#byInterface.add(name, link)
    for (const { address, interfaceId } of facts.relays) {
      this.#byRelay.add(relayKey(address, interfaceId), link)
    }
    for (const { first, length } of link.prefixes) {
      this.#byPrefix.add(prefixKeyOf(first, length), link)
      this.#lengths.set(length, (this.#lengths.get(length) ?? 0) + 1)
    }
    return link
  }

  removeLink(id: string): void {
    const found = this.#links.get(id)
    if (!found) return
    const { link, facts } = found
    this.#links.delete(id)
    for (const name of facts.interfaces) this.#byInterface.delete(name, link)
    for (const { address, interfaceId } of facts.relays) {
      this.#byRelay.delete(relayKey(address, interfaceId), link)
    }
    for (const { first, length } of link.prefixes) {
      this.#byPrefix.delete(prefixKeyOf(first, length), link)
      const left = (this.#lengths.get(length) ?? 0) - 1
      if (left > 0) this.#lengths.set(length, left)
      else this.#lengths.delete(length)
    }
  }

  link(id: string): LinkTable | undefined {
    return this.#links.get(id)?.link
  }

  linkOfInterface(name: string): LinkTable | undefined {
    return onlyOne(this.#byInterface.linksOf(name))
  }

  linkOfRelay(address: Buffer, interfaceId: Buffer): LinkTable | undefined {
    return onlyOne(this.#byRelay.linksOf(relayKey(address, interfaceId)))
  }

  linkOfAddress(linkAddress: Buffer): LinkTable | undefined {
    const value = integerOf(linkAddress)
    const found = new Set<LinkTable>()
    for (const length of this.#lengths.keys()) {
      for (const link of this.#byPrefix.linksOf(prefixKeyOf(value, length))) found.add(link)
    }
    return onlyOne(found)
  }
}

/** The only link of some. Networks of several address scopes may well have the same prefix. */
function onlyOne(links: Iterable<LinkTable>): LinkTable | undefined {
  const [link, ...more] = links
  return more.length === 0 ? link : undefined
}
