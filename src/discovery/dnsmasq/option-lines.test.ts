import { expect, test } from 'vitest'
import { optionLines, optionText } from './option-lines.ts'

test.each([
  [4, 3, ['10.0.0.1', '10.0.0.2'], '3,10.0.0.1,10.0.0.2'],
  [4, 15, 'example.com', '15,"example.com"'],
  [4, 17, 'a, "b" \\c #d', '17,"a, \\"b\\" \\\\c #d"'],
  [4, 19, true, '19,1b'],
  [4, 26, 1400, '26,05:78'],
  [4, 43, '0104c0000201ff', '43,01:04:c0:00:02:01:ff'],
  [4, 58, 1800, '58,1800'],
  [4, 119, ['a.example.com', 'b.example.com'], '119,a.example.com,b.example.com'],
  [4, 121, [{ destination: '192.0.2.0/24', gateway: '10.0.0.1' }], '121,18:c0:00:02:0a:00:00:01'],
  [4, 252, 'http://wpad/\n', null],
  [4, 252, 'http://wpad/', '252,68:74:74:70:3a:2f:2f:77:70:61:64:2f'],
  [4, 224, '2c', '224,44b'],
  [4, 3, ['0.0.0.0'], null],
  [4, 224, '00'.repeat(256), null],
  [4, 66, 'a'.repeat(255), null],
  [4, 15, 'not a domain', null],
  [6, 23, ['2001:db8::1'], 'option6:23,[2001:db8::1]'],
  [6, 23, ['::'], null],
  [6, 24, ['example.com'], 'option6:24,example.com'],
  [6, 32, 86_400, 'option6:32,86400'],
  [
    6,
    56,
    ['2001:db8::7'],
    'option6:56,00:01:00:10:20:01:0d:b8:00:00:00:00:00:00:00:00:00:00:00:07',
  ],
  [6, 59, 'tftp://[2001:db8::1]/a,b', 'option6:59,"tftp://[2001:db8::1]/a,b"'],
  [6, 60, ['a,b', '"c"'], 'option6:60,"a,b","\\"c\\""'],
  [6, 7, 255, null],
] as const)('IPv%i option %i: %j is %s', (version, code, value, text) => {
  expect(optionText(version, { code, value })).toBe(text)
})

test.each(['x\n3,10.0.0.66', 'x\r\ndhcp-option=3,10.0.0.66', 'x\u0000y', 'x\u0085y'])(
  'no text makes a line of its own: %j',
  value => {
    for (const code of [12, 15, 17, 66, 67, 114, 252]) {
      expect(optionText(4, { code, value })).toBeNull()
    }
  },
)

test('lines name their tags; what is too long for a line is left out, and said', () => {
  const options = [
    {
      code: 23,
      value: Array.from({ length: 60 }, (_, index) => `2001:db8:1:2:3:4:5:${index + 1}`),
    },
    { code: 24, value: ['example.com'] },
  ]
  expect(optionLines(['a', '!b'], { version: 6, options, boot_files: [] })).toEqual({
    lines: ['tag:a,tag:!b,option6:24,example.com'],
    unsaid: [23],
  })
})

test('the first file to boot that fits a client comes last, where dnsmasq prefers it', () => {
  const boot_files = [
    { architectures: [7, 9], server: '10.0.0.7', file: 'efi' },
    { architectures: [9, 0], server: 'boot.example.com', file: 'other' },
  ]
  const options = [
    { code: 66, value: '10.0.0.66' },
    { code: 67, value: 'usual' },
  ]
  expect(optionLines(['s'], { version: 4, options, boot_files }).lines).toEqual([
    'tag:s,tag:!arch7,tag:!arch9,tag:!arch0,66,"10.0.0.66"',
    'tag:s,tag:!arch7,tag:!arch9,tag:!arch0,67,"usual"',
    'tag:s,tag:!arch7,tag:!arch9,tag:!arch0,option:server-ip-address,10.0.0.66',
    'tag:s,tag:arch0,66,"boot.example.com"',
    'tag:s,tag:arch0,67,"other"',
    'tag:s,tag:arch9,66,"10.0.0.7"',
    'tag:s,tag:arch9,67,"efi"',
    'tag:s,tag:arch9,option:server-ip-address,10.0.0.7',
    'tag:s,tag:arch7,66,"10.0.0.7"',
    'tag:s,tag:arch7,67,"efi"',
    'tag:s,tag:arch7,option:server-ip-address,10.0.0.7',
  ])
})
