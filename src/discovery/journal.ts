import { type FileHandle, open, rename } from 'node:fs/promises'

/**
 * A file of lines of JSON that grows, and now and then begins anew. What was appended is there after a
 * crash, but for a last line that was cut off.
 */
export type Journal = {
  /** The lines that were there when it was opened. */
  readonly lines: readonly unknown[]
  /** Resolves when the line is in the file, with `sync` on the disk. Lines share writes. */
  append(line: object): Promise<void>
  /** The file holds these lines from now on, and those that are appended while they are written. */
  rewrite(lines: Iterable<object>): Promise<void>
  /** Whether so much was appended since the last rewriting that another one pays. */
  isLong(): boolean
  close(): Promise<void>
}

export type JournalOptions = {
  readonly path: string
  /** Whether lines are on the disk, and not only with the system, when `append` resolves. */
  readonly sync: boolean
}

/** A file that is shorter than this is not worth rewriting. */
const longBytes = 4 * 1024 * 1024
const linesAtOnce = 1000
/** How long lines that need not be on the disk wait for others: to write costs more than they do. */
const gatherMilliseconds = 20

/**
 * Opens a journal, or begins one.
 *
 * @throws {Error} of the file system
 */
export async function openJournal({ path, sync }: JournalOptions): Promise<Journal> {
  let file = await open(path, 'a+', 0o600)
  const { lines, bytes } = readLines(await file.readFile())
  await file.truncate(bytes)
  let appended = 0
  let rewritten = bytes

  let batch = newBatch()
  /** What was appended while another file is being written, which needs it, too. */
  let tail: string[] | null = null
  let work: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | NodeJS.Immediate | undefined

  /** One thing after the other is done to the file. */
  function enqueue(task: () => Promise<void>): Promise<void> {
    const done = work.then(task)
    work = done.catch(() => {})
    return done
  }

  /** What has to be on the disk is written at once: meanwhile more comes together. */
  function schedule() {
    const start = () => void enqueue(flush)
    timer = sync ? setImmediate(start) : setTimeout(start, gatherMilliseconds)
  }

  async function flush() {
    timer = undefined
    const { texts, resolve, reject } = batch
    batch = newBatch()
    const text = texts.join('')
    try {
      await write(file, text)
      if (sync) await file.datasync()
      appended += text.length
      tail?.push(text)
      resolve()
    } catch (error) {
      reject(error)
    }
  }

  return {
    lines,
    append(line) {
      batch.texts.push(`${JSON.stringify(line)}\n`)
      const { promise } = batch
      if (timer === undefined) schedule()
      return promise
    },
    async rewrite(wanted) {
      let other: FileHandle | undefined
      await enqueue(async () => {
        tail = []
      })
      try {
        other = await open(`${path}.new`, 'w', 0o600)
        let size = 0
        for (const text of chunks(wanted)) {
          await write(other, text)
          size += text.length
        }
        const whole = other
        await enqueue(async () => {
          await write(whole, tail?.join('') ?? '')
          await whole.datasync()
          await rename(`${path}.new`, path)
          await file.close()
          file = whole
          appended = 0
          rewritten = size
        })
        other = undefined
      } finally {
        tail = null
        await other?.close()
      }
    },
    isLong: () => appended > Math.max(longBytes, rewritten),
    async close() {
      await enqueue(async () => {
        if (batch.texts.length > 0) await flush()
        await file.close()
      })
    },
  }
}

type Batch = {
  readonly texts: string[]
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

function newBatch(): Batch {
  let resolve = () => {}
  let reject = (_error: unknown) => {}
  const promise = new Promise<void>((done, fail) => {
    resolve = done
    reject = fail
  })
  promise.catch(() => {}) // Who appends may look at it, or not.
  return { texts: [], promise, resolve, reject }
}

async function write(file: FileHandle, text: string): Promise<void> {
  if (text !== '') await file.appendFile(text)
}

function* chunks(lines: Iterable<object>): Generator<string> {
  let texts: string[] = []
  for (const line of lines) {
    texts.push(`${JSON.stringify(line)}\n`)
    if (texts.length < linesAtOnce) continue
    yield texts.join('')
    texts = []
  }
  yield texts.join('')
}

/** The lines up to the first that is none, and how long they are. */
function readLines(content: Buffer): { lines: unknown[]; bytes: number } {
  const lines: unknown[] = []
  let start = 0
  for (;;) {
    const end = content.indexOf(10, start)
    if (end === -1) return { lines, bytes: start }
    try {
      lines.push(JSON.parse(content.toString('utf8', start, end)))
    } catch {
      return { lines, bytes: start }
    }
    start = end + 1
  }
}
