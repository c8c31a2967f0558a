import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type KeptRange, keptRanges, type RuledBlock, resolveRules } from './rules.ts'
import type { StoredRules } from './schema.ts'

// What a block keeps back, against a model that looks at its addresses one by one, as texts.

const edge = (rules: StoredRules) => ({ id: 'edge', name: 'edge', rules })
const place = { attached_to: { type: 'block', id: 'here', name: '' } } as const

/** The bits of an address as text, so that prefixes are prefixes. */
const bitsOf = (text: string): string => {
  if (!text.includes(':')) {
    return text
      .split('.')
      .reduce((all, octet) => all + Number(octet).toString(2).padStart(8, '0'), '')
  }
  const { hostname } = new URL(`http://[${text}]`)
  const [head = '', tail = ''] = hostname.slice(1, -1).split('::')
  const groups = (part: string) => part.split(':').filter(Boolean)
  const missing = Array<string>(8 - groups(head).length - groups(tail).length).fill('0')
  return [...groups(head), ...missing, ...groups(tail)]
    .map(group => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('')
}
const textOf = (bits: string): string => {
  const width = bits.length === 32 ? 8 : 16
  const parts = bits.match(new RegExp(`.{${width}}`, 'g')) ?? []
  return width === 8
    ? parts.map(part => Number.parseInt(part, 2)).join('.')
    : parts.map(part => Number.parseInt(part, 2).toString(16)).join(':')
}
const holds = (text: string, address: string) => {
  const [network = '', length = '128'] = text.split('/')
  const [inside, bits] = [bitsOf(address), bitsOf(network)]
  return bits.length === inside.length && inside.startsWith(bits.slice(0, Number(length)))
}

/** A block of 64 addresses or fewer, at the start, at the end or amid the space. */
const tiny = fc
  .record({
    bits: fc.constantFrom(32, 128),
    end: fc.constantFrom('0', '1', '10'),
    hostBits: fc.nat(6),
  })
  .map(({ bits, end, hostBits }) => ({
    fixed: end.repeat(128).slice(0, bits - hostBits),
    hostBits,
  }))
type Tiny = { fixed: string; hostBits: number }
const addressOf = ({ fixed, hostBits }: Tiny, position: number) =>
  textOf(fixed + (hostBits ? position.toString(2).padStart(hostBits, '0') : ''))

const offset = fc.integer({ min: -70, max: 70 }).map(String)
const count = fc.integer({ min: 0, max: 70 }).map(String)
/** An address or CIDR in or about the block, or of any network around it. */
const named = (of: Tiny) => {
  const bits = of.fixed.length + of.hostBits
  return fc
    .record({ at: fc.nat(63), length: fc.nat(bits), near: fc.boolean(), asCidr: fc.boolean() })
    .map(({ at, length, near, asCidr }) => {
      const address = addressOf(of, at % 2 ** of.hostBits)
      if (!asCidr) return address
      const to = near ? Math.max(length, bits - 4) : length
      return `${textOf(bitsOf(address).slice(0, to).padEnd(bits, '0'))}/${to}`
    })
}
const words = (of: Tiny) => ({
  offsets: fc.array(fc.record({ from: offset, to: offset }), { maxLength: 4 }),
  first: count,
  last: count,
  addresses: fc.array(
    fc.oneof(named(of), fc.constantFrom('0.0.0.3', '0.0.0.0/30', '::3', '::/126')),
    {
      maxLength: 4,
    },
  ),
})
const rulesFor = (of: Tiny) =>
  fc.record(
    {
      exclusions: fc.record(words(of), { requiredKeys: [] }),
      purposes: fc.uniqueArray(
        fc.record(
          { purpose: fc.constantFrom('a', 'b', 'c'), ...words(of) },
          {
            requiredKeys: ['purpose'],
          },
        ),
        { maxLength: 3, selector: ({ purpose }) => purpose },
      ),
    },
    { requiredKeys: [] },
  )
const situation = tiny.chain(of =>
  fc.record({
    of: fc.constant(of),
    rules: rulesFor(of),
    gateway: fc.option(fc.nat(63), { nil: null }),
    allocate: fc.boolean(),
  }),
)

type Words = NonNullable<StoredRules['exclusions']>
type At = { position: number; size: number; address: string }

/** What names the address at a place, in the words of a policy. */
const namesOf = ({ position, size, address }: At, words: Words): string[] => {
  const isFrom = (from: number) => (from < 0 ? position - size >= from : position >= from)
  const isTo = (to: number) => (to < 0 ? position - size <= to : position <= to)
  return [
    ...(words.offsets ?? [])
      .filter(({ from, to }) => isFrom(Number(from)) && isTo(Number(to)))
      .map(({ from, to }) => (from === to ? `offset ${from}` : `offsets ${from} to ${to}`)),
    ...(position < Number(words.first ?? 0) ? [`first ${words.first}`] : []),
    ...(position >= size - Number(words.last ?? 0) ? [`last ${words.last}`] : []),
    ...(words.addresses ?? []).filter(text => holds(text, address)),
  ]
}

const whyKept = (of: RuledBlock, { exclusions, purposes }: StoredRules, at: At): string | null => {
  const hasNetwork = at.size >= 4 // /30 or shorter, /126 or shorter.
  if (hasNetwork && at.position === 0 && !of.allocate_network_address) return 'network address'
  const isLast = at.position === at.size - 1
  if (hasNetwork && isLast && !of.cidr.includes(':')) return 'broadcast address'
  if (at.address === of.gateway_ip) return 'gateway'
  const [name] = namesOf(at, exclusions ?? {})
  if (name) return `policy \`edge\`, ${name}`
  const purpose = purposes?.find(words => namesOf(at, words).length > 0)?.purpose
  return purpose ? `${purpose}: policy \`edge\`, only for \`${purpose}\`` : null
}

test('a block keeps back the addresses that its rules name, for the first reason there is', () => {
  fc.assert(
    fc.property(situation, ({ of, rules, gateway, allocate }) => {
      const size = 2 ** of.hostBits
      const block: RuledBlock = {
        id: 'here',
        cidr: `${addressOf(of, 0)}/${of.fixed.length}`,
        gateway_ip: gateway === null ? null : addressOf(of, gateway % size),
        allocate_network_address: allocate,
      }
      const expected = Array.from({ length: size }, (_, position) =>
        whyKept(block, rules, { position, size, address: addressOf(of, position) }),
      )

      const found: (string | null)[] = Array(size).fill(null)
      const start = BigInt(`0b${bitsOf(addressOf(of, 0))}`)
      let before: KeptRange | null = null
      for (const range of keptRanges(block, resolveRules([{ ...place, policy: edge(rules) }]))) {
        const { purpose, reason } = range
        if (before) expect(range.first).toBeGreaterThan(before.last)
        const isJoined = range.first === (before?.last ?? -2n) + 1n && reason === before?.reason
        expect(isJoined).toBe(false) // Neighbours that say the same are one.
        for (let at = range.first; at <= range.last; at++) {
          expect(found[Number(at - start)]).toBeNull() // It is in the block.
          found[Number(at - start)] = purpose === null ? reason : `${purpose}: ${reason}`
        }
        before = range
      }
      expect(found).toEqual(expected)
    }),
    { numRuns: 1000 },
  )
})
