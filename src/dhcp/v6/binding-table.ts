import { type Prefix, parsePrefix, prefixHolds } from '../../ip/prefix.ts'
import type { Bindings, Host, Lease, Link, PreparedOptions, Relayed } from './bindings.ts'

/** How a host is found. */
export type Identifiers = {
  /** Of 12 hexadecimal digits. */
  readonly mac?: string
  /** Without an IAID it is the host for all associations of the client. */
  readonly clients?: readonly { readonly duid: Buffer; readonly iaid: number | null }[]
}

/** What a link is; see `Link`. */
export type LinkFacts = Pick<Link, 'id' | 'isAutomatic' | 'hasRapidCommit' | 'options'> & {
  /** The served interfaces that lead to it. */
  readonly interfaces: readonly string[]
  /**
   * The relays by which its clients come: the 16 bytes of their addresses, and the Interface-Ids that
   * they have for it, or null for all that are not named. Without any it is found by its prefixes.
   */
  readonly relays: readonly { readonly address: Buffer; readonly interfaceId: Buffer | null }[]
  /** CIDRs of IPv6. */
  readonly prefixes: readonly string[]
}

const clientKey = (duid: Buffer, iaid: number | '*' | '?') => `${iaid}:${duid.toString('latin1')}`
const relayKey = (address: Buffer, interfaceId: Buffer | null) =>
  address.toString('latin1') + (interfaceId === null ? '' : `:${interfaceId.toString('latin1')}`)
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

  hostOfClient(duid: Buffer, iaid: number | null): Host | undefined {
    if (this.#byClient.size === 0) return undefined
    const exact = this.#byClient.get(clientKey(duid, iaid ?? '?'))
    return exact ?? this.#byClient.get(clientKey(duid, '*'))
  }

  isOnLink(address: Buffer): boolean | null {
    if (this.prefixes.length === 0) return null
    const value = integerOf(address)
    return this.prefixes.some(prefix => prefixHolds(prefix, { version: 6, value }))
  }

  host(id: string): Host | undefined {
    return this.#hosts.get(id)?.host
  }

  /**
   * Adds a host, or puts it in the place of that which has its id. An identifier that another host
   * has leads to the new one from now on, unless only that came by itself.
   */
  setHost(host: Host, { mac, clients = [] }: Identifiers): void {
    this.removeHost(host.id)
    const keys = clients.flatMap(({ duid, iaid }) =>
      iaid === null ? [clientKey(duid, '*')] : [clientKey(duid, iaid), clientKey(duid, '?')],
    )
    for (const key of keys) claim(this.#byClient, key, host)
    if (mac !== undefined) claim(this.#byMac, mac, host)
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

function claim(index: Map<string, Host>, key: string, host: Host) {
  if (!host.isAutomatic || index.get(key)?.isAutomatic !== false) index.set(key, host)
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

  get size(): number {
    return this.#links.size
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
    for (const { first, length } of facts.relays.length === 0 ? link.prefixes : []) {
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
    for (const { first, length } of facts.relays.length === 0 ? link.prefixes : []) {
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

  linkOfRelay({ address, linkAddress, interfaceId }: Relayed): LinkTable | undefined {
    if (this.#byRelay.size === 0) return undefined
    for (const id of interfaceId ? [interfaceId, null] : [null]) {
      for (const relay of [address, linkAddress]) {
        const named = [...this.#byRelay.linksOf(relayKey(relay, id))]
        if (named.length === 0) continue
        return onlyOne(
          named.length === 1 ? named : named.filter(link => link.isOnLink(linkAddress)),
        )
      }
    }
    return undefined
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
