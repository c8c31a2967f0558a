import { describe, expect, test } from 'vitest'
import { formatAddress } from '../ip/address.ts'
import { formatMac, formatMacPrefix } from '../ip/mac.ts'
import { formatPrefix } from '../ip/prefix.ts'
import { octetsOf, offsetsOf } from './exclusions.ts'
import { askedFormat, askedVersion, readPath } from './negotiate.ts'
import {
  integerOf,
  readAddress,
  readMac,
  readMacPrefix,
  readNetwork,
  showAddress,
  showMask,
  Timestamp,
} from './values.ts'
import { writeXml } from './xml-write.ts'

test.each([
  ['10.1.1.77/24', '10.1.1.0/24'],
  ['10/8', '10.0.0.0/8'],
  ['10.5/16', '10.5.0.0/16'],
  ['10.0.0.9', '10.0.0.9/32'],
  ['10.0.0.9/255.255.255.0', '10.0.0.0/24'],
  ['10.0.0.9/0.0.0.255', '10.0.0.0/24'],
  ['10.0.0.0/0.0.0.0', '0.0.0.0/0'],
  ['10.0.0.1/255.255.255.255', '10.0.0.1/32'],
  ['FD00::1', 'fd00::1/128'],
  ['fd00::1/ffff:ffff::', 'fd00::/32'],
])('%s is the network %s', (text, network) => {
  const prefix = readNetwork(text)
  expect(prefix && formatPrefix(prefix)).toBe(network)
})

test.each([
  '',
  'bad',
  '10/33',
  '10.0.0.0/255.0.255.0',
  '10.0.0.0/8/8',
  '1.2.3.4.5',
  '256/8',
  10,
  null,
])('%j is no network', value => expect(readNetwork(value)).toBeNull())

test.each([
  [7, 7],
  [1.9, 1],
  [-1.9, -1],
  ['7', 7],
  [' -7 ', -7],
  [true, 1],
  ['1.5', null],
  ['', null],
  [null, null],
  [{}, null],
  [1e300, null],
])('%j is the integer %j', (value, integer) => expect(integerOf(value)).toBe(integer))

describe('ranges as offsets', () => {
  test.each([
    [[{ offset: 10, length: 2 }], [['10', '11']]],
    [[{ offset: -3, length: 50 }], [['-3', '-1']]],
    [[{ offset: -5, length: 2 }], [['-5', '-4']]],
    [[{ offset: 0, length: 0 }], [['0', '0']]],
    [[{ offset: 3, length: 0 }], []],
    [
      [
        { offset: 2, length: 2 },
        { offset: 0, length: 2 },
      ],
      [['0', '3']],
    ],
    [
      [
        { offset: -1, length: 1 },
        { offset: 0, length: 1 },
      ],
      [
        ['-1', '-1'],
        ['0', '0'],
      ],
    ],
  ])('%j are %j', (ranges, offsets) => {
    expect(offsetsOf(ranges)).toEqual(offsets.map(([from, to]) => ({ from, to })))
  })

  test('there is an end to how many a policy holds, and octets leave one', () => {
    const ranges = Array.from({ length: 65 }, (_, n) => ({ offset: 2 * n, length: 1 }))
    expect(() => offsetsOf(ranges)).toThrow('64 separate ranges')
    const octets = Array.from({ length: 256 }, (_, octet) => ({ octet }))
    expect(() => octetsOf(octets)).toThrow('leave an octet')
    expect(octetsOf([{ octet: 300 }, { octet: -1 }, { octet: 7 }])).toEqual([7])
  })
})

test('versions are those of the path, else of the Accept header', () => {
  const accept = 'application/vnd.openstack.melange+json;version=1.0'
  expect(askedVersion('/v0.1/ipam', accept)).toEqual({ version: '0.1', path: '/ipam' })
  expect(askedVersion('/ipam', accept)).toEqual({ version: '1.0', path: '/ipam' })
  expect(askedVersion('/ipam', `${accept}1`)).toMatchObject({ version: null, isUnsupported: true })
  expect(askedVersion('/ipam', undefined)).toMatchObject({ version: null, isUnsupported: false })
})

