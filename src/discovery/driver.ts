import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { ClientNames } from '../dhcp/client-names.ts'
import type { LeaseReport, ServedHost, ServedNetwork } from '../dhcp/served.ts'
import type { DiscoveryConfig } from './config.ts'

export { type ClientNames, clientIdOf, namesOfClientId } from '../dhcp/client-names.ts'

/** What is served, as it is known here: the API's state some events ago. */
export type Served = ReadonlyMap<
  string,
  { readonly network: ServedNetwork; readonly hosts: ReadonlyMap<string, ServedHost> }
>

/** A difference to what was served before. A network comes before its hosts, and goes with them. */
export type Change =
  | { readonly type: 'network'; readonly network: ServedNetwork }
  | { readonly type: 'network_gone'; readonly network_id: string }
  | { readonly type: 'host'; readonly network_id: string; readonly host: ServedHost }
  | { readonly type: 'host_gone'; readonly network_id: string; readonly host_id: string }

/**
 * Answers machines from what it is given: itself, or by feeding another server. The guide is
 * docs/guides/dhcp-drivers.md; test/discovery/contract.ts is what a driver has to do.
 */
export type Driver = {
  /**
   * Begins to serve all that is in `served`; resolves when machines are answered.
   *
   * @throws {DiscoveryError} if it cannot serve at all
   */
  start(): Promise<void>
  /**
   * Takes over changes, which `served` has already. Not called again before it has resolved, which it
   * does when machines are answered accordingly. What fails for a time it tries again by itself.
   */
  apply(changes: readonly Change[]): Promise<void>
  /** What does not work now, a line each: the health of the process. */
  problems(): readonly string[]
  /** Answers nobody from now on, and leaves nothing running. */
  stop(): Promise<void>
}

export type CreateDriver = (context: DriverContext) => Driver

export type DriverContext = {
  readonly config: DiscoveryConfig
  readonly served: Served
  readonly leases: Leases
  readonly automatic: Automatic
  readonly log: Logger
  readonly registry: Registry
  /** For what the driver keeps; it is there, and its own. */
  readonly folder: string
}

/** The configuration cannot be served; the message says why in one line. */
export class DiscoveryError extends Error {
  override readonly name = 'DiscoveryError'
}

/** What a machine was told, or said. Times are in milliseconds since 1970. */
export type LeaseNews = Omit<LeaseReport, 'id' | 'started_at' | 'told_at' | 'ends_at'> & {
  readonly at: number
  readonly ends_at: number | null
}

export type Leases = {
  /** Notes it for the API; resolves when a crash can no longer lose it. Never fails. */
  record(news: LeaseNews): Promise<void>
}

/** Addresses for machines that nobody told of, where a policy says that they get some. */
export type Automatic = {
  /**
   * Allocates an address, or finds the one that the client has. What comes back is also in `served`.
   * `refused`: there is none for it. `unavailable`: the API does not answer.
   */
  allocate(wish: {
    readonly network_id: string
    readonly version: 4 | 6
    /** By what it is known from now on: `clientIdOf` its names. */
    readonly client: ClientNames
    /** Where it is, if that is known: the blocks of these come first. */
    readonly block_id: string | null
    /** What it would like. */
    readonly address: string | null
    readonly host_name: string | null
    readonly lease_seconds: number | null
  }): Promise<ServedHost | 'refused' | 'unavailable'>
  /** Lets a hold last so long from now. */
  renew(wish: {
    readonly network_id: string
    readonly host_id: string
    readonly allocation_id: string
    readonly lease_seconds: number
  }): Promise<ServedHost | 'refused' | 'unavailable'>
}
