import { expect, test } from 'vitest'
import { dropsIn } from './socket-drops.ts'

test('drops are those of the sockets at a port', () => {
  const line = (port: string, drops: number) =>
    `  1: 0100007F:${port} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 ${drops}`
  const table = ['  sl  local_address …', line('0043', 5), line('0044', 7), line('0043', 1)].join(
    '\n',
  )
  expect(dropsIn(table, 67)).toBe(6)
  expect(dropsIn('', 67)).toBe(0)
})
