import { type FSWatcher, watch } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/** A place in a file that another process writes, and replaces by a new one now and then. */
export type Position = {
  /** Which file it is: two that are there one after the other differ. */
  readonly file: string
  readonly offset: number
}

export type FollowedFile = {
  /** Behind the last line that was taken. */
  position(): Position | null
  close(): Promise<void>
}

export type FollowOptions = {
  readonly path: string
  /** Takes whole lines, in their order, and where they begin; the next come when it has resolved. */
  readonly take: (lines: readonly string[], begin: Position) => Promise<void>
  readonly onError: (error: Error) => void
}

type Current = { readonly handle: FileHandle; readonly file: string }

/** What is watched is also looked at so often: not every file system tells of changes. */
const lookMilliseconds = 1000
const chunkBytes = 1 << 20

/**
 * Follows a file of lines. One that is renamed is read to its end before the next of that name, so
 * that nothing is lost of a log that is rotated by renaming.
 */
export async function followFile(options: FollowOptions): Promise<FollowedFile> {
  const { path, take, onError } = options
  let current: Current | null = null
  let offset = 0
  let rest = Buffer.alloc(0)
  let isClosed = false
  let isWanted = false
  let working: Promise<void> | null = null

  async function openNext(): Promise<boolean> {
    const handle = await open(path, 'r').catch(ignoreMissing)
    if (!handle) return false
    const file = identityOf(await handle.stat({ bigint: true }))
    current = { handle, file }
    offset = 0
    rest = Buffer.alloc(0)
    return true
  }

  async function readOn({ handle, file }: Current): Promise<void> {
    const { size } = await handle.stat()
    if (size < offset) {
      offset = 0 // It was begun anew in place.
      rest = Buffer.alloc(0)
    }
    while (!isClosed) {
      const buffer = Buffer.allocUnsafe(chunkBytes)
      const place = offset + rest.length
      const { bytesRead } = await handle.read(buffer, 0, chunkBytes, place)
      if (bytesRead === 0) return
      const bytes = Buffer.concat([rest, buffer.subarray(0, bytesRead)])
      const end = bytes.lastIndexOf(10) + 1
      if (end > 0) await take(bytes.toString('utf8', 0, end - 1).split('\n'), { file, offset })
      offset += end
      rest = bytes.subarray(end)
    }
  }

  async function look(): Promise<void> {
    if (!current && !(await openNext())) return
    while (current && !isClosed) {
      const { handle, file } = current
      const there = await stat(path, { bigint: true }).catch(ignoreMissing)
      await readOn(current)
      if (!there || identityOf(there) === file) return
      await handle.close()
      current = null
      await openNext()
    }
  }

  function wake(): void {
    isWanted = true
    working ??= (async () => {
      while (isWanted && !isClosed) {
        isWanted = false
        await look().catch(onError)
      }
      working = null
    })()
  }

  await look()
  const watcher = watchFolder(dirname(path), basename(path), wake)
  const timer = setInterval(wake, lookMilliseconds)
  wake()
  return {
    position: () => current && { file: current.file, offset },
    async close() {
      isClosed = true
      clearInterval(timer)
      watcher?.close()
      await working
      await current?.handle.close()
    },
  }
}

/** A number of a file is used again; with the time of its birth it is not. */
const identityOf = ({ ino, birthtimeNs }: { ino: bigint; birthtimeNs: bigint }) =>
  `${ino}-${birthtimeNs}`

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

/** Null where it cannot be watched; looking now and then does then. */
function watchFolder(folder: string, name: string, wake: () => void): FSWatcher | null {
  try {
    const watcher = watch(folder, (_event, changed) => {
      if (changed === name || changed === null) wake()
    })
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return null
  }
}
