import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { programPath } from './supervise.ts'

const versions = new Map<string, Promise<boolean>>()

/**
 * Whether this dnsmasq survives reading hosts again that set tags. Until 2.90 it then frees what is not
 * its own, and ends; so it has to be started again instead.
 */
export function canReadTagsAgain(program: string): Promise<boolean> {
  const known = versions.get(program) ?? ask(program)
  versions.set(program, known)
  return known
}

async function ask(program: string): Promise<boolean> {
  const options = { env: { PATH: programPath } }
  const { stdout } = await promisify(execFile)(program, ['--version'], options).catch(() => ({
    stdout: '',
  }))
  const [, major = 0, minor = 0] = /version (\d+)\.(\d+)/.exec(stdout) ?? []
  return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 91)
}

/** What starts dnsmasq where it is to be. */
export function commandOf(
  namespace: string | null,
  program: string,
  configuration: string,
): [string, ...string[]] {
  const command = [program, '--keep-in-foreground', `--conf-file=${configuration}`] as const
  return namespace === null ? [...command] : ['ip', 'netns', 'exec', namespace, ...command]
}
