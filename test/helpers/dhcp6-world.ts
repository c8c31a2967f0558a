import type { ConfiguredOption } from '../../src/dhcp/configuration.ts'
import { readOptionValue } from '../../src/dhcp/option-types.ts'
import { optionOf } from '../../src/dhcp/options.ts'
import type { Answer } from '../../src/dhcp/v6/answer.ts'
import { BindingTable, type LinkFacts } from '../../src/dhcp/v6/binding-table.ts'
import { type Host, leaseOf, prepareHost, prepareOptions } from '../../src/dhcp/v6/bindings.ts'
import { decodeMessage, encodeMessage } from '../../src/dhcp/v6/codec.ts'
import { answer, serverOf } from '../../src/dhcp/v6/engine.ts'
import type { Arrival } from '../../src/dhcp/v6/request.ts'
import { ip6, packet, serverDuid, show } from './dhcp6.ts'

// A link with three hosts, as a DHCPv6 server knows it.

export const now = 1_800_000_000
export const macs = { one: '00163e000001', two: '00163e000002', none: '00163e0000ff' }
export const automaticDuid = '00020000090c77'
export const bytesOf = (text: string) => packet(ip6(text))

/** An option as it is configured on a block. */
export function configured(code: number, value: unknown): ConfiguredOption {
  const option = optionOf(6, code)
  const canonical = readOptionValue(option, value, 'value')
  return { option, value: canonical, source: { type: 'block', id: 'b' }, derived_from: null }
}

const options = [
  configured(7, 200),
  configured(12, '2001:db8::53'),
  configured(23, ['2001:db8::53']),
  configured(24, ['example.org']),
  configured(56, ['2001:db8::123', 'ntp.example.org']),
  configured(59, 'http://[2001:db8::69]/boot.efi'),
]

export const hostOf = (id: string, ...leases: string[]): Host =>
  prepareHost({
    id,
    isAutomatic: false,
    leases: leases.map(text => ({ text, endsAt: null })),
    options: prepareOptions([options]),
    preferredLifetime: 3600,
    validLifetime: 7200,
  })

export const net: LinkFacts = {
  id: 'net',
  interfaces: ['tap0'],
  relays: [],
  prefixes: ['2001:db8::/64'],
  isAutomatic: false,
  hasRapidCommit: true,
  options: null,
}

/** The link: `one` and `two` are interfaces, `auto` is a client with an allocation of 7200 seconds. */
export function linkTable(facts: Partial<LinkFacts> = {}) {
  const bindings = new BindingTable()
  const link = bindings.setLink({ ...net, ...facts })
  link.setHost(hostOf('one', '2001:db8::a', '2001:db8:a::/56'), { mac: macs.one })
  const two = ['2001:db8::b1', '2001:db8::b2', '2001:db8:b::/56', '2001:db8:b:100::/56']
  link.setHost(hostOf('two', ...two), { mac: macs.two })
  link.setHost(
    {
      ...hostOf('auto'),
      isAutomatic: true,
      addresses: [leaseOf({ text: '2001:db8::c', endsAt: now + 7200 })],
    },
    { clients: [{ duid: packet(automaticDuid), iaid: 5 }] },
  )
  return { bindings, link }
}

export const arrival: Arrival = {
  interface: 'tap0',
  address: bytesOf('fe80::1'),
  isUnicast: false,
  trustsRelays: true,
}

type Asked = {
  readonly bindings?: BindingTable
  readonly came?: Partial<Arrival>
  readonly at?: number
  readonly isRepeated?: boolean
}

/** What a server makes of a packet. */
export function ask(
  hex: string,
  { bindings, came, at = now, isRepeated = false }: Asked = {},
): Answer {
  const message = decodeMessage(packet(hex))
  if ('malformed' in message) throw new Error(message.malformed)
  const world = {
    server: serverOf(packet(serverDuid)),
    bindings: bindings ?? linkTable().bindings,
    now: at,
    isRepeated,
  }
  return answer(message, { ...arrival, ...came }, world)
}

/** Its answer as text, or why there is none. */
export function told(...given: Parameters<typeof ask>): string[] {
  const { reply, reason } = ask(...given)
  return reply ? show(encodeMessage(reply.message)) : [String(reason)]
}

/** What is to happen beside it. */
export const effectsOf = (...given: Parameters<typeof ask>): string[] =>
  ask(...given).effects.map(effect => {
    const who = `${effect.duid.toString('hex')}/${effect.iaid} ${effect.mac ?? '-'}`
    if (effect.kind === 'wanted') {
      const named = effect.named.map(address => ` ${address.toString('hex')}`).join('')
      return `wanted ${effect.link.id} ${effect.isFinal} ${who}${named}`
    }
    if (effect.kind === 'prolong') {
      return `prolong ${effect.host.id} ${effect.lease.text} ${who} ${effect.seconds}`
    }
    const until = effect.kind === 'leased' ? ` ${effect.validUntil}` : ''
    return `${effect.kind} ${effect.host.id} ${effect.lease.text} ${who}${until}`
  })
