import { type Answer, type Effect, nothing, send, statuses, wantedOptions } from './answer.ts'
import {
  type Association,
  addressOfKey,
  encodeAssociation,
  type Granted,
  infinity,
  setTimes,
} from './associations.ts'
import type { Bindings, Host, Lease } from './bindings.ts'
import { type Client, findClient, findHost } from './client.ts'
import { type Message, messageTypes, type Option, optionCodes } from './codec.ts'
import { type Arrival, type Request, readRequest } from './request.ts'
import { isTold, leasesOf, shareLeases } from './shares.ts'

/** The server as it names itself. Its DUID stays the same for ever (RFC 8415 §11). */
export type Server = { readonly duid: Buffer; readonly identifier: Option }

export const serverOf = (duid: Buffer): Server => ({
  duid,
  identifier: { code: optionCodes.serverId, data: duid },
})

/** What answers depend on beside the message. `now` is in seconds since 1970. */
export type World = {
  readonly server: Server
  readonly bindings: Bindings
  readonly now: number
  /** Whether what the engine wanted for this message has been done, or cannot be. */
  readonly isRepeated?: boolean
}

/** A request, with those whom its associations belong to, in their order. */
type Exchange = {
  readonly request: Request
  readonly client: Client
  readonly world: World
  readonly hosts: readonly (Host | undefined)[]
  /** The first that is known: whose options count. */
  readonly host: Host | undefined
}

/**
 * The answer to a message of a client or a relay (RFC 8415 §18.3). It changes nothing: what is to be
 * remembered or done comes as effects, which the caller carries out before it sends the reply.
 *
 * Clients that are not known get none, but for four things: an allocation where the link has it so;
 * options alone (§18.3.6) where the link has some; and if they address this very server to renew,
 * release or decline, they hear that it knows nothing of that (§18.3.4, §18.3.7, §18.3.8).
 */
export function answer(message: Message, arrival: Arrival, world: World): Answer {
  const request = readRequest(message, arrival, world.server.duid)
  if (typeof request === 'string') return nothing(request)
  if (request.isUnicast) {
    // §18.3.2, §18.3.4, §18.3.7, §18.3.8: nobody was told that this is possible.
    return send(request, messageTypes.reply, [...names(request, world), statuses.useMulticast])
  }
  const client = findClient(request, arrival, world.bindings)
  if (!client) return nothing('unknown_link')
  const hosts = request.associations.map(({ iaid }) => findHost(client, iaid))
  const host = hosts.find(one => one) ?? findHost(client, null)
  const exchange = { request, client, world, hosts, host }
  switch (request.type) {
    case messageTypes.solicit:
    case messageTypes.request:
      return give(exchange)
    case messageTypes.renew:
    case messageTypes.rebind:
      return extend(exchange)
    case messageTypes.confirm:
      return confirm(exchange)
    case messageTypes.release:
    case messageTypes.decline:
      return giveBack(exchange)
    default:
      return inform(exchange)
  }
}

/** The identifiers that every answer has (RFC 8415 §18.3.9, §18.3.10). */
const names = ({ clientId }: Request, { server }: Pick<World, 'server'>): Option[] =>
  clientId ? [clientId, server.identifier] : [server.identifier]

const rapidCommit: Option = { code: optionCodes.rapidCommit, data: Buffer.alloc(0) }

/**
 * SOLICIT (RFC 8415 §18.3.1, §18.3.9) and REQUEST (§18.3.2). An association without a lease says so;
 * a client that asks with a SOLICIT for a final answer gets it if there is anything to give.
 */
function give(exchange: Exchange): Answer {
  const { request, client, world, hosts, host } = exchange
  const isSolicit = request.type === messageTypes.solicit
  const isRapid = isSolicit && request.wantsRapidCommit && client.link.hasRapidCommit
  const wanted = wantedAllocations(exchange, !isSolicit || isRapid)
  if (wanted.length > 0) return nothing('allocation_wanted', wanted)
  if (!host) return nothing('unknown_client')

  const shares = shareLeases(request.associations, hosts, world.now)
  const isFinal = !isSolicit || (isRapid && shares.some(leases => leases.length > 0))
  const granter = new Granter(exchange, isFinal)
  for (const [index, association] of request.associations.entries()) {
    const leases = shares[index] ?? []
    if (!isSolicit && namesOthers(association, hosts[index], client)) {
      granter.refuse(association, statuses.notOnLink)
    } else if (leases.length === 0) granter.refuse(association, noneOf(association))
    else granter.grant(index, leases, [])
  }
  if (granter.prolongs.length > 0) return nothing('allocation_wanted', granter.prolongs)
  const options = [...names(request, world), ...(isSolicit && isFinal ? [rapidCommit] : [])]
  options.push(...granter.options())
  if (!isFinal) options.push(...(host.options.get(optionCodes.preference) ?? []))
  options.push(...wantedOptions(request.requested, host.options))
  const type = isFinal ? messageTypes.reply : messageTypes.advertise
  return send(request, type, options, isFinal ? granter.effects : [])
}

