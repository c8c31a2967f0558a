/** Finds the highest rate that a server keeps, one trial at a time, so that trials can take turns. */
export class RateSearch {
  #kept: number | null = null
  #missed: number | null = null
  readonly #start: number

  /** Begins at a rate that seems possible. */
  constructor(start: number) {
    this.#start = Math.max(1, start)
  }

  get next(): number {
    const [kept, missed] = [this.#kept, this.#missed]
    if (kept !== null && missed !== null) return Math.round((kept + missed) / 2)
    if (kept !== null) return Math.round(kept * step)
    return Math.max(1, Math.round(missed === null ? this.#start : missed / step))
  }

  /** Of a rate that nothing was tried above, `is_open`: it may be higher. */
  get result(): { readonly per_s: number | null; readonly is_open: boolean } {
    return { per_s: this.#kept, is_open: this.#missed === null }
  }

  take({ rate, kept }: { rate: number; kept: boolean }): void {
    if (kept) this.#kept = Math.max(this.#kept ?? 0, rate)
    // What was missed below a rate that was kept was bad luck.
    else if (rate > (this.#kept ?? 0)) this.#missed = Math.min(this.#missed ?? rate, rate)
  }
}

const step = 1.3
