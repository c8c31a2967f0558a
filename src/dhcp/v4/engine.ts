import { type Answer, type Silence, silence, type Wanted } from './answer.ts'
import { type Reservation, reservationNear, subnetNear } from './bindings.ts'
import { type Message, uint32At } from './codec.ts'
import { codes, infinite, messageTypes } from './codes.ts'
import { grant, refuse } from './replies.ts'
import { type Context, type Request, readRequest } from './request.ts'
import type { Told } from './told.ts'

/**
 * What a server says to a message, and what comes of it (RFC 2131 §4.3). Servers that have the same
 * bindings say the same, but for who they are.
 */
export function answer(message: Message, context: Context): Answer {
  const request = readRequest(message, context)
  if (typeof request === 'string') return silence(request)
  switch (request.type) {
    case messageTypes.discover:
      return discover(request)
    case messageTypes.request:
      return confirm(request)
    case messageTypes.inform:
      return inform(request)
    case messageTypes.decline:
      return giveBack(request, { type: 'declined', address: request.asked_address })
    default:
      return giveBack(request, { type: 'released', address: message.ciaddr })
  }
}

/**
 * Whether the message is for this server: it has its address, that of its relay (RFC 5107), or
 * none.
 */
const isMeant = ({ asked_server, server, origin }: Request): boolean =>
  asked_server === null || asked_server === server || origin.servers.has(asked_server)

const isUsable = ({ expires_at, declined_until }: Reservation, now: number): boolean =>
  (expires_at === null || expires_at > now) && (declined_until === null || declined_until <= now)

/**
 * DHCPDISCOVER (RFC 2131 §4.3.1): an offer of the address that the client asks for, if it is one of
 * its own; of one in the subnet of its relay; of its first.
 */
function discover(request: Request): Answer {
  const { host, now, asked_address, subnet, outcome } = request
  const usable = (host?.reservations ?? []).filter(one => isUsable(one, now))
  const found =
    usable.find(({ address }) => address === asked_address) ??
    usable.find(one => one.subnet.id === subnet?.id) ??
    usable[0]
  if (found) return offer(request, found)
  if (typeof outcome === 'object' && isUsable(outcome.reservation, now)) {
    return offer(request, outcome.reservation)
  }
  const automatic = automaticOf(request)
  if (!automatic || host?.is_automatic === false) return silence(whyNone(request))
  const unneeded = prefersIpv6(request)
  if (unneeded) return unneeded
  return allocate(request, isRapid(request, null) ? automatic.lease_seconds : offerSeconds)
}

/** What unknown clients get: where their relay is, or where there is anything for them. */
const automaticOf = ({ subnet, link }: Request) =>
  subnet?.automatic ?? link.subnets.find(({ automatic }) => automatic)?.automatic ?? null

function whyNone({ host, now }: Request): Silence {
  if (!host) return 'unknown client'
  const isDeclined = host.reservations.some(one => (one.declined_until ?? 0) > now)
  return isDeclined ? 'address declined' : 'no address'
}

/** How long an address is held that is only offered: whoever asks and goes away costs no more. */
const offerSeconds = 120

/** RFC 8925 §3.3: whoever hears that IPv6 is preferred is to decide before anything is committed. */
const isRapid = ({ link, message }: Request, told: Told | null) =>
  link.rapid_commit &&
  message.options.has(codes.rapidCommit) &&
  !(told && saysIpv6Preferred(told, message))

const saysIpv6Preferred = (told: Told, { options }: Message) =>
  told.options.has(codes.ipv6OnlyPreferred) &&
  (options.get(codes.requestList)?.includes(codes.ipv6OnlyPreferred) ?? false)

function allocate(request: Request, seconds: number): Answer {
  const { outcome, client, link, subnet, asked_address } = request
  if (outcome !== undefined) return silence('not allocated')
  if (client.mac === null && !client.client_id?.length) return silence('malformed')
  const address = mayHave(request, asked_address) ? asked_address : null
  const nobody = { host: null, reservation: null }
  return want({ type: 'allocate', ...nobody, link, client, subnet, address, seconds })
}

/** Whether an address can be right: on the link, and not one that the client itself found taken. */
const mayHave = ({ link, host, now }: Request, address: number | null): boolean =>
  address !== null &&
  subnetNear(link, address) !== null &&
  !host?.reservations.some(one => one.address === address && (one.declined_until ?? 0) > now)

const want = (wanted: Wanted): Answer => ({ type: 'wanted', wanted })

/**
 * RFC 8925 §3.3: who can do without IPv4, on a link that says so, needs no address: it is offered
 * none, and none is allocated.
 */
function prefersIpv6(request: Request): Answer | null {
  const told = (request.subnet ?? request.link.subnets[0])?.told
  if (!told || !saysIpv6Preferred(told, request.message)) return null
  return grant(request, { type: messageTypes.offer, address: 0, told, lease_seconds: null })
}

/**
 * An offer; or at once the lease, where both sides are for it (RFC 4039 §3). What the offer says of
 * the time will hold: a hold is renewed when the client takes it.
 */
function offer(request: Request, reservation: Reservation): Answer {
  const { address, told } = reservation
  if (isRapid(request, told)) return lease(request, reservation)
  const lease_seconds = secondsWanted(request, reservation)
  return grant(request, { type: messageTypes.offer, address, told, lease_seconds })
}

/** A lease is not shorter than this because a client asks for it, or it would ask all the time. */
const leaseSecondsMin = 60

