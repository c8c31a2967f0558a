import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Whether cloud-init is installed; in CI it must be, so there a test without it fails. */
export function expectsCloudInit(): boolean {
  if (process.env.CI || spawnSync('cloud-init', ['--version']).status === 0) return true
  console.warn('Tests with cloud-init are skipped: install it with `npm run setup:debian`.')
  return false
}

export const renderers = ['eni', 'netplan', 'networkd', 'sysconfig'] as const
export type Renderer = (typeof renderers)[number]

type Conversion = {
  readonly document: unknown
  readonly kind: 'network_data.json' | 'yaml'
  readonly renderer: Renderer
  /** The names that the interfaces of the machine have, by their MACs. */
  readonly names: Readonly<Record<string, string>>
}

/** The files that cloud-init writes for a document, by their paths. */
export async function convert({
  document,
  kind,
  renderer,
  names,
}: Conversion): Promise<Map<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'melange-cloud-init-'))
  try {
    const input = join(folder, 'input.json')
    const output = join(folder, 'output')
    writeFileSync(input, JSON.stringify(document))
    const distro = renderer === 'sysconfig' ? 'rhel' : 'debian'
    const macs = Object.entries(names).flatMap(([mac, name]) => ['-m', `${name},${mac}`])
    const paths = ['-p', input, '-k', kind, '-d', output, '-D', distro, '-O', renderer]
    await run('cloud-init', ['devel', 'net-convert', ...paths, ...macs])
    const files = readdirSync(output, { recursive: true, encoding: 'utf8' })
      .map(name => join(output, name))
      .filter(path => statSync(path).isFile())
    return new Map(files.map(path => [relative(output, path), readFileSync(path, 'utf8')]))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const program = `
import json, sys
from cloudinit.sources.helpers.openstack import convert_net_json
document, macs = json.load(sys.stdin)
print(json.dumps(convert_net_json(document, known_macs=macs)))`

/** What cloud-init reads from a network_data.json: its own network config, of version 1. */
export async function readNetworkData(document: unknown, names: Conversion['names']) {
  const child = run('/usr/bin/python3', ['-c', program])
  child.child.stdin?.end(JSON.stringify([document, names]))
  return JSON.parse((await child).stdout)
}
