import { readdirSync, readFileSync } from 'node:fs'
import {
  constants,
  monitorEventLoopDelay,
  type PerformanceEntry,
  PerformanceObserver,
  performance,
} from 'node:perf_hooks'
import { Counter, Gauge, type Registry } from 'prom-client'
import { createHistogram, remember } from './histogram.ts'

// The names are those of prom-client's default metrics, behind our prefix. Those cannot be used
// themselves: they never end what they start, so every app that was closed would leave a timer and
// an observer of the garbage collector behind.

/** Tells how the process fares, until the function that it returns is called. */
export function collectProcessMetrics(registry: Registry, prefix: string): () => void {
  const registers = [registry]
  new Counter({
    name: `${prefix}process_cpu_seconds_total`,
    help: 'Processor time used since the start of the process, by user and system.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  for (const [name, help, read] of readings) {
    new Gauge({
      name: prefix + name,
      help,
      registers,
      collect() {
        const value = read()
        if (value === undefined) this.remove()
        else this.set(value)
      },
    })
  }
  new Gauge({
    name: `${prefix}nodejs_version_info`,
    help: 'The version of Node; the value is always 1.',
    labelNames: ['version'],
    registers,
  }).set({ version: process.version }, 1)

  const endings = [observeLoop, observeGarbage].map(observe => observe(registry, prefix))
  return () => {
    for (const end of endings) end()
  }
}

type Reading = readonly [name: string, help: string, read: () => number | undefined]

const readings: readonly Reading[] = [
  [
    'process_start_time_seconds',
    'When the process began, in seconds since 1970.',
    () => performance.timeOrigin / 1000,
  ],
  ['process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss()],
  ['process_open_fds', 'Open file descriptors; only on Linux.', countOpenFiles],
  ['process_max_fds', 'How many file descriptors may be open; only on Linux.', countOpenFilesMax],
  [
    'nodejs_heap_size_total_bytes',
    "What Node's heap has taken.",
    () => process.memoryUsage().heapTotal,
  ],
  [
    'nodejs_heap_size_used_bytes',
    "What of Node's heap is used.",
    () => process.memoryUsage().heapUsed,
  ],
  [
    'nodejs_external_memory_bytes',
    "Memory of buffers and the like, outside of Node's heap.",
    () => process.memoryUsage().external,
  ],
]

function countOpenFiles(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length - 1 // Without the one that reads the folder.
  } catch {
    return undefined
  }
}

function countOpenFilesMax(): number | undefined {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8')
    const [, softLimit] = /^Max open files +(\d+)/m.exec(limits) ?? []
    return softLimit === undefined ? undefined : Number(softLimit)
  } catch {
    return undefined
  }
}

const resolutionMilliseconds = 10

/** How late timers are. Node measures from timer to timer, so the time between two is taken off. */
function observeLoop(registry: Registry, prefix: string): () => void {
  const delays = monitorEventLoopDelay({ resolution: resolutionMilliseconds })
  delays.enable()
  const gauge = (name: string, help: string, collect = () => {}) =>
    new Gauge({
      name: `${prefix}nodejs_eventloop_lag_${name}_seconds`,
      help: `${help} delay of the event loop since the last time this was read.`,
      registers: [registry],
      collect,
    })
  const set = (to: Gauge, nanoseconds: number) =>
    to.set(Math.max(0, nanoseconds / 1e9 - resolutionMilliseconds / 1000))
  // Registered first, so its `collect` runs before the others are read, and sets them all.
  const mean = gauge('mean', 'Mean', () => {
    if (delays.count === 0) return // Read a moment ago: what was told then is still the best.
    set(mean, delays.mean)
    set(p50, delays.percentile(50))
    set(p90, delays.percentile(90))
    set(p99, delays.percentile(99))
    set(max, delays.max)
    delays.reset()
  })
  const p50 = gauge('p50', 'Median')
  const p90 = gauge('p90', '90th percentile of the')
  const p99 = gauge('p99', '99th percentile of the')
  const max = gauge('max', 'Longest')
  return () => delays.disable()
}

const garbageKinds = new Map([
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
])

type GarbageEntry = PerformanceEntry & { readonly detail: { readonly kind: number } }

function observeGarbage(registry: Registry, prefix: string): () => void {
  const durations = createHistogram({
    registry,
    name: `${prefix}nodejs_gc_duration_seconds`,
    help: 'How long garbage collection took, by kind: major, minor, incremental or weakcb.',
    buckets: [0.001, 0.01, 0.1, 1, 2, 5],
  })
  const durationsOf = remember((kind: string) => durations({ kind }))
  const observer = new PerformanceObserver(list => {
    for (const { detail, duration } of list.getEntries() as GarbageEntry[]) {
      const kind = garbageKinds.get(detail.kind)
      if (kind) durationsOf(kind).observe(duration / 1000)
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  return () => observer.disconnect()
}
