import type { AddressInfo } from 'node:net'
import type { FastifyRequest } from 'fastify'

const host = /^([\w.-]{1,255}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?$/i

type Asked = Pick<FastifyRequest, 'host' | 'protocol' | 'socket'>

/**
 * Where the client says that it reached us, for the links of its answer, such as `https://ipam.example:9898`.
 * Anybody can write anything into `Host`: nothing else may follow from it.
 */
export function originOf({ host: named, protocol, socket }: Asked): string {
  const isNamed = host.test(named ?? '') && URL.canParse(`http://${named}`)
  const { localAddress = 'localhost', localPort = 80 } = socket
  const own = localAddress.includes(':') ? `[${localAddress}]` : localAddress
  // A proxy may write anything into X-Forwarded-Proto, too.
  const scheme = protocol === 'https' ? 'https' : 'http'
  return `${scheme}://${isNamed ? named : `${own}:${localPort}`}`
}

/** Where a server listens. */
export function urlOf({ address, family, port }: AddressInfo, scheme: 'http' | 'https'): string {
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
