import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Stands before a server, hands requests on, and keeps the answers for itself. */
export class SwallowingProxy {
  readonly url: string
  readonly #server: Server
  readonly #sockets: Set<Socket>
  readonly #parts: string[]

  private constructor(server: Server, sockets: Set<Socket>, parts: string[]) {
    this.#server = server
    this.#sockets = sockets
    this.#parts = parts
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(target: string): Promise<SwallowingProxy> {
    const { hostname, port } = new URL(target)
    const sockets = new Set<Socket>()
    const parts: string[] = []
    const server = createServer(client => {
      const upstream = connect(Number(port), hostname)
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(one)
        one.on('error', () => one.destroy())
        one.on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
      }
      client.pipe(upstream)
      upstream.setEncoding('utf8').on('data', (part: string) => parts.push(part))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new SwallowingProxy(server, sockets, parts)
  }

  /** The body of the one answer that the server has given; null until all of it has come. */
  get swallowed(): string | null {
    const text = this.#parts.join('')
    const [head = '', body] = text.split('\r\n\r\n', 2)
    const length = /^content-length: (\d+)$/im.exec(head)?.[1] ?? '0'
    return body !== undefined && Buffer.byteLength(body) >= Number(length) ? body : null
  }

  /** Cuts all connections, and takes no more. */
  async cut(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
