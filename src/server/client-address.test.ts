import type { FastifyRequest } from 'fastify'
import { expect, test } from 'vitest'
import { networkOf, readClientAddress } from './client-address.ts'

const read = (ip: string | undefined, remoteAddress?: string) =>
  readClientAddress({ ip, socket: { remoteAddress } } as Pick<FastifyRequest, 'ip' | 'socket'>)

test('only an address is one', () => {
  expect(read('192.0.2.1')).toBe('192.0.2.1')
  expect(read('::ffff:192.0.2.1')).toBe('192.0.2.1')
  expect(read('fe80::1%eth0')).toBe('fe80::1')
  expect(read('secret', '192.0.2.9')).toBe('192.0.2.9')
  expect(read(undefined)).toBe('')
})

test('a host of IPv6 is a network, one of IPv4 is itself', () => {
  expect(networkOf('192.0.2.1')).toBe('192.0.2.1')
  expect(networkOf('2001:db8::1')).toBe(networkOf('2001:0db8::ffff:1:2:3'))
  expect(networkOf('2001:db8::1')).not.toBe(networkOf('2001:db8:0:1::1'))
  expect(networkOf('::1')).toBe('0/64')
})
