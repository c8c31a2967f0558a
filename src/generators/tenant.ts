import { createHash } from 'node:crypto'
import { macBasedGenerator } from './mac-based.ts'

/**
 * The addresses of the original Melange, by its `tenant_based_generator`: 32 bits that the
 * addresses of a project share, `ff`, and the part of the MAC that its vendor counts. The 32 bits
 * are the first of the SHA-1 of the project id; what a longer prefix leaves no room for is cut, as
 * there.
 */
export const tenant = macBasedGenerator('tenant', ({ project_id }, mac) => {
  const project = createHash('sha1').update(project_id).digest().readUInt32BE()
  return (BigInt(project) << 32n) | 0xff00_0000n | (mac & 0xff_ffffn)
})
