import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { parseAddress } from '../../ip/address.ts'
import type { LocalAddress } from './configuration.ts'
import { programPath } from './supervise.ts'

type Shown = { ifname?: string; addr_info?: { local?: string; scope?: string }[] }[]

/**
 * The addresses of an interface, of all if it has no name; without those of loopback.
 *
 * @throws if there is no such interface or namespace
 */
export async function localAddresses(
  namespace: string | null,
  name: string | null,
): Promise<readonly LocalAddress[]> {
  const args = [
    ...(namespace === null ? [] : ['-n', namespace]),
    ...['-json', 'address', 'show'],
    ...(name === null ? [] : ['dev', name]),
  ]
  const env = { PATH: programPath }
  const { stdout } = await promisify(execFile)('ip', args, { env }).catch(error => {
    const said = String(error.stderr ?? '').trim() || String(error.message)
    throw new Error(said.split('\n')[0])
  })
  const shown = JSON.parse(stdout || '[]') as Shown
  return shown
    .filter(({ ifname }) => ifname !== 'lo')
    .flatMap(({ addr_info = [] }) => addr_info)
    .flatMap(({ local = '', scope }) => {
      const address = scope === 'host' ? null : parseAddress(local)
      return address ? [{ ...address, text: local }] : []
    })
}
