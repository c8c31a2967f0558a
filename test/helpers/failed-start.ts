import { expect } from 'vitest'
import { type Environment, runMelange } from './server-process.ts'

/** Expects that `melange serve` ends with one line, and returns what the line says. */
export async function failToServe(env: Environment, args: readonly string[] = []): Promise<string> {
  const { code, stdout, stderr } = await runMelange([...args, 'serve'], {
    MELANGE_LISTEN: '127.0.0.1:0',
    ...env,
  })
  expect({ code, stderr, stdout }).toEqual({
    code: 2,
    stderr: expect.stringMatching(/^melange: .+\n$/), // A dot is no line break.
    stdout: '',
  })
  return stderr.slice('melange: '.length).trimEnd()
}
