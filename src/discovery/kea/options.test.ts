import { expect, test } from 'vitest'
import { bootOf, toldBy } from './options.ts'

const hex = (text: string) => Buffer.from(text).toString('hex')

test('what Kea tells by itself is no option, and all else is bytes', () => {
  const told = toldBy(4, [
    { code: 1, value: '255.255.255.0' },
    { code: 15, value: 'example.com' },
    { code: 51, value: 600 },
    { code: 224, value: 'deadbeef' },
  ])
  expect(told.options).toEqual([
    { code: 15, hex: hex('example.com') },
    { code: 224, hex: 'deadbeef' },
  ])
  expect(told).toMatchObject({ lease_seconds: 600, renewal_seconds: null })
})

test('routes are told by both numbers, unless the other has its own', () => {
  const routes = { code: 121, value: [{ destination: '192.0.2.0/24', gateway: '10.0.0.9' }] }
  const own = { code: 249, value: [{ destination: '198.51.100.0/24', gateway: '10.0.0.9' }] }
  const codesOf = (options: Parameters<typeof toldBy>[1]) => toldBy(4, options).options
  const [first, second, ...more] = codesOf([routes])
  expect(first).toEqual({ code: 121, hex: '18c000020a000009' })
  expect(second).toEqual({ code: 249, hex: first?.hex })
  expect(more).toEqual([])
  expect(codesOf([routes, own]).map(option => option.hex)).toEqual([
    '18c000020a000009',
    '18c633640a000009',
  ])
})

test('a server to boot from is an address, or a name that fits', () => {
  expect(bootOf('10.0.0.9', 'a.img')).toEqual({
    next_server: '10.0.0.9',
    server_hostname: null,
    boot_file_name: 'a.img',
    options: [
      { code: 66, hex: hex('10.0.0.9') },
      { code: 67, hex: hex('a.img') },
    ],
  })
  expect(bootOf('tftp.example', null)).toMatchObject({
    next_server: null,
    server_hostname: 'tftp.example',
    boot_file_name: null,
  })
  const long = bootOf('h'.repeat(64), 'f'.repeat(128))
  expect(long).toMatchObject({ server_hostname: null, boot_file_name: null })
  expect(long.options.map(option => option.hex.length)).toEqual([128, 256])
  const { boot } = toldBy(4, [{ code: 150, value: ['10.0.0.7', '10.0.0.8'] }])
  expect(boot).toMatchObject({ next_server: '10.0.0.7', options: [] })
})

test('nobody is told to unicast', () => {
  expect(toldBy(6, [{ code: 12, value: 'fd00::1' }]).options).toEqual([])
})
