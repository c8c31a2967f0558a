// What dnsmasq writes into its log, as far as it matters. Texts of clients come at the end of lines, or
// behind words of dnsmasq's own, and without control characters.

export type LogLine =
  /** It has begun to take over a file that came, or has read one again. */
  | { readonly type: 'read'; readonly path: string }
  /** Nothing is there for a client. */
  | {
      readonly type: 'refused'
      readonly version: 4 | 6
      readonly transaction: string
      /** Its MAC (IPv4), its DUID (IPv6) as hex. */
      readonly client: string
      /** What it would like. */
      readonly address: string | null
    }
  /** Of the message of the next line: a subnet of the client's link, its MAC, what it calls itself. */
  | { readonly type: 'subnet'; readonly transaction: string; readonly first: string }
  | { readonly type: 'mac'; readonly transaction: string; readonly mac: string }
  | { readonly type: 'name'; readonly transaction: string; readonly name: string }
  | { readonly type: 'declined'; readonly address: string }
  /** A line of a file that it does not take, or a reason why it ends. */
  | { readonly type: 'error'; readonly text: string }

const prefix = /^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?dnsmasq(?:-dhcp|-script)?(?:\[\d+\])?: /

type Read = readonly [RegExp, (found: RegExpExecArray) => LogLine]

const readers: readonly Read[] = [
  [/^read (\/\S+)$/, ([, path = '']) => ({ type: 'read', path })],
  [
    /^(\d+) DHCPDISCOVER\([^)]*\) (?:(\d+(?:\.\d+){3}) )?([0-9a-f]{2}(?::[0-9a-f]{2}){5}) no address available$/,
    ([, transaction = '', address, client = '']) => ({
      type: 'refused',
      version: 4,
      transaction,
      client,
      address: address ?? null,
    }),
  ],
  [
    /^(\d+) (?:DHCPSOLICIT|DHCPADVERTISE|DHCPREPLY)\([^)]*\) ([0-9a-f]{2}(?::[0-9a-f]{2})+) (?:ignored|no addresses available)$/,
    ([, transaction = '', client = '']) => ({
      type: 'refused',
      version: 6,
      transaction,
      client: client.replaceAll(':', ''),
      address: null,
    }),
  ],
  [
    /^(\d+) available DHCP(?:v6)? subnet: ([0-9a-f.:]+)\/[\d.]+$/,
    ([, transaction = '', first = '']) => ({ type: 'subnet', transaction, first }),
  ],
  [
    /^(\d+) client MAC address: ([0-9a-f]{2}(?::[0-9a-f]{2}){5})$/,
    ([, transaction = '', mac = '']) => ({ type: 'mac', transaction, mac }),
  ],
  [
    /^(\d+) client provides name: ([A-Za-z0-9_.-]{1,255})$/,
    ([, transaction = '', name = '']) => ({ type: 'name', transaction, name }),
  ],
  [
    /^disabling DHCP static address ([0-9a-f.:]+) for /,
    ([, address = '']) => ({ type: 'declined', address }),
  ],
  // Lines of messages begin with a number.
  [/^((?!\d+ ).* at line \d+ of \/\S+)$/, ([, text = '']) => ({ type: 'error', text })],
]

/** What a line says; null for what does not matter here. */
export function readLogLine(line: string): LogLine | null {
  const text = line.replace(prefix, '')
  for (const [pattern, read] of readers) {
    const found = pattern.exec(text)
    if (found) return read(found)
  }
  return null
}
