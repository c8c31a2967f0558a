import type { MacRange, MacRangeRequest } from '../../src/resources/macs/schema.ts'
import { type Api, expectStatus } from './api.ts'

/** A range of 256 MACs, unless told otherwise. */
export async function createMacRange(
  api: Api,
  request: Partial<MacRangeRequest> = {},
): Promise<MacRange> {
  const answer = await api.post('/v2/mac-ranges', { prefix: '52:54:00:00:00:00/40', ...request })
  return expectStatus(201, answer) as unknown as MacRange
}