test.each([
  ['/a.xml', 'application/json', 'xml'],
  ['/a', 'application/xml', 'xml'],
  ['/a', 'application/json;q=0.1, application/xml;q=0.9', 'xml'],
  ['/a', 'text/html, */*', 'json'],
  ['/a', undefined, 'json'],
])('%s with %s is answered in %s', (path, accept, format) => {
  expect(askedFormat(path, accept)).toBe(format)
})

test('values are written as the original writes them', () => {
  const time = new Timestamp('2012-05-21T18:00:41.123456Z')
  expect(JSON.stringify(time)).toBe('"2012-05-21T18:00:41"')
  expect(writeXml('t', time)).toBe('<t>2012-05-21 18:00:41.123456</t>')
  expect(writeXml('policies', [{ a: null, b: 1 }])).toBe(
    '<policies><policie><a>None</a><b>1</b></policie></policies>',
  )
  expect(showAddress('fd00::a')).toBe('fd00:0000:0000:0000:0000:0000:0000:000a')
  expect(showMask({ version: 4, length: 29, first: 0n })).toBe('255.255.255.248')
  expect(showMask({ version: 6, length: 48, first: 0n })).toBe('48')
})

test.each([
  ['10.3', '10.0.0.3'],
  ['10.256', '10.0.1.0'],
  ['3', '0.0.0.3'],
  ['10.1.65535', '10.1.255.255'],
  ['10.1.65536', null],
  ['256.1', null],
  ['4294967296', null],
  ['010.0.0.1', null],
  ['0x0a000001', null],
  ['FD00::0001', 'fd00::1'],
  ['', null],
])('%j is the address %j', (text, address) => {
  const read = readAddress(text)
  expect(read && formatAddress(read)).toBe(address)
})

test.each([
  ['ae:1:2:3:4:5', 'ae:01:02:03:04:05'],
  ['AE-1-2-3-4-5', 'ae:01:02:03:04:05'],
  ['ae00:0102:305', 'ae:00:01:02:03:05'],
  ['ae.1.2', '00:ae:00:01:00:02'],
  ['ae0001-020305', 'ae:00:01:02:03:05'],
  ['ae0001020305', 'ae:00:01:02:03:05'],
  ['ae:1:2:3:4', null],
  ['ae:1:2:3:4:', null],
  ['ae:1:2:3:4:500', null],
  ['ae:1-2:3:4:5', null],
  ['', null],
])('%j is the MAC %j', (text, mac) => {
  const read = readMac(text)
  expect(read === null ? null : formatMac(read)).toBe(mac)
})

test.each([
  ['ae:00:01:0:0:4/47', 'ae:00:01:00:00:04/47'],
  ['ae:0:1:0:0:5/47', 'ae:00:01:00:00:04/47'],
  ['ae0001000004', 'ae:00:01:00:00:04/48'],
  ['ae:00:01:0:0:4/49', null],
  ['ae:00:01:0:0:4/47/1', null],
  ['x/47', null],
])('%j is the MAC range %j', (text, range) => {
  const read = readMacPrefix(text)
  expect(read && formatMacPrefix(read)).toBe(range)
})

test.each([
  ['/v0.1//ipam///x?a=//', '/v0.1/ipam/x'],
  ['/v0.1/ipam/x/', '/v0.1/ipam/x/'],
  ['/v0.1/ipam/x//', '/v0.1/ipam/x//'],
  ['/v0.1/%69pam/a%2Fb%2Ejson', '/v0.1/ipam/a/b.json'],
  ['/v0.1/%ff', null],
])('%j is the path %j', (url, path) => expect(readPath(url)).toBe(path))

test.each([
  ['application/xml, application/json', 'json'],
  ['*/*, application/xml', 'xml'],
  ['*/*;q=0.5, application/xml;q=0.4', 'json'],
  ['application/xml;q=2, application/json', 'json'],
  ['application/xml;q=0', 'json'],
])('of %j is given %s', (accept, format) => expect(askedFormat('/x', accept)).toBe(format))
