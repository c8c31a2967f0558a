import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Space } from './netlab.ts'
import { waitUntil } from './race-load.ts'

const helper = fileURLToPath(new URL('./udp-sockets.mjs', import.meta.url))

type Peer = { readonly address: string; readonly port: number }
/** What came to one of the ports of a client; `place` is the port, as `4:68`. */
export type Received = { readonly place: string; readonly from: Peer; readonly bytes: Buffer }

/**
 * Sends packets from within a namespace just as a test has made them, and keeps what comes back: what
 * real clients do not do. Without an address of its own it sends broadcasts from 0.0.0.0.
 */
export class PacketClient {
  readonly received: Received[] = []
  readonly #child: ChildProcess
  readonly #problems: string[] = []

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (part: string) => this.#problems.push(part))
    child.on('message', (message: { place: string; from?: Peer; hex?: string; error?: string }) => {
      const { place, from, hex, error } = message
      if (error) this.#problems.push(`${place}: ${error}`)
      if (from && hex) this.received.push({ place, from, bytes: Buffer.from(hex, 'hex') })
    })
  }

  /** `places` are the ports that it has: 68 and 546 of a client, 67 and 547 of a relay. */
  static async open(
    space: Space,
    { device = 'eth0', places = ['4:68', '6:546'] } = {},
  ): Promise<PacketClient> {
    await space.ip('route', 'replace', '255.255.255.255/32', 'dev', device)
    const command = ['netns', 'exec', space.name, process.execPath, helper, device, ...places]
    const child = spawn('ip', command, {
      env: { PATH: process.env.PATH },
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    const client = new PacketClient(child)
    let isReady = false
    child.once('message', () => {
      isReady = true
    })
    await waitUntil('a packet client is ready', () => client.#looksWell() && isReady, 20)
    return client
  }

  /** Sends to all servers of the link, unless told otherwise. */
  send(
    bytes: Uint8Array,
    { place = '4:68', to }: { place?: string; to?: Partial<Peer> } = {},
  ): void {
    this.#looksWell()
    const everybody =
      place[0] === '4'
        ? { address: '255.255.255.255', port: 67 }
        : { address: 'ff02::1:2', port: 547 }
    const hex = Buffer.from(bytes).toString('hex')
    this.#child.send({ place, to: { ...everybody, ...to }, hex })
  }

  /** Waits for a packet that fits, among those from the `from`th on. */
  async receives(what: string, fits: (packet: Received) => boolean, from = 0): Promise<Received> {
    let found: Received | undefined
    await waitUntil(
      `an answer: ${what}`,
      () => {
        this.#looksWell()
        found = this.received.slice(from).find(fits)
        return found !== undefined
      },
      20,
    )
    return found as Received
  }

  close(): void {
    this.#child.kill()
  }

  #looksWell(): true {
    if (this.#problems.length > 0) throw new Error(this.#problems.join('\n'))
    if (this.#child.exitCode !== null) throw new Error('the packet client has ended')
    return true
  }
}
