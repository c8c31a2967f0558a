import { randomFillSync } from 'node:crypto'

const pool = new Uint8Array(4096)
let used = pool.length
let latest = 0
let count = 0
const id = Buffer.alloc(16)

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
  id.writeUIntBE(latest, 0, 6)
  id.writeUInt16BE(0x7000 | count, 6)
  id.set(pool.subarray(used, used + 8), 8)
  id[8] = 0x80 | ((id[8] ?? 0) & 0x3f)
  used += 8
  const hex = id.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The id of the address scope that exists from the start, `public`. */
export const publicScopeId = '00000000-0000-0000-0000-000000000001'
