import { existsSync, type FSWatcher, watch } from 'node:fs'
import { type FileHandle, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { type LeaseEvent, readEvents } from './lease-events.ts'

/** Follows the file to which dnsmasq's script adds what happens to leases. */
export type EventFile = {
  /** Takes what is there, and from now on what comes. */
  start(): Promise<void>
  /** Takes what is there. */
  drain(): Promise<void>
  /** Takes what is there, and ends. */
  stop(): Promise<void>
}

const partBytes = 1 << 18
/** A longer file is set aside, and gone once it is read. */
const fileBytesMax = 1 << 22
/** Where no notice of the file system comes. */
const everyMilliseconds = 2000

export type EventFileOptions = {
  readonly path: string
  readonly take: (events: readonly LeaseEvent[]) => Promise<void>
  /** The file cannot be read, or can again (null). */
  readonly onFault: (fault: string | null) => void
}

/**
 * `take` has kept what it is given when it resolves: after a crash some come a second time, and none is
 * lost.
 */
export function createEventFile({ path, take, onFault }: EventFileOptions): EventFile {
  const aside = `${path}.1`
  const placeFile = `${path}.read`
  let file: FileHandle | null = null
  let place = 0
  let isAside = false
  let watcher: FSWatcher | null = null
  let timer: NodeJS.Timeout | undefined
  let isDue = false
  let running: Promise<void> | null = null

  async function openFile() {
    isAside = existsSync(aside)
    file = await open(isAside ? aside : path, isAside ? 'r' : 'a+', 0o600)
    if (place > (await file.stat()).size) place = 0
  }

  /** Whether there was something. */
  async function takePart(): Promise<boolean> {
    if (!file) return false
    const { buffer, bytesRead } = await file.read(Buffer.alloc(partBytes), 0, partBytes, place)
    const { events, length } = readEvents(buffer.subarray(0, bytesRead))
    // What has no end within a part is none of ours.
    const taken = length === 0 && bytesRead === partBytes ? bytesRead : length
    if (taken === 0) return false
    if (events.length > 0) await take(events)
    place += taken
    await writeFile(placeFile, String(place))
    return true
  }

  async function takeAll() {
    for (;;) {
      while (await takePart());
      if (!isAside && place > fileBytesMax) {
        await rename(path, aside)
        isAside = true
      }
      if (!isAside) return
      // One script runs at a time: once another file has begun, this one has ended.
      const next = await stat(path).catch(() => null)
      if (!next?.size) return
      while (await takePart());
      await file?.close()
      place = 0
      await writeFile(placeFile, '0')
      await rm(aside)
      await openFile()
    }
  }

  function drain(): Promise<void> {
    isDue = true
    running ??= (async () => {
      while (isDue) {
        isDue = false
        await takeAll()
      }
      onFault(null)
    })()
      .catch(error => onFault(`leases cannot be read: ${(error as Error).message}`))
      .finally(() => {
        running = null
      })
    return running
  }

  return {
    async start() {
      const said = await readFile(placeFile, 'utf8').catch(() => '0')
      place = Number(said) || 0
      await openFile()
      await drain()
      watcher = watch(dirname(path), (_, name) => {
        if (name === basename(path)) void drain()
      })
      watcher.on('error', () => {})
      timer = setInterval(() => void drain(), everyMilliseconds)
    },
    drain,
    async stop() {
      clearInterval(timer)
      watcher?.close()
      await drain()
      await file?.close()
      file = null
    },
  }
}
