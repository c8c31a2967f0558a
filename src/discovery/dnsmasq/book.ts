import { type Entry, goneLine } from './hosts.ts'

/**
 * What is to be done so that dnsmasq knows of changes. It reads new files at once, and of two lines for a
 * host takes the one that it read last; but it takes no second line with an IPv4 address, and forgets a
 * line only when it reads all of them again, which takes it longer the more there are.
 */
export type Plan =
  | { readonly type: 'nothing' }
  | {
      readonly type: 'add'
      readonly hosts: readonly string[]
      readonly options: readonly string[]
      /** Whether something is left until it reads all. */
      readonly isForNow: boolean
    }
  | { readonly type: 'reload' }

/** What one dnsmasq knows of hosts, and what it remembers of before. */
export type Book = {
  readonly entries: ReadonlyMap<string, Entry>
  /** The key of the host that may have an address. */
  ownerOf(address: string): Entry | null
  /** Hosts that are known by a name, as lines have it. */
  named(name: string): Entry[]
  /** Takes over changes by their keys; null is for a host that is gone. */
  take(changes: ReadonlyMap<string, Entry | null>): Plan
  /** All lines, for dnsmasq to read when it begins or reads all again. */
  hosts(): string[]
  options(): string[]
  /** dnsmasq is about to read all. */
  reloaded(): void
  /** Whether a host in what dnsmasq has read sets tags. */
  hasTags(): boolean
}

/** dnsmasq keeps lines that no longer count; after so many additions it reads all again. */
const additionsMax = 1000

/** `canForget`: whether a name means one host at most, so that a line can say that it is none. */
export function createBook({ canForget }: { readonly canForget: boolean }): Book {
  const entries = new Map<string, Entry>()
  const keysByName = new Map<string, Set<string>>()
  const owners = new Map<string, string>()
  /** IPv4 addresses and tags of options that are in lines which dnsmasq has read. */
  let readAddresses = new Set<string>()
  let readSets = new Set<string>()
  let additions = 0
  let hasTags = false

  function put(key: string, next: Entry | null) {
    const old = entries.get(key)
    for (const name of old?.names ?? []) keysByName.get(name)?.delete(key)
    for (const address of old?.addresses.keys() ?? []) {
      if (owners.get(address) === key) owners.delete(address)
    }
    if (!next) {
      entries.delete(key)
      return
    }
    entries.set(key, next)
    for (const name of next.names) {
      keysByName.set(name, (keysByName.get(name) ?? new Set()).add(key))
    }
    for (const address of next.addresses.keys()) owners.set(address, key)
  }

  const isUnread = (lines: Entry['lines4']) =>
    lines.every(({ address }) => !readAddresses.has(address))

  /** The lines that make the difference; null if only reading all again does. */
  function difference(old: Entry | undefined, next: Entry | null): Lines | null {
    const before = old && hasLines(old) ? old : null
    const after = next && hasLines(next) ? next : null
    if (!before)
      return after ? (isUnread(after.lines4) ? { ...none, now: linesOf(after) } : null) : none
    if (!after) {
      const isFree = before.names.every(name => (keysByName.get(name)?.size ?? 0) === 0)
      return canForget && isFree ? { ...none, gone: [goneLine(before.names)] } : null
    }
    const had = new Set(before.lines4.map(({ text }) => text))
    const has = new Set(after.lines4.map(({ text }) => text))
    const lines4 = after.lines4.filter(({ text }) => !had.has(text))
    const lost = before.lines4.filter(({ text }) => !has.has(text))
    const isOther = lines4.length > 0 || lost.length > 0
    const isShadowed =
      before.names.every(name => after.names.includes(name)) &&
      isUnread(lines4) &&
      lost.every(({ tag }) => lines4.some(one => one.tag === tag)) &&
      !(isOther && after.lines4.length > 1) &&
      !(before.line6 !== null && after.line6 === null)
    if (!isShadowed) return null
    const line6 = after.line6 === before.line6 ? null : after.line6
    return { ...none, now: [...lines4.map(({ text }) => text), ...(line6 === null ? [] : [line6])] }
  }

  return {
    entries,
    ownerOf: address => entries.get(owners.get(address) ?? '') ?? null,
    named: name => [...(keysByName.get(name) ?? [])].flatMap(key => entries.get(key) ?? []),
    take(changes) {
      const old = new Map([...changes.keys()].map(key => [key, entries.get(key)]))
      for (const [key, next] of changes) put(key, next)
      const gone: string[] = []
      const now: string[] = []
      let isForNow = false
      const sets = new Map<string, readonly string[]>()
      let isReload = false
      for (const [key, next] of changes) {
        const lines = difference(old.get(key), next)
        if (!lines) {
          isReload = true
          break
        }
        gone.push(...lines.gone)
        // A client that is none may still say (Rebind) that it has an address of IPv6.
        if (lines.gone.length > 0 && old.get(key)?.line6) isForNow = true
        now.push(...lines.now)
        if (lines.now.length === 0) continue
        if ((next?.sets.size ?? 0) > 0) hasTags = true
        for (const { address } of next?.lines4 ?? []) readAddresses.add(address)
        for (const [tag, texts] of next?.sets ?? []) if (!readSets.has(tag)) sets.set(tag, texts)
      }
      const hosts = [...gone, ...now]
      if (hosts.length === 0 && !isReload) return { type: 'nothing' }
      additions += 1
      if (isReload || additions > additionsMax) return { type: 'reload' }
      for (const tag of sets.keys()) readSets.add(tag)
      return { type: 'add', hosts, options: [...sets.values()].flat(), isForNow }
    },
    hosts() {
      // Interfaces count before clients, so they come later.
      const all = [...entries.values()]
      const ordered = [
        ...all.filter(({ host }) => host.type === 'client'),
        ...all.filter(({ host }) => host.type === 'interface'),
      ]
      // For each line of IPv4 dnsmasq looks at all that it has by then.
      return [
        ...ordered.flatMap(({ lines4 }) => lines4.map(({ text }) => text)),
        ...ordered.flatMap(({ line6 }) => line6 ?? []),
      ]
    },
    options() {
      const sets = new Map([...entries.values()].flatMap(entry => [...entry.sets]))
      return [...sets.values()].flat()
    },
    reloaded() {
      const all = [...entries.values()]
      readAddresses = new Set(all.flatMap(one => one.lines4.map(({ address }) => address)))
      readSets = new Set(all.flatMap(({ sets }) => [...sets.keys()]))
      additions = 0
      hasTags = readSets.size > 0
    },
    hasTags: () => hasTags,
  }
}

type Lines = { readonly gone: readonly string[]; readonly now: readonly string[] }
const none: Lines = { gone: [], now: [] }

const hasLines = ({ lines4, line6 }: Entry) => lines4.length > 0 || line6 !== null

const linesOf = ({ lines4, line6 }: Entry) => [
  ...lines4.map(({ text }) => text),
  ...(line6 === null ? [] : [line6]),
]
