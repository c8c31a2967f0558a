export type CircuitOptions = {
  /** After how many failures in a row nobody tries for a while. */
  readonly failures_max: number
  /** The first rest; it doubles with each trial that fails, up to the longest. */
  readonly rest_seconds: number
  readonly rest_seconds_max: number
  readonly now: () => number
  /** From 0 to 1: so that not all servers try at the same instant. */
  readonly random: () => number
}

/** Spares requests the wait for a Keystone that is known to be away. */
export type Circuit = {
  /**
   * Whether a request may be made; if yes, its outcome must be told. After a rest one at a time
   * may.
   */
  enter(): boolean
  succeeded(): void
  failed(): void
  /** Whole seconds until another trial is made, at least 1. */
  retryAfter(): number
}

export function createCircuit(options: CircuitOptions): Circuit {
  const { failures_max, rest_seconds, rest_seconds_max, now, random } = options
  let failures = 0
  let rests = 0
  let opensAt = 0
  let isTrying = false

  return {
    enter() {
      if (rests === 0) return true
      if (isTrying || now() < opensAt) return false
      isTrying = true
      return true
    },
    succeeded() {
      failures = 0
      rests = 0
      isTrying = false
    },
    failed() {
      failures++
      // Who began before the circuit opened tells nothing new.
      const isNews = rests === 0 ? failures >= failures_max : isTrying
      if (!isNews) return
      isTrying = false
      const seconds = Math.min(rest_seconds * 2 ** Math.min(rests, 16), rest_seconds_max)
      rests++
      opensAt = now() + seconds * 1000 * (0.75 + random() / 4)
    },
    retryAfter: () => Math.max(1, Math.ceil((opensAt - now()) / 1000)),
  }
}
