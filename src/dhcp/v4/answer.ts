import type { Host, Link, Reservation, Subnet } from './bindings.ts'
import type { Message } from './codec.ts'

/** Where a packet came from, and in whose name it is answered. */
export type Origin = {
  /** The link of the interface by which it came; null if that serves relays only. */
  readonly link_id: string | null
  /**
   * Whether relays and routers bring packets of other links there. Where they do not, who sends
   * such a packet speaks for somebody else.
   */
  readonly takes_remote: boolean
  /** Whether it was sent to an address of this server, and not to all. */
  readonly is_unicast: boolean
  readonly source: { readonly address: number; readonly port: number }
  /** The address under which this server answers there: its identifier (RFC 2132 §9.7). */
  readonly server: number
  /** All addresses of this server: what is meant for one of them is for it. */
  readonly servers: ReadonlySet<number>
}

/** Why a packet is not answered. */
export type Silence =
  | 'malformed'
  | 'not for servers'
  | 'unknown link'
  | 'for another server'
  | 'unknown client'
  | 'no address'
  | 'address declined'
  | 'address of another'
  | 'not authoritative'
  | 'not allocated'
  | 'answered by none'

/** Who asked: what is reported, and what an automatic allocation is for. */
export type Client = {
  /** Of Ethernet, as 48 bits. */
  readonly mac: number | null
  readonly client_id: Uint8Array | undefined
}

/** What came of a packet beside its answer. */
export type Effect =
  | {
      /**
       * The client has been told that it has the address, until `ends_at` (ms since 1970; null:
       * forever).
       */
      readonly type: 'leased'
      readonly link: Link
      readonly client: Client
      readonly host: Host | null
      readonly reservation: Reservation
      readonly ends_at: number | null
    }
  | {
      /** Somebody else uses the address; or the client no longer does. */
      readonly type: 'declined' | 'released'
      readonly link: Link
      readonly client: Client
      readonly host: Host
      readonly reservation: Reservation
    }

/**
 * What has to be done before there is an answer: to allocate an address for an unknown client as a
 * hold, or to renew such a hold. The engine is then asked again, with the outcome.
 */
export type Wanted = {
  readonly type: 'allocate' | 'renew'
  /** Whose hold is to be renewed. */
  readonly host: Host | null
  readonly link: Link
  readonly client: Client
  /** Where it is, if its relay tells. */
  readonly subnet: Subnet | null
  /** What it would like to have; what is to be renewed. */
  readonly address: number | null
  readonly reservation: Reservation | null
  readonly seconds: number
}

/**
 * What came of a wish: what is reserved now, also in the bindings; that it is not to be had; or
 * that this cannot be known now.
 */
export type Outcome = { readonly reservation: Reservation } | 'refused' | 'unavailable'

export type Answer =
  | {
      readonly type: 'reply'
      readonly message: Message
      /** How long the datagram may be, without its IP and UDP headers. */
      readonly bytes_max: number
      readonly to: { readonly address: number; readonly port: number }
      readonly effects: readonly Effect[]
    }
  | { readonly type: 'nothing'; readonly reason: Silence; readonly effects: readonly Effect[] }
  | { readonly type: 'wanted'; readonly wanted: Wanted }

export const silence = (reason: Silence): Answer => ({ type: 'nothing', reason, effects: [] })
