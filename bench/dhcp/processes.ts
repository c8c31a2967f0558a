import { readdirSync, readFileSync } from 'node:fs'

const ticksPerSecond = 100 // USER_HZ, which Linux has fixed for all that programs see.

type Stat = { readonly parent: number; readonly seconds: number }

/** A process and all that it has started, directly or not. */
export function processTree(root: number): number[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  const stats = pids.map(pid => ({ pid: Number(pid), stat: readStat(Number(pid)) }))
  const tree = new Set([root])
  for (let size = 0; size !== tree.size; ) {
    size = tree.size
    for (const { pid, stat } of stats) if (stat && tree.has(stat.parent)) tree.add(pid)
  }
  return [...tree]
}

/** Seconds of processors that a tree of processes has used, those that have ended included. */
export function cpuSeconds(root: number): number {
  return processTree(root).reduce((sum, pid) => sum + (readStat(pid)?.seconds ?? 0), 0)
}

/** The most memory that each process of a tree had resident, in MB of 1024 KB, added up. */
export function peakMb(root: number): number {
  const peaks = processTree(root).map(pid => {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readProc(`${pid}/status`))?.[1] ?? 0)
  })
  return Math.ceil(peaks.reduce((sum, kb) => sum + kb, 0) / 1024)
}

export function parentOf(pid: number): number {
  const parent = readStat(pid)?.parent
  if (parent === undefined) throw new Error(`there is no process ${pid}`)
  return parent
}

/** Seconds of all processors since the machine has started: in use, and taken by others beside it. */
export function machineSeconds(): { readonly busy: number; readonly steal: number } {
  const [user, nice, system, , , irq, softirq, steal] = (readProc('stat').split('\n')[0] ?? '')
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(ticks => Number(ticks) / ticksPerSecond)
  const busy = [user, nice, system, irq, softirq].reduce<number>((sum, part = 0) => sum + part, 0)
  return { busy, steal: steal ?? 0 }
}

/** proc(5): the fields behind the name of the program, which may hold anything. */
function readStat(pid: number): Stat | null {
  const text = readProc(`${pid}/stat`)
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  if (fields.length < 16) return null
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return { parent: Number(fields[1]), seconds: ticks / ticksPerSecond }
}

/** Nothing, if it has ended. */
function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8')
  } catch {
    return ''
  }
}
