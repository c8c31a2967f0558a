import { option4, type Packet4, packetOf, quad, readPacket, textBytes } from './dhcp4-packets.ts'
import { clientId, duidLL, envelope, iaNa, packet, plain, show, wants } from './dhcp6.ts'
import type { PacketClient, Received } from './packet-client.ts'
import { waitUntil } from './race-load.ts'

// What a client asks and is answered, in packets made by hand.

export const hexOfAddress = (address: string): string => Buffer.from(quad(address)).toString('hex')
export const hexOfText = (text: string): string => Buffer.from(textBytes(text)).toString('hex')
export const hexOfSeconds = (seconds: number): string => seconds.toString(16).padStart(8, '0')
const bare = (mac: string) => mac.replaceAll(':', '')

const kinds = {
  discover: '01',
  offer: '02',
  request: '03',
  decline: '04',
  ack: '05',
  nak: '06',
  release: '07',
  inform: '08',
} as const
export type Kind4 = keyof typeof kinds

export const kindOf = ({ options }: Packet4): Kind4 | undefined =>
  (Object.keys(kinds) as Kind4[]).find(kind => kinds[kind] === options.get(53))

/** What a DHCPv4 client asks for: mask, router, names, domain, MTU, NTP, search list, routes. */
const usual = [1, 3, 6, 12, 15, 26, 42, 119, 121]

export type Ask4 = {
  readonly mac: string
  /** Whose address; in hex with its type. */
  readonly client_id?: string
  readonly wants?: readonly number[]
  readonly ciaddr?: string
  readonly giaddr?: string
  /** Options 50 and 54. */
  readonly address?: string
  readonly server?: string
  /** More options, in hex by code. */
  readonly options?: Readonly<Record<number, string>>
  /** Whether answers are to be sent to all. */
  readonly broadcast?: boolean
}

let transactions = 0x4d_4c_00_00

function message4(kind: Kind4, ask: Ask4) {
  transactions += 1
  const xid = transactions.toString(16).padStart(8, '0')
  const codes = Buffer.from(ask.wants ?? usual).toString('hex')
  const asks = kind === 'discover' || kind === 'request' || kind === 'inform'
  const options = [
    option4(53, kinds[kind]),
    ...(ask.client_id ? [option4(61, ask.client_id)] : []),
    ...(ask.address ? [option4(50, hexOfAddress(ask.address))] : []),
    ...(ask.server ? [option4(54, hexOfAddress(ask.server))] : []),
    ...(asks ? [option4(55, codes)] : []),
    ...Object.entries(ask.options ?? {}).map(([code, value]) => option4(Number(code), value)),
  ]
  const bytes = packetOf({
    xid,
    mac: bare(ask.mac),
    flags: ask.broadcast === false ? '0000' : '8000',
    ...(ask.ciaddr && { ciaddr: ask.ciaddr }),
    ...(ask.giaddr && { giaddr: ask.giaddr }),
    options: options.join(''),
  })
  return { xid, bytes }
}

type Way = { readonly place?: string; readonly to?: { readonly address: string } }

/** Sends a message for which there is no answer, or none that matters. */
export function tell4(client: PacketClient, kind: Kind4, ask: Ask4, way: Way = {}): string {
  const { xid, bytes } = message4(kind, ask)
  client.send(bytes, way)
  return xid
}

/** What a message is answered; it is sent again each second, as clients do. */
export async function ask4(
  client: PacketClient,
  kind: Kind4,
  ask: Ask4,
  way: Way = {},
): Promise<Packet4> {
  const { xid, bytes } = message4(kind, ask)
  const before = client.received.length
  let answer: Packet4 | undefined
  let sent = 0
  await waitUntil(
    `an answer to ${kind} of ${ask.mac}`,
    () => {
      if (Date.now() >= sent + 1000) {
        client.send(bytes, way)
        sent = Date.now()
      }
      answer = answersTo(client.received.slice(before), xid)[0]
      return answer !== undefined
    },
    20,
  )
  return answer as Packet4
}

const answersTo = (received: readonly Received[], xid: string): Packet4[] =>
  received
    .filter(({ place, bytes }) => place[0] === '4' && bytes.toString('hex', 4, 8) === xid)
    .map(({ bytes }) => readPacket(bytes))

/** DISCOVER and REQUEST; the ACK. @throws if it is another answer */
export async function acquire4(
  client: PacketClient,
  ask: Ask4,
  way: Way = {},
): Promise<Packet4 & { readonly server: string }> {
  const offer = await ask4(client, 'discover', ask, way)
  const server = serverOf(offer)
  const chosen = { ...ask, address: offer.yiaddr, server }
  const ack = await ask4(client, 'request', chosen, way)
  if (kindOf(offer) !== 'offer' || kindOf(ack) !== 'ack' || ack.yiaddr !== offer.yiaddr) {
    throw new Error(`${ask.mac} was answered ${kindOf(offer)} and ${kindOf(ack)}`)
  }
  return { ...ack, server }
}

