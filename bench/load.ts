import { fork } from 'node:child_process'
import { once } from 'node:events'
import { endWithUs } from './setup.ts'

/** Requests that differ in one place, sent by connections that each wait for their answer. */
export type Job = {
  readonly url: string
  readonly token: string
  readonly method: 'DELETE' | 'GET' | 'POST' | 'PUT'
  /** `$value` stands for one of `values`, `########` for digits that are others each time. */
  readonly path: string
  readonly body?: string
  readonly values: readonly string[]
  /** How often each value is used before the next one; `cycle`: all in turn, without an end. */
  readonly times: number | 'cycle'
  /** The status of every answer; any other fails the job. */
  readonly status: number
  /** What a connection sends behind it, each when the one before was answered, as one with it. */
  readonly then?: readonly Step[]
  readonly connections: number
  readonly warmup_seconds: number
  readonly seconds: number
  /** Members of the answers to record; addresses must be distinct. */
  readonly collect: readonly string[]
  /** Whether the recorded members are sent back; otherwise they are only checked. */
  readonly returns_collected: boolean
}

export type Step = Pick<Job, 'method' | 'path' | 'body' | 'status'>

export type JobResult = {
  readonly per_s: number
  readonly p50_ms: number
  readonly p99_ms: number
  /** The measured time, without the warm-up. */
  readonly seconds: number
  /** All answers, those of the warm-up and those after the last second included. */
  readonly answers: number
  /** Whether all requests were sent before the time was over. */
  readonly exhausted: boolean
  /** What the load client itself used of one processor. */
  readonly client_cpu: number
  /** By member, in the order of the requests. */
  readonly collected: Readonly<Record<string, string[]>>
}

export type JobAnswer = { readonly result: JobResult } | { readonly error: string }

/** The load client, in a process of its own so that it does not wait for anything of ours. */
export type LoadClient = { run(job: Job): Promise<JobResult>; close(): Promise<void> }

export function startLoadClient(): LoadClient {
  const child = fork(new URL('load-client.ts', import.meta.url), {
    execArgv: ['--import', import.meta.resolve('tsx')],
    serialization: 'advanced',
    stdio: ['ignore', 2, 2, 'ipc'],
  })
  const forget = endWithUs(child)
  return {
    async run(job) {
      child.send(job)
      const done = new AbortController()
      const patience = AbortSignal.timeout(Math.ceil(job.warmup_seconds + job.seconds + 90) * 1000)
      const signal = AbortSignal.any([done.signal, patience])
      const [answer] = (await Promise.race([
        once(child, 'message', { signal }),
        once(child, 'exit', { signal }).then(() => [{ error: 'the load client has ended' }]),
      ]).finally(() => done.abort())) as [JobAnswer]
      if ('error' in answer) throw new Error(`${job.method} ${job.path}: ${answer.error}`)
      return answer.result
    },
    async close() {
      if (child.connected) {
        const exit = once(child, 'exit')
        child.disconnect() // On which it ends.
        await exit
      }
      forget()
    },
  }
}
