import type { ClientNames } from '../../dhcp/client-names.ts'
import { macOfDuid } from '../../dhcp/v6/identity.ts'
import type { IpVersion } from '../../ip/address.ts'
import { clientIdOf, type DriverContext } from '../driver.ts'
import { classPrefix } from './configuration.ts'
import { createFailureReader, type Failure } from './failures.ts'
import { type FollowedFile, followFile } from './follow-file.ts'
import type { HostKey, Reservations } from './reservations.ts'

export type UnknownClients = {
  problems(): readonly string[]
  stop(): Promise<void>
}

export type UnknownOptions = {
  readonly context: Pick<DriverContext, 'served' | 'automatic' | 'log'>
  readonly version: IpVersion
  /** The files in which Kea says it. */
  readonly paths: readonly string[]
  readonly reservations: Reservations
  /** The network and block of a number of Kea. */
  readonly placeOf: (subnet_id: number) => { network_id: string; block_id: string } | null
  readonly onHost: (network_id: string, host_id: string) => void
  /** A host asked in vain for what it has: it calls itself by other names than when it got it. */
  readonly onRenamed: (key: HostKey, names: ClientNames) => Promise<void>
}

/** How many wait for the API at once: the others ask again by themselves. */
const waitingMax = 256
/** How long who was refused is not asked for again, and how many of these are remembered. */
const refusedMilliseconds = 30_000
const refusedMax = 10_000

/** Learns from Kea's log who asked in vain, and sees to it that the next time there is an address. */
export async function helpUnknownClients(options: UnknownOptions): Promise<UnknownClients> {
  const { context, version, paths, reservations, placeOf, onHost, onRenamed } = options
  const { served, automatic, log } = context
  const waiting = new Set<string>()
  const refused = new Map<string, number>()
  let fault: string | null = null
  let isCaughtUp = false

  async function help({ subnet_id, network_name, client }: Failure): Promise<void> {
    const place = subnet_id === null ? null : placeOf(subnet_id)
    const network_id = place?.network_id ?? network_name?.slice(classPrefix.length) ?? ''
    const mac = client.mac_address ?? macIn(client.duid)
    const host_id = reservations.knownAs(network_id, { ...client, mac_address: mac })
    if (host_id !== null) return onRenamed({ network_id, host_id }, client)
    const subnets = served.get(network_id)?.network.subnets ?? []
    const isOpen = subnets.some(one => one.version === version && one.unknown_clients !== null)
    if (!isOpen || (version === 6 && client.iaid === null)) return
    const names = namesFor(version, client)
    const id = clientIdOf(names)
    const key = `${network_id} ${id}`
    if (id === null || waiting.has(key) || waiting.size >= waitingMax) return
    if ((refused.get(key) ?? 0) > Date.now()) return
    waiting.add(key)
    try {
      const block_id = place?.block_id ?? null
      const wish = { network_id, version, client: names, block_id, address: null, host_name: null }
      const answer = await automatic.allocate({ ...wish, lease_seconds: null })
      if (answer === 'refused') forgetLongAgo().set(key, Date.now() + refusedMilliseconds)
      else if (answer !== 'unavailable') onHost(network_id, answer.id)
    } catch (error) {
      log.error({ err: error, client: id }, 'no address could be asked for')
    } finally {
      waiting.delete(key)
    }
  }

  function forgetLongAgo(): Map<string, number> {
    if (refused.size >= refusedMax) refused.clear()
    return refused
  }

  const readFailure = createFailureReader()
  const files: FollowedFile[] = []
  for (const path of paths) {
    const file = await followFile({
      path,
      async take(lines) {
        // Who asked before this began asks again.
        if (!isCaughtUp) return
        for (const line of lines) {
          const failure = readFailure(line)
          if (failure) void help(failure)
        }
      },
      onError: error => {
        fault = `${path}: ${error.message}`
      },
    })
    files.push(file)
  }
  isCaughtUp = true
  return {
    problems: () => (fault === null ? [] : [fault]),
    async stop() {
      for (const file of files) await file.close()
    },
  }
}

/** The MAC that is in a DUID (RFC 8415 §11.2, §11.4). */
function macIn(duid: string | null): string | null {
  const mac = duid === null ? null : macOfDuid(Buffer.from(duid, 'hex'))
  return mac === null ? null : (mac.match(/../g) ?? []).join(':')
}

/** As the API calls the client from then on. */
function namesFor(
  version: IpVersion,
  { mac_address, client_id, duid, iaid }: ClientNames,
): ClientNames {
  if (version === 6) return { mac_address, client_id: null, duid, iaid }
  const other = mac_address === null ? client_id : null
  return { mac_address, client_id: other, duid: null, iaid: null }
}
