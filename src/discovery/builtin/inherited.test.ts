import { expect, test } from 'vitest'
import { devicesIn, inheritedSockets } from './inherited.ts'

test('sockets are handed over by name, and to this process only', () => {
  const environment = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'eth0:eth1:eth2' }
  const given = inheritedSockets(environment, 7)
  expect([...given]).toEqual([
    ['eth0', 3],
    ['eth1', 4],
  ])
  expect(inheritedSockets(environment, 8).size).toBe(0)
  expect(inheritedSockets({}, 7).size).toBe(0)
})

test('to which interfaces sockets are bound is read from ss', () => {
  const table = [
    'UNCONN 0      0      0.0.0.0%eth0:67        0.0.0.0:*          ',
    'UNCONN 0      0           0.0.0.0:67        0.0.0.0:*          ',
    'UNCONN 0      0      [::]%br-1.5:547             *:*          ',
    'UNCONN 0      0      [ff02::1:2%vlan7]:547       *:*          ',
  ].join('\n')
  expect([...devicesIn(table)]).toEqual(['eth0', 'br-1.5', 'vlan7'])
})
