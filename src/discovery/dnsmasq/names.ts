import { createHash } from 'node:crypto'
import { canonicalDomain } from '../../dhcp/domain-names.ts'
import type { ServedOption } from '../../dhcp/served.ts'
import type { Entry } from './hosts.ts'
import type { Subnet } from './subnets.ts'

/**
 * Names of hosts for dnsmasq to answer DNS with (--hostsdir), in files of which it reads those again that
 * have changed.
 */
export type Names = {
  /** The files that changed with these hosts, with their lines. */
  changed(keys: Iterable<string>): Map<string, string[]>
  /** All files. */
  all(): Map<string, string[]>
}

const filesCount = 256
const codes = { domain: 15, search6: 24 }

export function createNames(
  entries: ReadonlyMap<string, Entry>,
  usualDomain: string | null,
): Names {
  const fileOf = (key: string) =>
    String(createHash('sha256').update(key).digest().readUInt16BE(0) % filesCount)
  const keysByFile = new Map<string, Set<string>>()

  function note(key: string): string {
    const file = fileOf(key)
    const keys = keysByFile.get(file) ?? new Set()
    if (entries.has(key)) keys.add(key)
    else keys.delete(key)
    keysByFile.set(file, keys)
    return file
  }

  const linesIn = (file: string) =>
    [...(keysByFile.get(file) ?? [])].flatMap(key => {
      const entry = entries.get(key)
      return entry ? nameLines(entry, usualDomain) : []
    })

  return {
    changed(keys) {
      const files = new Set([...keys].map(note))
      return new Map([...files].map(file => [file, linesIn(file)]))
    },
    all() {
      keysByFile.clear()
      for (const key of entries.keys()) note(key)
      return new Map([...keysByFile.keys()].map(file => [file, linesIn(file)]))
    },
  }
}

/** The lines of a host, as /etc/hosts has them. */
function nameLines({ host, addresses }: Entry, usualDomain: string | null): string[] {
  const name = host.host_name === null ? null : canonicalDomain(host.host_name)
  if (name === null) return []
  return [...addresses].flatMap(([address, { subnet }]) => {
    const domain = domainIn(subnet, host.options) ?? usualDomain
    // A name without a domain is nobody's to answer for.
    const full = name.includes('.') ? name : domain === null ? null : `${name}.${domain}`
    return full === null || canonicalDomain(full) === null ? [] : [`${address} ${full}`]
  })
}

/** The domain in force, of IPv4 or the first that is searched of IPv6; else that of the network. */
function domainIn({ block_id, network }: Subnet, own: Entry['host']['options']): string | null {
  const optionsOf = (id: string, options: readonly ServedOption[]) =>
    own.find(one => one.block_id === id)?.options ?? options
  const nearFirst = network.subnets.toSorted(
    (a, b) => Number(b.block_id === block_id) - Number(a.block_id === block_id),
  )
  for (const subnet of nearFirst) {
    const code = subnet.version === 4 ? codes.domain : codes.search6
    const options = optionsOf(subnet.block_id, subnet.options)
    const [domain] = [options.find(one => one.code === code)?.value ?? []].flat()
    if (typeof domain === 'string') return canonicalDomain(domain)
  }
  return null
}