const noneOf = ({ code }: Association) =>
  code === optionCodes.iaPd ? statuses.noPrefixes : statuses.noAddresses

/** What a link allocates on demand, for associations of nobody, and of those whose time is over. */
function wantedAllocations(exchange: Exchange, isFinal: boolean): Effect[] {
  const { request, client, hosts, world } = exchange
  const { link, duid, mac } = client
  if (!link.isAutomatic || !duid || world.isRepeated) return []
  return request.associations.flatMap(({ code, iaid, named }, index) => {
    const { isAutomatic = true, addresses = [] } = hosts[index] ?? {}
    const hasAny = addresses.some(lease => isTold(lease, world.now))
    if (!isAutomatic || hasAny || code !== optionCodes.iaNa) return []
    const isDeclined = (key: string) =>
      addresses.some(lease => lease.key === key && lease.withheldUntil > world.now)
    const wishes = named.filter(key => !isDeclined(key)).map(addressOfKey)
    return { kind: 'wanted', link, duid, iaid, mac, isFinal, named: wishes }
  })
}

/** Whether an association names an address that is not of the link (RFC 8415 §18.3.2). */
const namesOthers = (
  { code, named }: Association,
  host: Host | undefined,
  { link }: Client,
): boolean =>
  code !== optionCodes.iaPd &&
  named.some(
    key =>
      !host?.addresses.some(own => own.key === key) && link.isOnLink(addressOfKey(key)) === false,
  )

/**
 * RENEW (RFC 8415 §18.3.4) and REBIND (§18.3.5). What a client names and is not to have any longer
 * comes back with lifetimes of zero; what its host got since is added. To a REBIND, which all servers
 * hear, associations of nobody get no answer: another server may know them.
 */
function extend(exchange: Exchange): Answer {
  const { request, world, hosts, host } = exchange
  if (!host && request.type === messageTypes.rebind) return nothing('unknown_client')
  const shares = shareLeases(request.associations, hosts, world.now)
  const granter = new Granter(exchange, true)
  for (const [index, association] of request.associations.entries()) {
    const leases = shares[index] ?? []
    const ended = association.named.filter(key => !leases.some(lease => lease.key === key))
    if (!hosts[index] || association.code === optionCodes.iaTa) {
      if (hosts[index] || request.type === messageTypes.renew) {
        granter.refuse(association, statuses.noBinding)
      }
    } else if (leases.length + ended.length === 0) granter.refuse(association, noneOf(association))
    else granter.grant(index, leases, ended)
  }
  if (granter.prolongs.length > 0) return nothing('allocation_wanted', granter.prolongs)
  return send(
    request,
    messageTypes.reply,
    [
      ...names(request, world),
      ...granter.options(),
      ...(host ? wantedOptions(request.requested, host.options) : []),
    ],
    granter.effects,
  )
}

/**
 * CONFIRM (RFC 8415 §18.3.3): whether the addresses of a client are right for its link. An address
 * of the link that is not the client's is none that it may go on with, so it is not right either.
 */
function confirm({ request, client, world, hosts, host }: Exchange): Answer {
  if (!host) return nothing('unknown_client')
  const verdicts = request.associations.flatMap(({ code, named }, index) =>
    code === optionCodes.iaPd
      ? []
      : named.map(key => {
          const own = hosts[index]?.addresses.find(lease => lease.key === key)
          if (own) return isTold(own, world.now)
          return client.link.isOnLink(addressOfKey(key)) === null ? null : false
        }),
  )
  if (verdicts.length === 0 || verdicts.includes(null)) return nothing('nothing_to_confirm')
  const status = verdicts.includes(false) ? statuses.notOnLink : statuses.success
  return send(request, messageTypes.reply, [...names(request, world), status])
}

