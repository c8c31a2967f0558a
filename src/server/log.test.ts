import { expect, test } from 'vitest'
import { newToken } from '../auth/token-store.ts'
import { createLogger } from './log.ts'
import { createPathLog } from './logged-path.ts'

function linesOf(admin_token: string | undefined, ...texts: string[]): string[] {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(JSON.parse(line).msg) }
  const logger = createLogger({ level: 'info', admin_token, destination })
  for (const text of texts) logger.child({ reqId: 'r' }).info(text)
  return lines
}

test('what has the form of a token is taken out of every line', () => {
  const own = newToken()
  const fernet = `gAAAAABp${'k-_3'.repeat(40)}==`
  const jwt = `eyJhbGciOiJFUzI1NiJ9.${'eyJz'.repeat(9)}.${'c_-n'.repeat(9)}`
  const line = `a ${own} b ${fernet} c ${jwt}, d ${own}`
  const start = `${own.slice(0, 14)}…`
  expect(linesOf(undefined, line)).toEqual([`a ${start} b … c …, d ${start}`])
})

test('so is the configured one, whatever it looks like, unless it is found everywhere', () => {
  const odd = 'a "secret"\\ of $& ours'
  expect(linesOf(odd, `no: ${odd}!`)).toEqual(['no: …!'])
  expect(linesOf('other', 'and other words')).toEqual(['and other words'])
})

test('what is no token stays', () => {
  const plain = ['melange_v1:tenant', 'melange_ip', 'gAAAA', 'eyJ.', 'melange']
  expect(linesOf(undefined, ...plain)).toEqual(plain)
})

test.each([
  ['/v2/blocks/01900000-0000-7000-8000-00000000000A?x=y', undefined],
  ['/v2/blocks/01900000-0000-7000-8000-00000000000a.json', undefined],
  ['/v2/blocks.xml', undefined],
  ['/v2/blocks/10.0.0.1/fe80::1/10.0.0.0%2F8/02:00:00:00:00:01/17/public', undefined],
  ['/v2//blocks/', undefined],
  ['/v2/blocks/secret', '/v2/blocks/*'],
  ['/v2/blocks/secret.json', '/v2/blocks/*'],
  ['/v2/blocks/d41d8cd98f00b204e9800998ecf8427e', '/v2/blocks/*'],
  ['/v2/bl%6Fcks;a/b#c', '/v2/*'],
  ['http://secret/v2/blocks', '*//*/v2/blocks'],
  ['*', '*'],
])('of the path %s the log shows what is known', (url, shown) => {
  const { learn, show } = createPathLog()
  for (const pattern of ['/v2/blocks', '/v2/blocks/:block_id', '/v1.0/*']) learn(pattern)
  expect(show(url)).toBe(shown ?? url.split('?')[0])
})
