import type { ClientNames } from '../../dhcp/client-names.ts'
import type { IpVersion } from '../../ip/address.ts'

/** A machine that asked in vain, as a line of Kea's log says it. */
export type Failure = {
  /** By one of both it is known where it asked. */
  readonly subnet_id: number | null
  readonly network_name: string | null
  readonly client: ClientNames
}

/** Kea's names of these messages are part of its interface; the text behind them may change. */
const message =
  /ALLOC_ENGINE_V([46])_ALLOC_FAIL_(SUBNET|SHARED_NETWORK) (.*?), tid=0x[0-9a-f]+: (.*)$/

/** What a line says, if it tells of a machine that asked in vain. */
export function readFailure(line: string): Failure | null {
  const [, version, kind, label = '', text = ''] = message.exec(line) ?? []
  if (version === undefined) return null
  const subnet = /subnet-id (\d+)/.exec(text)?.[1]
  const network = /shared network (\S+?):? /.exec(`${text} `)?.[1]
  const isShared = kind === 'SHARED_NETWORK'
  if (isShared ? network === undefined : subnet === undefined) return null
  return {
    subnet_id: isShared ? null : Number(subnet),
    network_name: isShared ? (network ?? null) : null,
    client: readClient(version === '4' ? 4 : 6, label),
  }
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
