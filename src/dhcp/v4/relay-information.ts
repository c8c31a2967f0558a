/** Sub-options of the relay agent information (option 82, RFC 3046 §2.0) that this server reads. */
export const subOptions = {
  circuitId: 1,
  remoteId: 2,
  linkSelection: 5,
  serverIdentifierOverride: 11,
  sourcePort: 19,
} as const

/** Sub-options by code: the first of each. Null for what ends within one of them. */
export function readSubOptions(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> | null {
  const found = new Map<number, Uint8Array>()
  for (let place = 0; place < bytes.length; ) {
    const first = place + 2
    const last = first + (bytes[place + 1] ?? bytes.length)
    if (last > bytes.length) return null
    const code = bytes[place] ?? 0
    if (!found.has(code)) found.set(code, bytes.subarray(first, last))
    place = last
  }
  return found
}
