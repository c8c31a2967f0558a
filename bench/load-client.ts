// Sends requests and counts answers. It shares two processors with the server that it measures, so
// it does no more than it must: prepared bytes out, status and length in, no HTTP library.

import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Job, JobAnswer, JobResult, Step } from './load.ts'

const bucketMs = 0.02
const bucketsMax = 500_000 // 10 s
const patienceMs = 30_000

process.on('message', (job: Job) => {
  runJob(job).then(
    result => answer({ result }),
    (error: Error) => answer({ error: error.message }),
  )
})
process.on('disconnect', () => process.exit())

function answer(message: JobAnswer): void {
  process.send?.(message)
}

async function runJob(job: Job): Promise<JobResult> {
  const run = new Run(job)
  const { port, hostname } = new URL(job.url)
  const clients = await Promise.all(
    Array.from({ length: job.connections }, () =>
      Client.open(run, { port: Number(port), hostname }),
    ),
  )
  const cpu = process.cpuUsage()
  const started = performance.now()
  const timer = setTimeout(
    () => run.fail('no answer'),
    (job.warmup_seconds + job.seconds) * 1000 + patienceMs,
  )
  try {
    run.start(clients)
    await run.ended
  } finally {
    clearTimeout(timer)
    for (const client of clients) client.close()
  }
  const { user, system } = process.cpuUsage(cpu)
  return run.result((user + system) / 1000 / (performance.now() - started))
}

/** What the connections of a job share. */
class Run {
  readonly ended: Promise<void>
  stopAt = Infinity
  readonly #requests: readonly (readonly Prepared[])[]
  readonly #job: Job
  readonly #times: number
  readonly #limit: number
  readonly #buckets = new Uint32Array(bucketsMax)
  readonly #collected = new Map<string, string[][]>()
  readonly #members: readonly (readonly [Buffer, string[][]])[]
  #measureFrom = 0
  #lastAnswer = 0
  #drawn = 0
  #answers = 0
  #measured = 0
  #idle = 0
  #resolve: () => void = () => undefined
  #reject: (error: Error) => void = () => undefined

  constructor(job: Job) {
    this.#job = job
    const steps = [job, ...(job.then ?? [])]
    this.#requests = job.values.map(value => steps.map(step => prepare(job, step, value)))
    this.#times = job.times === 'cycle' ? 0 : job.times
    this.#limit = job.times === 'cycle' ? Infinity : job.times * job.values.length
    for (const member of job.collect) this.#collected.set(member, [])
    this.#members = [...this.#collected].map(
      ([member, values]) => [Buffer.from(`"${member}":"`), values] as const,
    )
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  start(clients: readonly Client[]): void {
    const { warmup_seconds, seconds } = this.#job
    this.#measureFrom = performance.now() + warmup_seconds * 1000
    this.stopAt = this.#measureFrom + seconds * 1000
    for (const client of clients) client.send()
  }

  /** The number of the next request, or -1 when all have been sent. */
  draw(): number {
    return this.#drawn < this.#limit ? this.#drawn++ : -1
  }

  /** What is sent for it, one after the other. */
  request(number: number): readonly Prepared[] {
    const index =
      this.#times === 0 ? number % this.#requests.length : Math.floor(number / this.#times)
    return this.#requests[index] as Prepared[]
  }

  record(number: number, sentAt: number, now: number, body: Buffer): void {
    this.#answers++
    this.#lastAnswer = now
    if (now >= this.#measureFrom && now <= this.stopAt) {
      this.#measured++
      const bucket = Math.min(bucketsMax - 1, Math.floor((now - sentAt) / bucketMs))
      this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
    }
    for (const [member, values] of this.#members) values[number] = membersOf(body, member)
  }

  /** A connection has nothing more to send; the job has ended when that is true of all. */
  rest(): void {
    this.#idle++
    if (this.#idle === this.#job.connections) this.#resolve()
  }

  fail(reason: string): void {
    this.stopAt = 0
    this.#reject(new Error(reason))
  }

  result(clientCpu: number): JobResult {
    const exhausted = this.#drawn >= this.#limit && this.#lastAnswer < this.stopAt
    const until = exhausted ? this.#lastAnswer : this.stopAt
    const seconds = Math.max(0, until - this.#measureFrom) / 1000
    const collected = Object.fromEntries(
      [...this.#collected].map(([member, values]) => [member, values.flat()] as const),
    )
    const { address } = collected
    if (address && new Set(address).size < address.length) throw new Error('an address came twice')
    return {
      per_s: seconds > 0 ? this.#measured / seconds : 0,
      p50_ms: this.#percentile(0.5),
      p99_ms: this.#percentile(0.99),
      seconds,
      answers: this.#answers,
      exhausted,
      client_cpu: clientCpu,
      collected: this.#job.returns_collected ? collected : {},
    }
  }

  #percentile(share: number): number {
    let left = this.#measured * share
    const bucket = this.#buckets.findIndex(count => {
      left -= count
      return left <= 0
    })
    return (Math.max(0, bucket) + 1) * bucketMs
  }
}

const endOfHead = Buffer.from('\r\n\r\n')
const lengthName = Buffer.from('content-length: ')

/** One keep-alive connection with one request under way. */
class Client {
  readonly #run: Run
  readonly #socket: Socket
  /** A copy of the request, in which the digits are set. */
  readonly #scratch = Buffer.alloc(4096)
  #number = 0
  #step = 0
  #sentAt = 0
  #chunks: Buffer[] = []
  #missing = 0
  #isOpen = true

