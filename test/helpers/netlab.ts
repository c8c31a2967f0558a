import { execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Capture } from './capture.ts'
import { Program } from './programs.ts'

const run = promisify(execFile)
const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
/** The same as dhcp_programs of scripts/install-debian-packages.sh. */
const programs = [
  ...['dnsmasq', 'kea-dhcp4', 'kea-dhcp6', 'kea-admin', 'perfdhcp', 'dhclient', 'dhcrelay'],
  ...['udhcpc', 'dhcpcd', 'tshark', 'tcpdump', 'ip', 'gcc'],
]

/** What is missing here for labs, a line each. */
export function missingForLabs(): string[] {
  const missing = programs.filter(name => !folders.some(folder => existsSync(join(folder, name))))
  return [
    ...(process.getuid?.() === 0 ? [] : ['root, who alone may make network namespaces']),
    ...(missing.length > 0 ? [`${missing.join(', ')}: npm run setup:debian -- dhcp`] : []),
  ]
}

/** Ends all that runs in the namespaces whose names begin so, and removes them and a folder. */
const takeDown = `
read -r end_of_input
for space in $(ip netns list | sed 's/ .*//' | grep "^$1"); do
  for pid in $(ip netns pids "$space"); do kill -9 "$pid"; done
  ip netns del "$space"
done
rm -rf "$2"`

const resolvers = () =>
  existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : ''

let labs = 0

/**
 * Network namespaces of a test, and what runs in them. They go with `close`, and with this process,
 * however it ends.
 *
 * @throws if programs or rights are missing, and says which
 */
export function openLab(): Lab {
  const missing = missingForLabs()
  if (missing.length > 0) throw new Error(`Tests of discovery need ${missing.join('\nand ')}`)
  labs += 1
  return new Lab(`ml-${process.pid}-${labs}-`)
}

export type Attachment = {
  /** The name of its device in the namespace. */
  readonly device: string
  readonly mac?: string
  /** With their prefix lengths. */
  readonly addresses?: readonly string[]
}

export class Lab {
  /** For files of the test; it goes with the lab. */
  readonly folder = mkdtempSync(join(tmpdir(), 'melange-lab-'))
  readonly #prefix: string
  readonly #resolvers = resolvers()
  readonly #segments: Segment[] = []
  readonly #guard

  constructor(prefix: string) {
    this.#prefix = prefix
    // It reads until the end of its input, which comes when this process ends, even by SIGKILL.
    this.#guard = spawn('sh', ['-c', takeDown, 'sh', prefix, this.folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#guard.unref()
  }

  /** A new namespace, whose devices have their IPv6 addresses at once. */
  async space(name: string): Promise<Space> {
    const space = new Space(this.#prefix + name, this)
    await ip('netns', 'add', space.name)
    const settings = [
      ...['all', 'default'].flatMap(which => [
        `net.ipv6.conf.${which}.accept_dad=0`,
        `net.ipv6.conf.${which}.dad_transmits=0`,
        `net.ipv6.conf.${which}.router_solicitations=0`,
        `net.ipv4.conf.${which}.rp_filter=0`,
      ]),
      // Each of a crowd of clients in one namespace may have neighbours of its own.
      'net.ipv4.conf.all.arp_ignore=1',
    ]
    const values = settings.map(setting => {
      const [key = '', value = ''] = setting.split('=')
      return `echo ${value} > /proc/sys/${key.replaceAll('.', '/')}`
    })
    await space.run('sh', '-ec', values.join('\n'))
    await space.ip('link', 'set', 'lo', 'up')
    return space
  }

  /** A new layer-2 segment: a bridge in a namespace of its own. */
  async segment(name: string): Promise<Segment> {
    const segment = new Segment(await this.space(name))
    await segment.open()
    this.#segments.push(segment)
    return segment
  }

  /** All captures of its segments, ended. */
  async captured(): Promise<Capture[]> {
    const captures = this.#segments.flatMap(({ captures }) => captures)
    await Promise.all(captures.map(capture => capture.stop()))
    return captures
  }

  /** Ends what runs in it and removes it. @throws if a program has changed the host's resolv.conf */
  async close(): Promise<void> {
    this.#guard.kill('SIGKILL')
    const { status, stderr } = spawnSync('sh', ['-c', takeDown, 'sh', this.#prefix, this.folder], {
      input: '',
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`the lab was not taken down: ${stderr}`)
    if (resolvers() !== this.#resolvers) throw new Error('/etc/resolv.conf has changed')
  }
}

/** A network namespace. */
export class Space {
  /** As `ip netns` has it. */
  readonly name: string
  readonly lab: Lab

  constructor(name: string, lab: Lab) {
    this.name = name
    this.lab = lab
  }

  /** Runs a program in it to its end; returns what it wrote. @throws if its status is not 0 */
  async run(...command: string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.name, ...command])).stdout
  }

