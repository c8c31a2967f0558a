import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DataFolderInUse, lockDataFolder } from './data-folder-lock.ts'

let folder: string
const children = new Set<ChildProcess>()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'melange-lock-'))
})
afterEach(async () => {
  for (const child of children) await killNow(child)
  children.clear()
  rmSync(folder, { recursive: true })
})

test('is held until it is released, also against the process that holds it', () => {
  const lock = lockDataFolder(folder)
  expect(() => lockDataFolder(folder)).toThrow(DataFolderInUse)
  lock.release()
  lock.release()
  lockDataFolder(folder).release()
  expect(readdirSync(folder)).toEqual([])
})

test('is refused in one line that names the folder and the living process that holds it', async () => {
  const child = await startChild()
  expect(await ask(child, 'lock')).toBe('won')
  expect(() => lockDataFolder(folder)).toThrow(
    `The data folder ${folder} is in use by process ${child.pid}`,
  )
  expect(await ask(child, 'release')).toBe('released')
  lockDataFolder(folder).release()
})

test('a release that comes late does not release the lock of another', () => {
  const first = lockDataFolder(folder)
  rmSync(join(folder, 'melange.lock'), { recursive: true })
  const second = lockDataFolder(folder)
  first.release()
  expect(() => lockDataFolder(folder)).toThrow(DataFolderInUse)
  second.release()
})

test('says so when there is no such folder', () => {
  expect(() => lockDataFolder(join(folder, 'none'))).toThrow('ENOENT')
})

describe('a lock that its holder left behind is taken over at once', () => {
  test('when the holder was killed', async () => {
    await leaveBehind()
    lockDataFolder(folder).release()
    expect(readdirSync(folder)).toEqual([])
  })

  test.runIf(process.platform === 'linux')('when its pid is another process by now', () => {
    // Ours: in a container every start of the service may well have the same pid.
    const lock = lockDataFolder(folder)
    const [holder = ''] = readdirSync(join(folder, 'melange.lock'))
    lock.release()
    forgeLock(holder.replace(/(?<=\.)\d+/, ticks => String(Number(ticks) - 1)))
    lockDataFolder(folder).release()

    forgeLock(holder)
    expect(() => lockDataFolder(folder)).toThrow(DataFolderInUse)
  })

  test('by exactly one of many that race for it', async () => {
    const holder = await leaveBehind()
    const racers = await Promise.all(Array.from({ length: 6 }, startChild))
    for (let round = 0; round < 100; round += 1) {
      forgeLock(holder)
      const start = Date.now() + 5
      const answers = await Promise.all(racers.map(racer => ask(racer, 'lock', start)))
      expect(answers.toSorted()).toEqual([...Array(5).fill('in use'), 'won'])
      expect(await ask(racers[answers.indexOf('won')], 'release')).toBe('released')
    }
    expect(readdirSync(folder)).toEqual([])
  }, 60_000)
})

test('never has two holders while many processes take, release and take over', async () => {
  const holder = await leaveBehind()
  const racers = await Promise.all(Array.from({ length: 4 }, startChild))
  for (let round = 0; round < 10; round += 1) {
    forgeLock(holder)
    const start = Date.now() + 5
    const answers = await Promise.all(racers.map(racer => ask(racer, 'contend', start)))
    expect(answers).toEqual(Array(4).fill('alone each time'))
  }
  expect(readdirSync(folder)).toEqual([])
}, 60_000)

/** Has a process lock the folder and killed; returns the name by which it held the lock. */
async function leaveBehind(): Promise<string> {
  const child = await startChild()
  expect(await ask(child, 'lock')).toBe('won')
  const [holder = ''] = readdirSync(join(folder, 'melange.lock'))
  await killNow(child)
  return holder
}

function forgeLock(holder: string): void {
  mkdirSync(join(folder, 'melange.lock'), { recursive: true })
  writeFileSync(join(folder, 'melange.lock', holder), '')
}

const childProgram = `
  import { closeSync, openSync, rmSync } from 'node:fs'
  import { lockDataFolder } from '${new URL('data-folder-lock.ts', import.meta.url)}'
  const [folder] = process.argv.slice(1)
  let lock
  const commands = {
    lock() {
      lock = lockDataFolder(folder)
      return 'won'
    },
    release() {
      lock.release()
      return 'released'
    },
    contend() {
      for (const end = Date.now() + 20; Date.now() < end; ) {
        try {
          lock = lockDataFolder(folder)
        } catch (error) {
          if (error.name === 'DataFolderInUse') continue
          throw error
        }
        closeSync(openSync(folder + '/alone', 'wx'))
        rmSync(folder + '/alone')
        lock.release()
      }
      return 'alone each time'
    },
  }
  process.on('message', ({ command, start }) => {
    while (Date.now() < start);
    try {
      process.send(commands[command]())
    } catch (error) {
      process.send(error.name === 'DataFolderInUse' ? 'in use' : String(error))
    }
  })
  process.on('disconnect', () => process.exit())
  process.send('ready')
`

async function startChild(): Promise<ChildProcess> {
  const flags = ['--import', 'tsx', '--input-type=module', '--eval', childProgram]
  const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const
  const child = spawn(process.execPath, [...flags, folder], { stdio: [...stdio] })
  children.add(child)
  await once(child, 'message')
  return child
}

async function ask(child: ChildProcess | undefined, command: string, start = 0): Promise<unknown> {
  if (!child) throw new Error('No such child')
  const answer = once(child, 'message')
  child.send({ command, start })
  return (await answer)[0]
}

async function killNow(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const end = once(child, 'exit')
  child.kill('SIGKILL')
  await end
}
