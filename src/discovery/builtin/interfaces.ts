import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { promisify } from 'node:util'

/** A network interface. Addresses are in canonical form, without zones. */
export type Interface = {
  readonly name: string
  /** The kernel's number: another one under the same name is another interface. */
  readonly index: number
  readonly is_up: boolean
  readonly is_loopback: boolean
  readonly v4: readonly string[]
  readonly v6: readonly string[]
}

/** A network namespace as it is now. */
export type Surroundings = {
  /** Another one under the same name is another namespace. */
  readonly number: number
  readonly interfaces: readonly Interface[]
}

/** Linux, `include/uapi/linux/if.h`. */
const flags = { up: 0x1, loopback: 0x8 }

/** The namespace of this process. */
export function ownSurroundings(): Surroundings {
  const addresses = networkInterfaces()
  const interfaces = readdirSync('/sys/class/net').flatMap((name): Interface[] => {
    const read = (file: string) => Number(readFileSync(`/sys/class/net/${name}/${file}`, 'utf8'))
    try {
      const bits = read('flags')
      const of = (family: 'IPv4' | 'IPv6') =>
        (addresses[name] ?? []).filter(one => one.family === family).map(one => one.address)
      return [
        {
          name,
          index: read('ifindex'),
          is_up: (bits & flags.up) !== 0,
          is_loopback: (bits & flags.loopback) !== 0,
          v4: of('IPv4'),
          v6: of('IPv6'),
        },
      ]
    } catch {
      return [] // It went meanwhile, or is no interface.
    }
  })
  return { number: 0, interfaces }
}

const run = promisify(execFile)

type IpLink = {
  readonly ifname?: string
  readonly ifindex?: number
  readonly flags?: readonly string[]
  readonly addr_info?: readonly {
    readonly family?: string
    readonly local?: string
    /** Nothing can be bound to it yet, or ever (RFC 4862 §5.4). */
    readonly tentative?: boolean
    readonly dadfailed?: boolean
  }[]
}

/**
 * A namespace that `ip netns` knows.
 *
 * @throws {Error} if there is none of that name, or it cannot be looked into
 */
export async function surroundingsOf(namespace: string): Promise<Surroundings> {
  const number = statSync(`/run/netns/${namespace}`).ino
  const asked = ['-json', '-netns', namespace, 'address', 'show']
  const { stdout } = await run('ip', asked, { timeout: 5000, maxBuffer: 1 << 24 })
  const links = JSON.parse(stdout || '[]') as readonly IpLink[]
  const interfaces = links.map(({ ifname = '', ifindex = 0, flags = [], addr_info = [] }) => {
    const of = (family: string) =>
      addr_info
        .filter(one => !one.tentative && !one.dadfailed)
        .flatMap(one => (one.family === family && one.local ? [one.local] : []))
    return {
      name: ifname,
      index: ifindex,
      is_up: flags.includes('UP'),
      is_loopback: flags.includes('LOOPBACK'),
      v4: of('inet'),
      v6: of('inet6'),
    }
  })
  return { number, interfaces }
}
