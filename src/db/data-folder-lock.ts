import { randomUUID } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** Another living process holds the lock of a data folder. */
export class DataFolderInUse extends Error {
  override readonly name = 'DataFolderInUse'
  readonly folder: string
  readonly pid: number

  constructor(folder: string, pid: number) {
    super(`The data folder ${folder} is in use by process ${pid}`)
    this.folder = folder
    this.pid = pid
  }
}

/** Every failed attempt means that another process locked and left in the same few microseconds. */
const attemptsMax = 100

/**
 * Takes a data folder for this process alone, until `release` or the end of the process.
 *
 * The lock is a folder, `melange.lock`, with one file whose name tells the holder. rename(2) puts a
 * prepared folder where there is none or an empty one and fails on any other, so of all who try
 * at one moment one wins. A dead holder's lock is emptied by removing its file, by a name that no
 * later holder has: however late that happens, it cannot remove a lock that lives.
 *
 * @throws {DataFolderInUse}
 */
export function lockDataFolder(folder: string): { release(): void } {
  const lock = join(folder, 'melange.lock')
  const holder = `${process.pid}-${readStartTime(process.pid)}-${randomUUID()}`
  const prepared = `${lock}.${holder}`
  mkdirSync(prepared)
  try {
    writeFileSync(join(prepared, holder), '')
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      if (putInPlace(prepared, lock)) return { release: () => removeHolder(lock, holder) }
      for (const other of readHolders(lock)) {
        if (isAlive(other)) throw new DataFolderInUse(folder, Number.parseInt(other, 10))
        removeHolder(lock, other)
      }
    }
    throw new Error(`The data folder ${folder} could not be locked in ${attemptsMax} attempts`)
  } finally {
    rmSync(prepared, { recursive: true, force: true })
  }
}

function putInPlace(prepared: string, lock: string): boolean {
  try {
    renameSync(prepared, lock)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOTEMPTY', 'EEXIST')) return false
    throw error
  }
}

function readHolders(lock: string): string[] {
  try {
    return readdirSync(lock)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

function removeHolder(lock: string, holder: string): void {
  rmSync(join(lock, holder), { force: true })
  try {
    rmdirSync(lock)
  } catch (error) {
    // Another process came in between: its file is in the folder, which rmdir(2) leaves alone.
    if (!hasCode(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error
  }
}

/** Whether the very process that took the lock still runs, and not another one with its pid. */
function isAlive(holder: string): boolean {
  const [, pid, startTime] = /^(\d+)-([^-]*)-/.exec(holder) ?? []
  if (!pid) return false // No process of ours names itself so.
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    return !hasCode(error, 'ESRCH') // EPERM: it lives, and is another user's.
  }
  const now = readStartTime(Number(pid))
  return !startTime || !now || now === startTime
}

/**
 * What tells a process from an earlier one with its pid: the boot, and clock ticks from there to
 * its start (proc(5)). Empty where there is no /proc or it hides the process.
 */
function readStartTime(pid: number): string {
  try {
    // The second field is the name of the program, which may hold spaces and parentheses.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, ')').split(' ')
    const [state, ticks] = [stat[1], stat[20]]
    if (state === 'Z' || state === 'X') return 'ended' // Dead, but not yet waited for.
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
    return `${boot}.${ticks}`
  } catch {
    return ''
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
