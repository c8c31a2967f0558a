import { describe, expect, test } from 'vitest'
import {
  askedWith,
  messages,
  option,
  replied,
  toldOf,
  type WorldFacts,
  worldOf,
} from '../../../test/helpers/dhcp4-world.ts'

const { discover } = messages
/** An offer to a client that asks for options by code, and may say more. */
const offerWith = (facts: WorldFacts, asked: readonly number[] | null, more = '') => {
  const list = asked ? option(55, Buffer.from(asked).toString('hex')) : ''
  return replied(askedWith(worldOf(facts), { options: discover + list + more }))
}
/** The options behind those of every offer. */
const toldBy = (...given: Parameters<typeof offerWith>) =>
  offerWith(...given).codes.filter(code => ![53, 54, 51, 58, 59].includes(code))
const routes = [{ destination: '192.0.2.0/24', gateway: '10.0.0.9' }]
const routesHex = '18c000020a000009'

describe('the request list', () => {
  test('says what is told, in its order, the mask first', () => {
    expect(toldBy({}, [6, 3, 1])).toEqual([1, 6, 3])
    expect(toldBy({}, [6, 99, 6])).toEqual([1, 6])
    expect(toldBy({}, [])).toEqual([1])
  })

  test('is not needed: who has none is told all, but for what IPv6 can do', () => {
    const set = { mtu: 1400, 'ipv6-only-preferred': 60, 'classless-routes': routes }
    expect(toldBy({ set }, null)).toEqual([1, 121, 3, 6, 26])
  })

  test('cannot ask for what belongs to the exchange', () => {
    const { codes } = offerWith({}, [82, 61, 51, 53, 54, 50, 0, 255])
    expect(codes).toEqual([53, 54, 51, 58, 59, 1])
  })

  test('gets classless routes before routers, and by either number (RFC 3442)', () => {
    const set = { 'classless-routes': routes }
    const { codes, options } = offerWith({ set }, [1, 3, 6, 121])
    expect(codes.slice(-4)).toEqual([1, 121, 3, 6])
    expect(options.get(121)).toBe(routesHex)
    const microsoft = offerWith({ set }, [1, 3, 249])
    expect(microsoft.codes.slice(-3)).toEqual([1, 249, 3])
    expect(microsoft.options.get(249)).toBe(routesHex)
    expect(toldBy({ set }, [121, 249])).toEqual([1, 121])
    const both = { ...set, 'microsoft-classless-routes': [{ ...routes[0], gateway: '10.0.0.8' }] }
    expect(offerWith({ set: both }, [121, 249]).options.get(249)).toBe('18c000020a000008')
  })
})

describe('options', () => {
  test('are those of the configuration, as bytes', () => {
    const set = {
      'domain-name': 'example.com',
      'domain-search': ['a.example.com', 'b.example.com'],
      'ntp-servers': ['10.0.0.4'],
      mtu: 1450,
      'vendor-options': '0104cafe',
      '224': 'beef',
    }
    const { options } = offerWith({ set }, [15, 119, 42, 26, 43, 224])
    expect(options.get(15)).toBe(Buffer.from('example.com').toString('hex'))
    expect(options.get(119)).toBe('0161076578616d706c6503636f6d000162c002')
    expect(options.get(42)).toBe('0a000004')
    expect(options.get(26)).toBe('05aa')
    expect(options.get(43)).toBe('0104cafe')
    expect(options.get(224)).toBe('beef')
  })

  test('echo the identifier of the client (RFC 6842)', () => {
    expect(offerWith({}, [1], option(61, '00ff')).options.get(61)).toBe('00ff')
  })

  test.each([
    ['that are set', { 'renewal-time': 100, 'rebinding-time': 200 }, [3600, 100, 200]],
    ['of half and seven eighths', {}, [3600, 1800, 3150]],
    ['that make sense', { 'renewal-time': 3600, 'rebinding-time': 4000 }, [3600, 1800, 3150]],
    ['in order', { 'rebinding-time': 900 }, [3600, 900, 900]],
    ['of a lease that is set', { 'lease-time': 86_400 }, [86_400, 43_200, 75_600]],
    ['of a lease that is none', { 'lease-time': 0 }, [3600, 1800, 3150]],
    ['of a lease without end', { 'lease-time': 0xffff_ffff }, [0xffff_ffff, null, null]],
  ] as const)('have times %s', (_name, set, expected) => {
    const { options } = offerWith({ set }, [])
    const found = [51, 58, 59].map(code => options.get(code))
    expect(found.map(hex => (hex === undefined ? null : Number(`0x${hex}`)))).toEqual(expected)
  })

  test('longer than 255 bytes come in pieces, and others wait outside', () => {
    const many = Array.from({ length: 40 }, (_, n) => ({
      destination: `10.${n}.0.0/16`,
      gateway: '10.0.0.9',
    }))
    const set = { 'classless-routes': many, 'vendor-options': 'ab'.repeat(200), 'host-name': 'a' }
    const large = offerWith({ set }, [121, 43, 12], option(57, '05dc'))
    expect(large.left_out).toEqual([])
    expect(large.options.get(121)).toHaveLength(2 * 40 * 7)
    const small = offerWith({ set }, [121, 43, 12])
    expect(small.left_out).toEqual([43])
    expect(small.options.get(121)).toBe(large.options.get(121))
    expect(small.options.get(12)).toBe('61')
  })

  test.each([
    ['', 548],
    [option(57, '0240'), 548],
    [option(57, '0100'), 548],
    [option(57, 'ff'), 548],
    [option(57, '0300'), 740],
    [option(57, '05dc'), 1372],
    [option(57, 'ffff'), 1372],
  ])('have as much room as option 57 (%s) and the link give', (said, bytes_max) => {
    const given = askedWith(worldOf({ link: { mtu: 1400 } }), { options: discover + said })
    expect(given).toMatchObject({ bytes_max })
  })
})

