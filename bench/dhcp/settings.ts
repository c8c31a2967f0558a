import { execFileSync } from 'node:child_process'
import { type Load, loads } from './load.ts'
import type { Population } from './servers.ts'

export type DhcpSettings = {
  readonly servers: readonly string[]
  readonly loads: readonly string[]
  /** Numbers of hosts for which start and change are measured. */
  readonly sizes: readonly number[]
  readonly rounds: number
  /** Of one trial. */
  readonly seconds: number
  /** Trials in search of the highest rate with little loss; 0 for none. */
  readonly rate_steps: number
  /** Loads for which it is searched. */
  readonly rate_loads: readonly string[]
  readonly changes: number
  readonly quick: boolean
}

export const serverNames = ['ours', 'ours-durable', 'kea-1', 'kea-2', 'kea-postgres', 'dnsmasq']

/** What is put under load unless something else is asked for. */
export const defaultLoads = [
  ...['relay-new', 'relay-known', 'broadcast-new', 'broadcast-known', 'v6-new', 'v6-known'],
  'relay-automatic',
]

const rateLoads = ['relay-new', 'relay-known']
const quickRateLoads = ['relay-known']
const quickLoads = ['relay-new', 'relay-known', 'relay-automatic']

/** What is set, and what it comes to otherwise. */
export function completeSettings(
  given: Partial<DhcpSettings> & { readonly quick: boolean },
): DhcpSettings {
  const { quick } = given
  const chosen = given.loads ?? (quick ? quickLoads : defaultLoads)
  return {
    servers: given.servers ?? serverNames,
    loads: chosen,
    sizes: given.sizes ?? (quick ? [1000] : [1000, 16_384, 65_533]),
    rounds: given.rounds ?? (quick ? 1 : 3),
    seconds: given.seconds ?? (quick ? 0.5 : 2),
    rate_steps: given.rate_steps ?? (quick ? 1 : 3),
    rate_loads: chosen.filter(name => (quick ? quickRateLoads : rateLoads).includes(name)),
    changes: given.changes ?? (quick ? 30 : 300),
    quick,
  }
}

export const populationOf = ({ quick }: DhcpSettings): Population =>
  quick ? { known: 1000, new: 5000, spare: 1000 } : { known: 5000, new: 50_000, spare: 4096 }

export const findLoads = (names: readonly string[]): Load[] =>
  names.flatMap(name => loads.filter(load => load.name === name))

/** Why it cannot be measured here, in one line; null if it can. */
export function whyNot({ servers }: DhcpSettings): string | null {
  if (process.getuid?.() !== 0) return 'network namespaces need root: run this as root'
  const has = (start: string) => servers.some(name => name.startsWith(start))
  const programs = [
    'ip',
    'gcc',
    'xargs',
    ...(has('kea') ? ['kea-dhcp4', 'kea-dhcp6', 'psql'] : []),
    ...(has('dnsmasq') ? ['dnsmasq'] : []),
    'perfdhcp',
  ]
  const missing = programs.filter(program => !isInstalled(program))
  if (missing.length === 0) return null
  return `${missing.join(', ')} not found: run \`npm run setup:debian -- dhcp\``
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$1"', 'sh', program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** What the other servers call themselves. */
export function findVersions({ servers }: DhcpSettings): string[] {
  const has = (start: string) => servers.some(name => name.startsWith(start))
  const ask = (program: string, option: string) =>
    execFileSync(program, [option], { encoding: 'utf8' }).split('\n')[0] ?? ''
  return [
    ...(has('kea') ? [`Kea ${ask('kea-dhcp4', '-v')}`] : []),
    ...(has('dnsmasq')
      ? [ask('dnsmasq', '--version').replace(/^(\w+) version (\S+).*/, '$1 $2')]
      : []),
  ]
}
