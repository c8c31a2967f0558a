import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cloud } from './cloud.ts'
import { findFreePort } from './free-port.ts'
import { waitUntil } from './race-load.ts'
import { Output, startProgram, temporaryFolder } from './server-process.ts'

/** The networks that a process serves, and how: src/discovery/config.ts. */
export type DhcpSettings = {
  readonly networks: readonly object[]
  readonly driver?: string
} & Readonly<Record<string, unknown>>

type Health = {
  readonly status: string
  readonly is_ready: boolean
  readonly hosts: number
  readonly api: { readonly is_connected: boolean }
  readonly leases_pending: number
  readonly problems: readonly string[]
}

/** A running `melange dhcp`, which can be killed and started again with the same state. */
export class DhcpProcess {
  readonly folder = temporaryFolder()
  readonly #cloud: Cloud
  readonly #file: string
  readonly #url: string
  #child: ChildProcess | undefined
  #output: Output | undefined

  private constructor(cloud: Cloud, settings: DhcpSettings, port: number) {
    this.#cloud = cloud
    this.#url = `http://127.0.0.1:${port}`
    this.#file = join(this.folder, 'dhcp.yaml')
    const all = {
      name: 'the-test',
      api: { url: cloud.url },
      state_dir: join(this.folder, 'state'),
      status: { listen: `127.0.0.1:${port}` },
      ...settings,
    }
    writeFileSync(this.#file, JSON.stringify(all))
  }

  /** Starts it and waits until machines are answered. */
  static async start(cloud: Cloud, settings: DhcpSettings): Promise<DhcpProcess> {
    const running = new DhcpProcess(cloud, settings, await findFreePort())
    await running.start()
    return running
  }

  async start(): Promise<void> {
    this.#child = startProgram(['dhcp', '--config', this.#file], {
      MELANGE_TOKEN: this.#cloud.serviceToken,
      PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
    })
    this.#output = new Output(this.#child)
    await waitUntil(
      'machines are answered',
      async () => {
        if (this.#child?.exitCode !== null) throw new Error(`it has ended: ${this.output}`)
        const answer = await fetch(`${this.#url}/readyz`).catch(() => null)
        return answer?.status === 200
      },
      60,
    )
  }

  /** What it has logged, and said to people. */
  get output(): string {
    return `${this.#output?.stdout}${this.#output?.stderr}`
  }

  async health(): Promise<Health> {
    return (await fetch(`${this.#url}/healthz`)).json() as Promise<Health>
  }

  /**
   * Waits until all that it told is known to the API, and nothing is wrong but what is expected: that has
   * to be there.
   */
  async isWell(expected: readonly RegExp[] = []): Promise<void> {
    let last: Health | undefined
    await waitUntil(
      'all is well',
      async () => {
        last = await this.health()
        const { status, api, leases_pending, problems } = last
        const told = (one: RegExp) => problems.some(problem => one.test(problem))
        return (
          api.is_connected &&
          leases_pending === 0 &&
          status === (expected.length === 0 ? 'ok' : 'degraded') &&
          expected.every(told) &&
          problems.every(problem => expected.some(one => one.test(problem)))
        )
      },
      20,
    ).catch(cause => {
      throw new Error(`not well: ${JSON.stringify(last)}\n${this.output}`, { cause })
    })
  }

  /** The value of a metric without labels, or with them as they are written. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.#url}/metrics`)).text()
    const line = text.split('\n').find(one => one.startsWith(`${name} `))
    if (!line) throw new Error(`there is no metric ${name}`)
    return Number(line.slice(name.length + 1))
  }

  /** Asks it to end; its exit status. */
  stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  /** Ends it without any notice. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (!child) throw new Error('it does not run')
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const ended = once(child, 'close')
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
    const [code] = (await ended) as [number | null]
    clearTimeout(timer)
    return code
  }
}