/**
 * For how long a client is to have an address: as it asks, but not longer than is said (RFC 2131
 * §4.3.1).
 */
function secondsWanted(request: Request, { subnet, told, expires_at }: Reservation): number {
  const { message, link, host, now } = request
  const said = told.lease_seconds || link.lease_seconds // None of 0 seconds.
  const isFixed = expires_at === null || host?.is_automatic === false
  const bound = isFixed ? secondsUntil(expires_at, now) : subnet.automatic?.lease_seconds
  const most = Math.min(said, bound ?? said)
  const asked = message.options.get(codes.leaseTime)
  if (asked?.length !== 4) return most
  return Math.min(most, Math.max(uint32At(asked, 0), leaseSecondsMin))
}

const secondsUntil = (time: number | null, now: number): number =>
  time === null ? infinite : Math.floor((time - now) / 1000)

/**
 * The address as a lease. A hold that was made for it has to last as long, or nearly so: else it is renewed first. When
 * that cannot be known the client gets what is left, and asks again.
 */
function lease(request: Request, reserved: Reservation): Answer {
  const { now, link, client, host, outcome } = request
  const reservation =
    typeof outcome === 'object' && outcome.reservation.address === reserved.address
      ? outcome.reservation
      : reserved
  const wanted = secondsWanted(request, reservation)
  const { expires_at } = reservation
  const left = secondsUntil(expires_at, now)
  if (host?.is_automatic && left < wanted * renewBelow && outcome === undefined) {
    const { address, subnet } = reservation
    const seconds = wanted
    return want({ type: 'renew', link, client, host, subnet, address, reservation, seconds })
  }
  if (outcome === 'refused' && expires_at !== null) {
    return request.type === messageTypes.discover
      ? silence('not allocated')
      : refuse(request, 'the address is no longer available')
  }
  const seconds = Math.min(wanted, left)
  if (seconds <= 0) return silence('not allocated')
  const ends_at = seconds === infinite ? null : now + seconds * 1000
  return grant(request, {
    type: messageTypes.ack,
    address: reservation.address,
    told: reservation.told,
    lease_seconds: seconds,
    effects: [{ type: 'leased', link, client, host, reservation, ends_at }],
  })
}

/** Of the wished time: a repeated request does not renew again what was renewed a moment ago. */
const renewBelow = 0.875

/**
 * DHCPREQUEST (RFC 2131 §4.3.2). A server identifier: the client took an offer (SELECTING). Else an
 * address that it uses: RENEWING, REBINDING. Else one that it remembers: INIT-REBOOT.
 */
function confirm(request: Request): Answer {
  const { message, host, now, asked_server, asked_address } = request
  if (!isMeant(request)) return silence('for another server')
  const uses = message.ciaddr !== 0
  const address = asked_server === null && uses ? message.ciaddr : (asked_address ?? message.ciaddr)
  if (address === 0) return silence('malformed')
  const found = host?.reservations.find(one => one.address === address)
  if (found && isUsable(found, now)) return lease(request, found)
  const remembers = asked_server === null && !uses
  return deny(request, { address, remembers })
}

/**
 * To a client whose address is not its own. Only who remembers an address, and is unknown, is left
 * alone: it may be known to others (RFC 2131 §4.3.2), unless the address cannot be right on this
 * link. Whoever uses an address is told at once, since it may be given to somebody else.
 */
function deny(
  request: Request,
  { address, remembers }: { readonly address: number; readonly remembers: boolean },
): Answer {
  const { link, host, asked_server } = request
  if (!link.is_authoritative && asked_server === null) return silence('not authoritative')
  if (link.subnets.length === 0) return silence('no address') // Nothing is right or wrong there.
  if (!subnetNear(link, address)) return refuse(request, 'the address is of another network')
  if (remembers && !host) return silence('unknown client')
  return refuse(request, 'the address is not that of the client')
}

/**
 * DHCPDECLINE and DHCPRELEASE (RFC 2131 §4.3.3, §4.3.4), which nobody answers. They count from the
 * client whose address it is, and only for the server that they name.
 */
function giveBack(
  request: Request,
  { type, address }: { readonly type: 'declined' | 'released'; readonly address: number | null },
): Answer {
  const { host, link, client, asked_server } = request
  if (asked_server === null) return silence('malformed')
  if (!isMeant(request)) return silence('for another server')
  if (!host) return silence('unknown client')
  const reservation = host.reservations.find(one => one.address === address)
  if (!reservation) return silence('address of another')
  const effects = [{ type, link, client, host, reservation }]
  return { type: 'nothing', reason: 'answered by none', effects }
}

/**
 * DHCPINFORM (RFC 2131 §4.3.5): what a host is told beside its address, for the subnet of the
 * address that it says it has. No lease is looked at or told.
 */
function inform(request: Request): Answer {
  const { message, host, origin, subnet } = request
  const address = message.ciaddr || (message.giaddr === 0 ? origin.source.address : 0)
  if (address === 0 && message.giaddr === 0) return silence('malformed')
  if (!host) return silence('unknown client')
  const { reservations } = host
  const found =
    address === 0
      ? (reservations.find(one => one.subnet.id === subnet?.id) ?? reservations[0])
      : reservationNear(reservations, address)
  if (!found) return silence('no address')
  return grant(request, {
    type: messageTypes.ack,
    address: 0,
    told: found.told,
    lease_seconds: null,
  })
}
