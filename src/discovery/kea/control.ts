import { connect } from 'node:net'
import type { Json } from './configuration.ts'
import { withoutSecrets } from './process.ts'

/** Commands to a Kea through its control socket. */
export type Control = {
  /**
   * What Kea answers; null if there is none of what was asked for.
   *
   * @throws {KeaRefused} if Kea refuses
   * @throws {Error} if it does not answer
   */
  command(name: string, args?: Json): Promise<Json | null>
}

/** Kea's own words. */
export class KeaRefused extends Error {
  override readonly name = 'KeaRefused'
}

const patienceMilliseconds = 60_000
/** Kea's codes of success, and of "nothing of that". */
const success = 0
const empty = 3

export function createControl(path: string): Control {
  return {
    async command(name, args) {
      const text = await ask(
        path,
        JSON.stringify({ command: name, ...(args && { arguments: args }) }),
      )
      const said = JSON.parse(text) as { result: number; text?: string; arguments?: Json }
      if (said.result === empty) return null
      if (said.result !== success)
        throw new KeaRefused(withoutSecrets(said.text ?? `${name} failed`))
      return said.arguments ?? {}
    },
  }
}

/** Kea takes one command on a connection, and closes it behind the answer. */
function ask(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(path)
    socket.setTimeout(patienceMilliseconds, () => socket.destroy(new Error('Kea does not answer')))
    socket.on('connect', () => socket.end(text))
    socket.on('data', chunk => chunks.push(chunk))
    socket.on('error', cause =>
      reject(new Error(`control socket of Kea: ${cause.message}`, { cause })),
    )
    socket.on('close', () => {
      const answer = Buffer.concat(chunks).toString()
      if (answer === '') reject(new Error('Kea closed the connection'))
      else resolve(answer)
    })
  })
}
