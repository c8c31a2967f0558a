import type { ClientNames } from '../../dhcp/client-names.ts'
import type { IpVersion } from '../../ip/address.ts'

/** A machine that asked in vain, as Kea's log says it. */
export type Failure = {
  /** By one of both it is known where it asked. */
  readonly subnet_id: number | null
  readonly network_name: string | null
  readonly client: ClientNames
}

/** Kea's names of its messages are part of its interface; the text behind them may change. */
const failed =
  /ALLOC_ENGINE_V([46])_ALLOC_FAIL_(SUBNET|SHARED_NETWORK) (.*?, tid=0x[0-9a-f]+): (.*)$/
const associated =
  /DHCP6_LEASE_(?:ADVERT|ALLOC)_FAIL (.*?, tid=0x[0-9a-f]+): .*\biaid=([0-9]{1,10})$/

/** How many failures wait for what else is said of them. */
const waitingMax = 1000

/**
 * What lines say of machines that asked in vain. Of DHCPv6 clients the association is said in a line of
 * its own, in another file, and only if it is one of addresses: then a failure is told once more.
 */
export function createFailureReader(): (line: string) => Failure | null {
  const failures = new Map<string, Failure>()
  const associations = new Map<string, number>()

  function keep<V>(waiting: Map<string, V>, label: string, value: V): null {
    waiting.delete(label)
    waiting.set(label, value)
    for (const [oldest] of waiting) if (waiting.size > waitingMax) waiting.delete(oldest)
    return null
  }

  function join(failure: Failure, iaid: number, label: string): Failure {
    failures.delete(label)
    associations.delete(label)
    return { ...failure, client: { ...failure.client, iaid } }
  }

  return line => {
    const [, label, text = ''] = associated.exec(line) ?? []
    if (label !== undefined) {
      const failure = failures.get(label)
      return failure ? join(failure, Number(text), label) : keep(associations, label, Number(text))
    }
    const found = readFailure(line)
    if (!found || found.version === 4) return found?.failure ?? null
    const iaid = associations.get(found.label)
    if (iaid !== undefined) return join(found.failure, iaid, found.label)
    keep(failures, found.label, found.failure)
    return found.failure
  }
}

function readFailure(line: string): { version: IpVersion; label: string; failure: Failure } | null {
  const [, number, kind, label = '', text = ''] = failed.exec(line) ?? []
  if (number === undefined) return null
  const subnet = /subnet-id (\d+)/.exec(text)?.[1]
  const network = /shared network (\S+?):? /.exec(`${text} `)?.[1]
  const isShared = kind === 'SHARED_NETWORK'
  if (isShared ? network === undefined : subnet === undefined) return null
  const version = number === '4' ? 4 : 6
  const failure = {
    subnet_id: isShared ? null : Number(subnet),
    network_name: isShared ? (network ?? null) : null,
    client: readClient(version, label),
  }
  return { version, label, failure }
}

const octets = '((?:[0-9a-f]{2}:)*[0-9a-f]{2})'
const ethernet = /\[hwtype=1 ((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\]/i
const clientId = new RegExp(`cid=\\[${octets}\\]`, 'i')
const duid = new RegExp(`duid=\\[${octets}\\]`, 'i')

function readClient(version: IpVersion, label: string): ClientNames {
  const hex = (found: RegExpExecArray | null) =>
    found?.[1]?.replaceAll(':', '').toLowerCase() ?? null
  const mac_address = ethernet.exec(label)?.[1]?.toLowerCase() ?? null
  return version === 4
    ? { mac_address, client_id: hex(clientId.exec(label)), duid: null, iaid: null }
    : { mac_address, client_id: null, duid: hex(duid.exec(label)), iaid: null }
}
