import { once } from 'node:events'
import { clientInterface, type Lab, segment } from './lab.ts'
import type { Load } from './load.ts'
import { cpuSeconds } from './processes.ts'
import type { Measured } from './trial.ts'

/** Kea's own load program knows no broadcasts of DHCPv4: it always calls itself a relay. */
export const perfdhcpTakes = ({ version, relayed, clients }: Load) =>
  clients !== 'automatic' && (version === 6 || relayed)

/** The load of Kea's program, at a rate. It says nothing of percentiles and of addresses. */
export async function runPerfdhcp(given: {
  lab: Lab
  load: Load
  clients: number
  seconds: number
  rate: number
}): Promise<Measured> {
  const { lab, load, clients, seconds, rate } = given
  const period = Math.max(1, Math.round(seconds)) // It takes whole seconds only.
  const target = load.version === 4 || load.relayed ? segment[load.version].server : 'all'
  const started = lab.start({
    namespace: lab.clients,
    command: [
      ...['perfdhcp', ...perfdhcpOptions(load)],
      ...['-b', `mac=${segment.firstMac}`, '-R', String(clients)],
      ...['-r', String(rate), '-p', String(period), '-W', '500000', target],
    ],
  })
  // Asked for while it runs: what it used is gone with it.
  let cpu_seconds = 0
  const timer = setInterval(() => {
    cpu_seconds = Math.max(cpu_seconds, cpuSeconds(started.child.pid ?? 0))
  }, 100)
  await once(started.child, 'close')
  clearInterval(timer)
  return { ...readPerfdhcp(started.said()), seconds: period, cpu_seconds }
}

function perfdhcpOptions({ version, relayed }: Load): string[] {
  if (version === 4) return ['-4', '-l', segment[4].clients]
  const duid = `duid=00030001${segment.firstMac.replaceAll(':', '')}`
  return ['-6', ...(relayed ? ['-A', '1'] : []), '-l', clientInterface, '-b', duid]
}

/** Reads what perfdhcp says at its end: of the first two messages, then of the other two. */
export function readPerfdhcp(text: string): Omit<Measured, 'seconds' | 'cpu_seconds'> {
  const pattern = /sent packets: (\d+)\s+received packets: (\d+)/g
  const [first, second] = [...text.matchAll(pattern)].map(([, ...counts]) => counts.map(Number))
  if (first?.[0] === undefined || second?.[1] === undefined) {
    throw new Error(`perfdhcp failed: ${text.slice(-500)}`)
  }
  const [, completed] = second
  return {
    started: first[0],
    skipped: 0,
    completed,
    completed_in_time: completed,
    refused: 0,
    wrong: 0,
    ack_ms: null,
  }
}
