import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import type { Program } from './programs.ts'
import { waitUntil } from './race-load.ts'

const run = promisify(execFile)

/** A UDP packet as it was on a link. */
export type Seen = {
  readonly version: 4 | 6
  readonly from: { readonly address: string; readonly port: number }
  readonly to: { readonly address: string; readonly port: number }
  readonly payload: Buffer
}

/** What tcpdump writes down of a link. */
export class Capture {
  readonly file: string
  readonly #tcpdump: Program

  constructor(file: string, tcpdump: Program) {
    this.file = file
    this.#tcpdump = tcpdump
  }

  /** All packets so far. */
  seen(): Seen[] {
    return readPackets(readFileSync(this.file))
  }

  /** Waits for a packet that fits, among those from the `from`th on. */
  async sees(what: string, fits: (packet: Seen) => boolean, from = 0): Promise<Seen> {
    let found: Seen | undefined
    await waitUntil(
      `a packet: ${what}`,
      () => {
        found = this.seen().slice(from).find(fits)
        return found !== undefined
      },
      20,
    )
    return found as Seen
  }

  async stop(): Promise<void> {
    await this.#tcpdump.stop('SIGINT')
  }
}

/** What Wireshark finds wrong with the packets of a file; nothing if all are well-formed DHCP. */
export async function problemsIn(file: string): Promise<string[]> {
  const read = (...more: string[]) =>
    run('tshark', ['-n', '-r', file, ...more], { maxBuffer: 64 << 20 })
  const fields = [
    '-T',
    'fields',
    '-e',
    'frame.number',
    '-e',
    'frame.protocols',
    '-e',
    '_ws.col.Info',
  ]
  const [malformed, all] = await Promise.all([read('-Y', '_ws.malformed'), read(...fields)])
  const other = lines(all.stdout).filter(line => !/^\d+\t[a-z0-9:]*:(dhcp|dhcpv6)\t/.test(line))
  return [...lines(malformed.stdout), ...other].map(line => `${file}: ${line}`)
}

const lines = (text: string) => text.split('\n').filter(line => line !== '')

/**
 * The packets of a file in libpcap's format (pcap-savefile(5)) with Ethernet frames. The last one may
 * be half-written.
 */
function readPackets(bytes: Buffer): Seen[] {
  const found: Seen[] = []
  for (let place = 24; place + 16 <= bytes.length; ) {
    const end = place + 16 + bytes.readUInt32LE(place + 8)
    if (end > bytes.length) break
    const packet = readFrame(bytes.subarray(place + 16, end))
    if (packet) found.push(packet)
    place = end
  }
  return found
}

function readFrame(frame: Buffer): Seen | null {
  const kind = frame.readUInt16BE(12)
  const packet = frame.subarray(14)
  if (kind === 0x0800 && packet[9] === 17) {
    const address = (place: number) => packet.subarray(place, place + 4).join('.')
    const udp = packet.subarray(4 * ((packet[0] ?? 0) & 15))
    return { version: 4, ...readUdp(udp, address(12), address(16)) }
  }
  if (kind === 0x86dd && packet[6] === 17) {
    const address = (place: number) =>
      packet.toString('hex', place, place + 16).replace(/....(?!$)/g, '$&:')
    return { version: 6, ...readUdp(packet.subarray(40), address(8), address(24)) }
  }
  return null
}

const readUdp = (udp: Buffer, from: string, to: string) => ({
  from: { address: from, port: udp.readUInt16BE(0) },
  to: { address: to, port: udp.readUInt16BE(2) },
  payload: udp.subarray(8, udp.readUInt16BE(4)),
})
