import { randomFillSync } from 'node:crypto'

const pool = new Uint8Array(4096)
let used = pool.length

/**
 * A UUID of version 7 (RFC 9562 §5.7): it grows with time, so that rows made one after the other
 * lie side by side in an index.
 */
export function newId(): string {
  if (used + 10 > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const time = Date.now().toString(16).padStart(12, '0')
  const noise = Buffer.from(pool.buffer, used, 10).toString('hex')
  used += 10
  const variant = ((Number.parseInt(noise.charAt(3), 16) & 3) | 8).toString(16)
  const [a, b, c] = [noise.slice(0, 3), noise.slice(4, 7), noise.slice(8, 20)]
  return `${time.slice(0, 8)}-${time.slice(8)}-7${a}-${variant}${b}-${c}`
}