  private constructor(run: Run, { port, hostname }: { port: number; hostname: string }) {
    this.#run = run
    this.#socket = connect({
      port,
      host: hostname,
      noDelay: true,
      onread: {
        buffer: Buffer.alloc(65_536),
        callback: (size, buffer) => this.#read(size, buffer as Buffer),
      },
    })
    this.#socket.on('error', error => this.#fail(error.message))
    this.#socket.on('close', () => this.#fail('the server closed a connection'))
  }

  static open(run: Run, address: { port: number; hostname: string }): Promise<Client> {
    const client = new Client(run, address)
    return new Promise((resolve, reject) => {
      client.#socket.once('connect', () => resolve(client))
      client.#socket.once('error', reject)
    })
  }

  close(): void {
    this.#isOpen = false
    this.#socket.destroy()
  }

  send(): void {
    const number = this.#run.draw()
    if (number < 0) {
      this.#run.rest()
      return
    }
    this.#number = number
    this.#step = 0
    this.#sentAt = performance.now()
    this.#write()
  }

  #write(): void {
    const { bytes, stampsAt } = this.#prepared
    bytes.copy(this.#scratch)
    // Multiplied by an odd number, so that neighbours lie far from each other in an index.
    const digits = (Math.imul(this.#number, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0')
    for (const at of stampsAt) this.#scratch.write(digits, at, 'latin1')
    this.#socket.write(this.#scratch.subarray(0, bytes.length))
  }

  get #prepared(): Prepared {
    return this.#run.request(this.#number)[this.#step] as Prepared
  }

  #read(size: number, buffer: Buffer): boolean {
    let data = buffer.subarray(0, size)
    if (this.#chunks.length > 0) {
      this.#chunks.push(Buffer.from(data))
      this.#missing -= size
      if (this.#missing > 0) return true
      data = Buffer.concat(this.#chunks)
      this.#chunks = []
    }
    const head = data.indexOf(endOfHead)
    const total = head < 0 ? data.length + 1 : head + 4 + contentLength(data, head)
    if (total > data.length) {
      this.#chunks = [Buffer.from(data)]
      this.#missing = total - data.length
      return true
    }
    this.#take(data, head)
    return true
  }

  #take(data: Buffer, head: number): void {
    const now = performance.now()
    // "HTTP/1.1 201": three digits behind nine characters.
    const status = Number(data.toString('latin1', 9, 12))
    if (status !== this.#prepared.status) {
      this.#fail(`answered ${status}: ${data.toString('utf8', head + 4).slice(0, 500)}`)
      return
    }
    if (this.#step < this.#run.request(this.#number).length - 1) {
      this.#step++
      this.#write()
      return
    }
    this.#run.record(this.#number, this.#sentAt, now, data.subarray(head + 4))
    if (now < this.#run.stopAt) this.send()
    else this.#run.rest()
  }

  #fail(reason: string): void {
    if (this.#isOpen) this.#run.fail(reason)
  }
}

function contentLength(data: Buffer, head: number): number {
  const at = data.indexOf(lengthName)
  if (at < 0 || at > head) throw new Error('an answer has no content-length')
  return Number.parseInt(
    data.toString('latin1', at + lengthName.length, at + lengthName.length + 12),
    10,
  )
}

/** All values of a member in a JSON text; they hold no escapes. */
function membersOf(body: Buffer, member: Buffer): string[] {
  const values: string[] = []
  let at = body.indexOf(member)
  while (at >= 0) {
    const start = at + member.length
    const end = body.indexOf(0x22, start)
    values.push(body.toString('latin1', start, end))
    at = body.indexOf(member, end)
  }
  return values
}

/** The bytes of a request, where its digits are, and the status of its answer. */
type Prepared = {
  readonly bytes: Buffer
  readonly stampsAt: readonly number[]
  readonly status: number
}

function prepare({ url, token }: Job, step: Step, value: string): Prepared {
  const { method, path, body, status } = step
  const content = body?.replaceAll('$value', value) ?? ''
  const head = [
    `${method} ${path.replace('$value', value)} HTTP/1.1`,
    `host: ${new URL(url).host}`,
    `x-auth-token: ${token}`,
    ...(body === undefined
      ? []
      : ['content-type: application/json', `content-length: ${Buffer.byteLength(content)}`]),
  ]
  const text = `${head.join('\r\n')}\r\n\r\n${content}`
  const stampsAt = [...text.matchAll(/########/g)].map(({ index }) => index)
  return { bytes: Buffer.from(text, 'latin1'), stampsAt, status }
}
