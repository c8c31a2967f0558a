import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** A program that runs. */
export type Child = {
  /** Resolves, when it has ended, with how. */
  readonly ended: Promise<string>
  /** The last error that it wrote. */
  complaint(): string | null
  /** Ends it, if need be by force. */
  end(): Promise<void>
}

export type ChildOptions = {
  readonly command: readonly string[]
  readonly folder: string
  readonly onLine: (line: string) => void
}

const graceMilliseconds = 5000
const lineMax = 1000

/** Kea quotes its configuration when it refuses it. */
export const withoutSecrets = (text: string): string =>
  text.replace(/("password": *")(?:[^"\\]|\\.)*"/g, '$1*"').slice(0, lineMax)

export function startChild({ command, folder, onLine }: ChildOptions): Child {
  const [program = '', ...args] = command
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let complaint: string | null = null
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', whole => {
      const line = withoutSecrets(whole)
      const [, text] = /(?:ERROR|FATAL)\s+\[[^\]]*\] (\S.*)$/.exec(line) ?? []
      complaint = text ?? (/^(env|ip|exec of|Cannot|Error)/i.test(line) ? line : complaint)
      onLine(line)
    })
  }
  const ended = new Promise<string>(resolve => {
    child.on('error', error => resolve(error.message))
    child.on('close', (code, signal) => resolve(signal ?? `status ${code}`))
  })
  return {
    ended,
    complaint: () => complaint,
    async end() {
      child.kill('SIGTERM')
      if ((await Promise.race([ended, sleep(graceMilliseconds, null)])) === null) {
        child.kill('SIGKILL')
        await ended
      }
    },
  }
}