  /** Starts a program in it. */
  start(...command: string[]): Program {
    return new Program(['ip', 'netns', 'exec', this.name, ...command])
  }

  /** Runs `ip` for it. */
  ip(...args: string[]): Promise<string> {
    return ip('-n', this.name, ...args)
  }

  /** The IPv4 and IPv6 addresses of a device, but for link-local ones. */
  async addresses(device: string): Promise<string[]> {
    const shown = JSON.parse(await this.ip('-json', 'addr', 'show', 'dev', device)) as {
      addr_info: { local: string; prefixlen: number; scope: string }[]
    }[]
    return shown
      .flatMap(({ addr_info }) => addr_info)
      .filter(({ scope }) => scope === 'global')
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
  }

  /** Lets packets to an IPv4 address get lost: its neighbour is said to be someone who is not there. */
  async lose(address: string, device: string): Promise<void> {
    const nobody = ['lladdr', '02:00:00:00:de:ad', 'dev', device, 'nud', 'permanent']
    await this.ip('neigh', 'replace', address, ...nobody)
  }

  /** Lets packets to an address through again. */
  async find(address: string, device: string): Promise<void> {
    await this.ip('neigh', 'del', address, 'dev', device)
  }
}

/** A layer-2 segment. */
export class Segment {
  readonly captures: Capture[] = []
  readonly #space: Space
  #ports = 0

  constructor(space: Space) {
    this.#space = space
  }

  async open(): Promise<void> {
    // Multicast goes to all, without having to be asked for.
    const bridge = ['type', 'bridge', 'mcast_snooping', '0', 'forward_delay', '0']
    await this.#space.ip('link', 'add', 'br0', ...bridge)
    await this.#space.ip('link', 'set', 'br0', 'up')
  }

  /** Joins a namespace to it by a device of its own. */
  async attach(space: Space, { device, mac, addresses = [] }: Attachment): Promise<void> {
    this.#ports += 1
    const port = `p${this.#ports}`
    const hardware = mac === undefined ? [] : ['address', mac]
    const near = [device, 'netns', space.name, ...hardware]
    const far = ['type', 'veth', 'peer', 'name', port, 'netns', this.#space.name]
    await ip('link', 'add', ...near, ...far)
    await this.#space.ip('link', 'set', port, 'master', 'br0', 'up')
    await space.ip('link', 'set', device, 'up')
    for (const address of addresses) await space.ip('addr', 'add', address, 'dev', device)
  }

  /** A namespace with one device on it, `eth0`. */
  async machine(name: string, more: Partial<Attachment> = {}): Promise<Space> {
    const space = await this.#space.lab.space(name)
    await this.attach(space, { device: 'eth0', ...more })
    return space
  }

  /** Writes down all DHCP packets on it from now on. */
  async capture(): Promise<Capture> {
    const file = join(this.#space.lab.folder, `${this.#space.name}-${this.captures.length}.pcap`)
    const ports = 'udp and (port 67 or port 68 or port 546 or port 547)'
    const flags = ['-i', 'br0', '-n', '-U', '--immediate-mode', '-s', '0', '-w', file]
    const tcpdump = this.#space.start('tcpdump', ...flags, ports)
    await tcpdump.heard(/listening on/)
    const capture = new Capture(file, tcpdump)
    this.captures.push(capture)
    return capture
  }
}

/** Runs `ip`. @throws with what it said */
async function ip(...args: string[]): Promise<string> {
  return (await run('ip', args)).stdout
}
