import fc from 'fast-check'
import { expect, test } from 'vitest'
import { numberOf } from '../../../test/helpers/dhcp4-packets.ts'
import {
  circuitBytes,
  hexOf,
  numberOfAddress,
  numberOfMac,
  textOfAddress,
  textOfMac,
} from './texts.ts'

const octets = (count: number) => fc.array(fc.nat(255), { minLength: count, maxLength: count })

test('addresses and MACs are the same as numbers and as text', () => {
  fc.assert(
    fc.property(octets(4), parts => {
      const text = parts.join('.')
      expect(numberOfAddress(text)).toBe(numberOf(text))
      expect(textOfAddress(numberOf(text))).toBe(text)
    }),
  )
  fc.assert(
    fc.property(octets(6), parts => {
      const text = parts.map(part => part.toString(16).padStart(2, '0')).join(':')
      expect(numberOfMac(text)).toBe(Number(`0x${text.replaceAll(':', '')}`))
      expect(textOfMac(numberOfMac(text))).toBe(text)
    }),
  )
})

test('bytes are hex, if there are some and not too many', () => {
  const bytes = Uint8Array.of(0, 255)
  expect([hexOf(bytes, 2), hexOf(bytes, 1), hexOf(undefined, 1)]).toEqual(['00ff', null, null])
  expect(hexOf(new Uint8Array(0), 1)).toBeNull()
  expect(circuitBytes('0x00ff').toString('hex')).toBe('00ff')
  expect(circuitBytes('port').toString()).toBe('port')
})
