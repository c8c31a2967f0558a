import { randomFillSync } from 'node:crypto'

const pool = new Uint8Array(4096)
let used = pool.length
let latest = 0
let count = 0

/**
 * A UUID of version 7 (RFC 9562 §5.7): it grows with time, so that rows made one after the other
 * lie side by side in an index. Within a process each is greater than the one before it: of what
 * is made in one millisecond, 12 bits count (§6.2, method 1).
 */
export function newId(): string {
  if (used + 8 > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  count = (count + 1) % 4096
  if (count === 0) latest++ // More than the clock has milliseconds for: the ids run ahead of it.
  if (Date.now() > latest) {
    latest = Date.now()
    count = 0
  }
  const time = latest.toString(16).padStart(12, '0')
  const noise = Buffer.from(pool.buffer, used, 8).toString('hex')
  used += 8
  const variant = ((Number.parseInt(noise.charAt(3), 16) & 3) | 8).toString(16)
  const a = count.toString(16).padStart(3, '0')
  const [b, c] = [noise.slice(0, 3), noise.slice(4, 16)]
  return `${time.slice(0, 8)}-${time.slice(8)}-7${a}-${variant}${b}-${c}`
}
