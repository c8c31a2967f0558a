/** Says again of which hosts something ends: a hold, or that an address is withheld. */
export type Schedule = {
  /** `until` in milliseconds since 1970. */
  note(key: string, until: number | undefined): void
  stop(): void
}

const longestMilliseconds = 3_600_000

export function createSchedule(onDue: (keys: ReadonlySet<string>) => void): Schedule {
  const times = new Map<string, number>()
  let next = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | undefined

  function wait() {
    clearTimeout(timer)
    if (times.size === 0) return
    const milliseconds = Math.min(Math.max(next - Date.now(), 0), longestMilliseconds)
    timer = setTimeout(look, milliseconds)
  }

  function look() {
    const now = Date.now()
    const due = new Set<string>()
    next = Number.POSITIVE_INFINITY
    for (const [key, time] of times) {
      if (time <= now) {
        due.add(key)
        times.delete(key)
      } else next = Math.min(next, time)
    }
    wait()
    if (due.size > 0) onDue(due)
  }

  return {
    note(key, until = Number.POSITIVE_INFINITY) {
      if (!Number.isFinite(until)) {
        times.delete(key)
        return
      }
      times.set(key, until)
      if (until >= next) return
      next = until
      wait()
    },
    stop() {
      clearTimeout(timer)
      times.clear()
    },
  }
}
