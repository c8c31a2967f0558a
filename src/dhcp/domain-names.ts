// Domain names as text and as labels (RFC 1035 §3.1), alone and in compressed lists (§4.1.4).

const label = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
const name = new RegExp(`^(?!\\d+(\\.\\d+){3}$)${label}(\\.${label})*$`) // Nor is it an address.

/**
 * A domain name in the one spelling that answers use: lower case, without a dot at its end; null for
 * what is none. Names in other scripts are sent as their A-labels (RFC 5890).
 */
export function canonicalDomain(text: string): string | null {
  if (!/^[!-~]+$/.test(text)) return null // Some other letters have ASCII ones as lower case.
  const canonical = text.toLowerCase().replace(/\.$/, '')
  return canonical.length <= 253 && name.test(canonical) ? canonical : null
}

/** The labels of a name, without the empty one that ends it. */
const labelsOf = (domain: string): Buffer =>
  Buffer.concat(
    domain.split('.').map(text => Buffer.from(String.fromCharCode(text.length) + text, 'latin1')),
  )

/** A name as labels, ended by the root (RFC 1035 §3.1). */
export const encodeDomain = (domain: string): Buffer =>
  Buffer.concat([labelsOf(domain), Buffer.of(0)])

/** A list of names, one after the other, without compression (RFC 8415 §10). */
export const encodeDomains = (domains: readonly string[]): Buffer =>
  Buffer.concat(domains.map(encodeDomain))

/** How far a pointer reaches: it has 14 bits. */
const pointersMax = 0x4000

/** A list of names of which later ones point to ends that earlier ones have (RFC 3397 §2). */
export function encodeSearchList(domains: readonly string[]): Buffer {
  const places = new Map<string, number>()
  let bytes = Buffer.alloc(0)
  for (const domain of domains) {
    for (let rest = domain; ; ) {
      const place = places.get(rest)
      if (place !== undefined) {
        bytes = Buffer.concat([bytes, Buffer.of(0xc0 | (place >> 8), place & 0xff)])
        break
      }
      if (bytes.length < pointersMax) places.set(rest, bytes.length)
      const [first = '', ...more] = rest.split('.')
      bytes = Buffer.concat([bytes, labelsOf(first)])
      rest = more.join('.')
      if (rest === '') {
        bytes = Buffer.concat([bytes, Buffer.of(0)])
        break
      }
    }
  }
  return bytes
}

/** The names of a list, which may be compressed; null for bytes that are none. */
export function decodeDomains(bytes: Buffer): string[] | null {
  const domains: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const found = decodeAt(bytes, at)
    if (!found) return null
    domains.push(found.domain)
    at = found.end
  }
  return domains.length > 0 ? domains : null
}

/** The name at a place, and where the bytes behind it begin. */
function decodeAt(bytes: Buffer, start: number): { domain: string; end: number } | null {
  const labels: string[] = []
  let end: number | null = null
  let lowest = start // Pointers lead backwards, or they could go round.
  for (let at = start; ; ) {
    const length = bytes[at]
    if (length === undefined) return null
    if (length === 0) {
      const domain = canonicalDomain(labels.join('.'))
      return domain === null ? null : { domain, end: end ?? at + 1 }
    }
    if (length >= 0xc0) {
      const low = bytes[at + 1]
      const place = ((length & 0x3f) << 8) | (low ?? 0)
      if (low === undefined || place >= lowest) return null
      end ??= at + 2
      lowest = place
      at = place
    } else {
      if (length > 63 || at + length >= bytes.length) return null
      const text = bytes.toString('latin1', at + 1, at + 1 + length)
      if (text.includes('.')) return null
      labels.push(text)
      at += 1 + length
    }
  }
}