describe('what boots', () => {
  const set = { 'tftp-server-name': '10.0.0.8', 'bootfile-name': 'pxelinux.0' }
  const boots = [
    { architectures: [7, 9], server: null, file: 'grub.efi' },
    { architectures: [16], server: 'boot.example.com', file: 'http://boot.example.com/x.efi' },
  ]
  const architecture = (hex: string) => option(93, hex)
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
  const bootedBy = (facts: WorldFacts, asked: readonly number[], more = '') => {
    const found = offerWith(facts, asked, more)
    const { siaddr, sname, file } = found.message
    const options = asked.map(code => found.text(code))
    return [siaddr, text(sname), text(file), ...options]
  }
  const tftp = 0x0a000008

  test('is told in the fields, and in options to whoever asks', () => {
    expect(bootedBy({ set }, [])).toEqual([tftp, '', 'pxelinux.0'])
    expect(bootedBy({ set }, [66, 67])).toEqual([tftp, '', 'pxelinux.0', '10.0.0.8', 'pxelinux.0'])
    const named = { 'tftp-server-name': 'tftp', 'tftp-servers': ['10.0.0.8', '10.0.0.9'] }
    expect(bootedBy({ set: named }, [66, 67])).toEqual([tftp, 'tftp', '', 'tftp', ''])
    const long = 'x'.repeat(128)
    expect(bootedBy({ set: { 'bootfile-name': long } }, [67])).toEqual([0, '', '', long])
    expect(bootedBy({}, [66, 67])).toEqual([0, '', '', '', ''])
  })

  test.each([
    ['0000', [tftp, '', 'pxelinux.0', '10.0.0.8', 'pxelinux.0']],
    ['0007', [tftp, '', 'grub.efi', '10.0.0.8', 'grub.efi']],
    ['00000009', [tftp, '', 'grub.efi', '10.0.0.8', 'grub.efi']],
    ['000900', [tftp, '', 'grub.efi', '10.0.0.8', 'grub.efi']],
    ['09', [tftp, '', 'pxelinux.0', '10.0.0.8', 'pxelinux.0']],
    ['0010', [0, 'boot.example.com', boots[1]?.file, 'boot.example.com', boots[1]?.file]],
  ])('depends on the architecture %s (RFC 4578 §2.1)', (hex, expected) => {
    expect(bootedBy({ set, boots }, [66, 67], architecture(hex))).toEqual(expected)
  })

  test('says to whom it boots by HTTP that it does', () => {
    const client = option(60, Buffer.from('HTTPClient:Arch:00016').toString('hex'))
    const http = offerWith({ set, boots }, [67], architecture('0010') + client)
    expect(http.text(60)).toBe('HTTPClient')
    expect(offerWith({ set, boots }, [67], architecture('0010')).codes).not.toContain(60)
    expect(offerWith({}, [67], client).codes).not.toContain(60)
  })
})

test('configurations that are the same are prepared once', () => {
  expect(toldOf('10.0.0.0/24', { mtu: 1400 })).toBe(toldOf('10.0.0.0/24', { mtu: 1400 }))
  expect(toldOf('10.0.0.0/24', { mtu: 1400 })).not.toBe(toldOf('10.0.0.0/24', { mtu: 1401 }))
})
