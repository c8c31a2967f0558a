import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { expect, test, vi } from 'vitest'

const answers = (url: string) =>
  fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )

test('a Keystone of a process that is killed leaves nothing behind', async () => {
  const helper = new URL('../helpers/keystone-server.ts', import.meta.url)
  const program = `
      import { startKeystoneServer } from '${helper}'
      const { url, folder } = await startKeystoneServer()
      process.send({ url, folder })
      process.once('message', () => process.kill(process.pid, 'SIGKILL'))`
  const flags = ['--import', 'tsx', '--input-type=module', '--eval', program]
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] })
  const [{ url, folder }] = await once(child, 'message')
  expect(await answers(url)).toBe(true)
  expect(existsSync(folder)).toBe(true)

  const ended = once(child, 'exit')
  child.send('end')
  await ended
  await vi.waitUntil(async () => !existsSync(folder) && !(await answers(url)), { timeout: 30_000 })
}, 180_000)