export const serverOf = ({ options }: Packet4): string =>
  Buffer.from(options.get(54) ?? '', 'hex').join('.')

type Hearing = {
  readonly kind: Kind4
  readonly ask: Ask4
  readonly other: Ask4
  readonly way?: Way
  readonly otherWay?: Way
}

/**
 * What a message is answered while one that is sent behind it is, twice: another machine's, which the
 * server knows. Null if nothing comes.
 */
export async function hears4(
  client: PacketClient,
  { kind, ask, other, way = {}, otherWay = {} }: Hearing,
): Promise<Packet4 | null> {
  const xid = tell4(client, kind, ask, way)
  await ask4(client, 'discover', other, otherWay)
  await ask4(client, 'discover', other, otherWay)
  return answersTo(client.received, xid)[0] ?? null
}

/** Options of an answer that tell of the network: without kind, server, times, and what is echoed. */
export function toldIn({ options }: Packet4): Record<number, string> {
  const protocol = new Set([51, 53, 54, 58, 59, 61, 82])
  return Object.fromEntries([...options].filter(([code]) => !protocol.has(code)))
}

export type Ask6 = {
  readonly mac?: string
  /** In place of one made of the MAC. */
  readonly duid?: string
  readonly wants?: readonly number[]
  /** Its associations, and what it says of servers, in hex. */
  readonly options?: readonly string[]
}

/** What servers say to a DHCPv6 client. */
export type Packet6 = {
  readonly bytes: Buffer
  readonly type: string
  /** As `show` has it. */
  readonly text: string
  /** Option 2 as a whole, in hex, to be sent back. */
  readonly server: string
}

let transactions6 = 0x4d_00_00

function message6(kind: Parameters<typeof plain>[0], ask: Ask6) {
  transactions6 += 1
  const duid = ask.duid ?? duidLL(bare(ask.mac ?? '02:00:00:00:00:01'))
  const made = packet(
    plain(
      kind,
      clientId(duid),
      wants(...(ask.wants ?? [23, 24])),
      '0008' + '0002' + '0000',
      ...(ask.options ?? [iaNa(1, [])]),
    ),
  )
  made.writeUIntBE(transactions6, 1, 3)
  return { transaction: made.toString('hex', 1, 4), bytes: made }
}

/** What a message is answered; it is sent again each second, as clients do. */
export async function ask6(
  client: PacketClient,
  kind: Parameters<typeof plain>[0],
  ask: Ask6,
): Promise<Packet6> {
  const { transaction, bytes } = message6(kind, ask)
  let answer: Packet6 | undefined
  let sent = 0
  await waitUntil(
    `an answer to ${kind}`,
    () => {
      if (Date.now() >= sent + 1000) {
        client.send(bytes, { place: '6:546' })
        sent = Date.now()
      }
      answer = answers6(client.received, transaction)[0]
      return answer !== undefined
    },
    20,
  )
  return answer as Packet6
}

const answers6 = (received: readonly Received[], transaction: string): Packet6[] =>
  received
    .filter(({ place }) => place[0] === '6')
    .filter(({ bytes }) => envelope(bytes).transaction === transaction)
    .map(({ bytes }) => readPacket6(bytes))

export function readPacket6(bytes: Buffer): Packet6 {
  const text = show(bytes).join('\n')
  const server = / server=([0-9a-f]+)/.exec(text)?.[1] ?? ''
  const length = (server.length / 2).toString(16).padStart(4, '0')
  return { bytes, type: envelope(bytes).type, text, server: `0002${length}${server}` }
}

/** What a message is answered while one of another client is, sent behind it; null if nothing. */
export async function hears6(
  client: PacketClient,
  { kind, ask }: { kind: Parameters<typeof plain>[0]; ask: Ask6 },
  other: () => Promise<unknown>,
): Promise<Packet6 | null> {
  const { transaction, bytes } = message6(kind, ask)
  client.send(bytes, { place: '6:546' })
  await other()
  await other()
  return answers6(client.received, transaction)[0] ?? null
}

/** The addresses and prefixes that a client is given in an answer. */
export const givenIn = ({ text }: Packet6): string[] =>
  [...text.matchAll(/([0-9a-f:]+(?:\/\d+)?)=\d+-[1-9]\d*/g)].map(([, address = '']) => address)

/** SOLICIT and REQUEST; the Reply. */
export async function acquire6(client: PacketClient, ask: Ask6): Promise<Packet6> {
  const offered = await ask6(client, 'solicit', ask)
  if (offered.type !== 'advertise') throw new Error(`not an Advertise: ${offered.text}`)
  const reply = await ask6(client, 'request', {
    ...ask,
    options: [offered.server, ...(ask.options ?? [iaNa(1, [])])],
  })
  if (reply.type !== 'reply') throw new Error(`not a Reply: ${reply.text}`)
  return reply
}
