import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createFrameReader, encodeFrame, type Frame } from './frames.ts'

test('frames are what they were, however the stream is cut', () => {
  const frame = fc.record({
    socket: fc.nat(0xffff),
    port: fc.nat(0xffff),
    address: fc.constantFrom('fe80::1%eth0', '::1', ''),
    packet: fc.uint8Array({ maxLength: 40 }).map(Buffer.from),
  })
  fc.assert(
    fc.property(fc.array(frame), fc.array(fc.integer({ min: 1, max: 50 })), (frames, cuts) => {
      const seen: Frame[] = []
      const read = createFrameReader(
        one => void seen.push({ ...one, packet: Buffer.from(one.packet) }),
      )
      let rest = Buffer.concat(frames.map(encodeFrame))
      for (const cut of [...cuts, rest.length]) {
        read(rest.subarray(0, cut))
        rest = rest.subarray(cut)
      }
      expect(seen).toEqual(frames)
    }),
  )
})
