import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { parseAddress } from '../ip/address.ts'

/**
 * The address of the client: that of the peer, or the one that trusted proxies tell. What they pass on
 * may be any text, and only an address is one.
 */
export function readClientAddress({ ip, socket }: Pick<FastifyRequest, 'ip' | 'socket'>): string {
  const address = isIP(ip ?? '') === 0 ? (socket.remoteAddress ?? '') : ip
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? []
  return mapped ?? address.replace(/%.*$/, '')
}

/**
 * What counts as one client: an IPv4 address, or the /64 of an IPv6 address, of which a host
 * may choose any.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const parsed = parseAddress(address)
  return parsed === null ? address : `${(parsed.value >> 64n).toString(16)}/64`
}
