import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { formatAddress, type IpVersion, parseAddress } from '../../ip/address.ts'
import { DiscoveryError } from '../driver.ts'
import type { Group } from './places.ts'

type Shown = {
  readonly ifname: string
  readonly addr_info?: readonly { readonly local?: string }[]
}

/**
 * Where a Kea listens, as it writes it: `eth0`, or `eth0/192.0.2.1` for one address of it alone.
 *
 * @throws {DiscoveryError} if there is no such interface or address
 */
export async function interfacesOf(group: Group, version: IpVersion): Promise<string[]> {
  const devices = await listDevices(group.namespace)
  const direct = group.places.flatMap(place =>
    place.network.subnets.some(subnet => subnet.version === version) ? (place.interface ?? []) : [],
  )
  const where = group.namespace === null ? '' : ` in ${group.namespace}`
  const missing = direct.find(name => !devices.some(({ ifname }) => ifname === name))
  if (missing !== undefined) {
    throw new DiscoveryError(`networks: there is no interface ${missing}${where}`)
  }
  for (const name of direct) {
    const own = devices.find(({ ifname }) => ifname === name)?.addr_info ?? []
    if (own.some(({ local = '' }) => parseAddress(local)?.version === version)) continue
    throw new DiscoveryError(`networks: the interface ${name}${where} has no IPv${version} address`)
  }
  const relayed = group.relay_listen.flatMap(text => {
    const address = parseAddress(text)
    if (!address) throw new DiscoveryError(`relay_listen: ${text} is no address`)
    if (address.version !== version) return []
    const canonical = formatAddress(address)
    const device = devices.find(({ addr_info = [] }) =>
      addr_info.some(({ local }) => local === canonical),
    )
    if (!device) throw new DiscoveryError(`relay_listen: no interface has ${text}${where}`)
    // All addresses of an interface on which machines are heard are listened on in DHCPv4 already.
    const isHeard = version === 4 && direct.includes(device.ifname)
    return isHeard ? [] : [`${device.ifname}/${canonical}`]
  })
  return [...new Set([...direct, ...relayed])].toSorted()
}

async function listDevices(namespace: string | null): Promise<Shown[]> {
  const inside = namespace === null ? [] : ['-n', namespace]
  try {
    const { stdout } = await promisify(execFile)('ip', [...inside, '-json', 'addr', 'show'])
    return JSON.parse(stdout) as Shown[]
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim() || (cause as Error).message
    throw new DiscoveryError(`networks: interfaces cannot be listed: ${said}`, { cause })
  }
}