/**
 * RELEASE (RFC 8415 §18.3.7) and DECLINE (§18.3.8). What is not the client's is passed over, and so
 * are prefixes that are declined: only addresses can be found in use.
 */
function giveBack({ request, client, world, hosts }: Exchange): Answer {
  const { link, duid, mac } = client
  const kind = request.type === messageTypes.release ? 'released' : 'declined'
  const options = [...names(request, world), statuses.success]
  const effects: Effect[] = []
  for (const [index, association] of request.associations.entries()) {
    const host = hosts[index]
    if (!host || association.code === optionCodes.iaTa) {
      options.push(encodeAssociation(association, [], statuses.noBinding))
    } else if (duid && !(kind === 'declined' && association.code === optionCodes.iaPd)) {
      for (const lease of leasesOf(host, association)) {
        if (!association.named.includes(lease.key) || !isTold(lease, world.now)) continue
        effects.push({ kind, link, host, lease, duid, iaid: association.iaid, mac })
      }
    }
  }
  return send(request, messageTypes.reply, options, effects)
}

/** INFORMATION-REQUEST (RFC 8415 §18.3.6). */
function inform({ request, client, world, host }: Exchange): Answer {
  const configured = host?.options ?? client.link.options
  if (!configured) return nothing('unknown_client')
  const options = [...names(request, world), ...wantedOptions(request.requested, configured)]
  return send(request, messageTypes.reply, options)
}

/** Of the lifetime: a message that is repeated does not prolong again what was a moment ago. */
const prolongBelow = 0.875

/** The associations of an answer, in the order of the request. */
class Granter {
  readonly effects: Effect[] = []
  /** What has to last longer before the answer can say so. */
  readonly prolongs: Effect[] = []
  readonly #exchange: Exchange
  readonly #isFinal: boolean
  readonly #options: Option[] = []
  readonly #granted: Option[] = []
  #shortest = infinity

  constructor(exchange: Exchange, isFinal: boolean) {
    this.#exchange = exchange
    this.#isFinal = isFinal
  }

  refuse(association: Association, status: Option): void {
    this.#options.push(encodeAssociation(association, [], status))
  }

  /** Gives an association leases; `ended` are those that it named and has no more. */
  grant(index: number, leases: readonly Lease[], ended: readonly string[]): void {
    const { request, client, world, hosts } = this.#exchange
    const association = request.associations[index]
    const host = hosts[index]
    if (!association || !host) return
    const granted: Granted[] = leases.map(lease => this.#told(host, lease, association.iaid))
    for (const key of ended) granted.push({ key, preferred: 0, valid: 0 })
    const option = encodeAssociation(association, granted, null)
    this.#options.push(option)
    if (leases.length > 0) this.#granted.push(option)
    const { link, duid, mac } = client
    if (!duid) return
    for (const [place, lease] of leases.entries()) {
      const valid = granted[place]?.valid ?? 0
      const validUntil = valid === infinity ? null : world.now + valid
      const { iaid } = association
      this.effects.push({ kind: 'leased', link, host, lease, duid, iaid, mac, validUntil })
    }
  }

  /**
   * With lifetimes that do not go beyond the end of the allocation. One that was made for the lease is
   * prolonged with it; an advertisement says what it will be.
   */
  #told(host: Host, lease: Lease, iaid: number): Granted {
    const { client, world } = this.#exchange
    const { key, endsAt } = lease
    const isBounded = endsAt !== null && (this.#isFinal || !host.isAutomatic)
    const left = isBounded ? Math.floor(endsAt - world.now) : infinity
    const { link, duid, mac } = client
    const isShort = host.isAutomatic && left < host.validLifetime * prolongBelow
    if (isShort && duid && !world.isRepeated) {
      const seconds = host.validLifetime
      this.prolongs.push({ kind: 'prolong', link, duid, iaid, mac, host, lease, seconds })
    }
    const valid = Math.min(host.validLifetime, left)
    const preferred = Math.min(host.preferredLifetime, valid)
    this.#shortest = Math.min(this.#shortest, preferred)
    return { key, preferred, valid }
  }

  options(): readonly Option[] {
    for (const option of this.#granted) setTimes(option, this.#shortest)
    return this.#options
  }
}
