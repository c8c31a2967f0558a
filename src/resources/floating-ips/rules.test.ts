import fc from 'fast-check'
import { expect, test } from 'vitest'
import { publicScopeId } from '../address-scopes/schema.ts'
import { type Target, whyUnfit } from './rules.ts'

const floating = { id: 'f1', address: '192.0.2.1' }
const target: Target = {
  scope_id: 'private',
  address: '10.0.0.1',
  is_ended: false,
  has_lapsed: false,
  is_prefix: false,
  floating_ip_id: null,
}
const codeOf = (change: Partial<Target>, address = floating.address) =>
  whyUnfit({ ...floating, address }, { ...target, ...change })?.code ?? null

test('a floating IP points at a private address of its version, which no other has', () => {
  expect(codeOf({})).toBeNull()
  expect(codeOf({ floating_ip_id: 'f1' })).toBeNull()
  expect(codeOf({ address: '2001:db8::1' }, '2001:db8:1::1')).toBeNull()
})

test.each([
  ['allocation_ended', { is_ended: true }],
  ['hold_expired', { has_lapsed: true }],
  ['private_allocation_unfit', { scope_id: publicScopeId }],
  ['private_allocation_unfit', { is_prefix: true, address: '10.0.0.0/28' }],
  ['private_allocation_unfit', { address: '2001:db8::1' }],
  ['private_allocation_associated', { floating_ip_id: 'f2' }],
] satisfies [string, Partial<Target>][])('%s refuses %j', (code, change: Partial<Target>) => {
  const why = whyUnfit(floating, { ...target, ...change })
  expect(why).toMatchObject({ code, detail: expect.stringContaining(change.address ?? '10.0.0.1') })
})

test('what can never be is told before what may pass, and an end before all', () => {
  const order = ['is_ended', 'has_lapsed', 'is_prefix'] as const
  const codes = ['allocation_ended', 'hold_expired', 'private_allocation_unfit']
  fc.assert(
    fc.property(fc.subarray([...order], { minLength: 1 }), faults => {
      const change = Object.fromEntries(faults.map(fault => [fault, true]))
      const first = order.findIndex(fault => faults.includes(fault))
      expect(codeOf({ ...change, floating_ip_id: 'f2' })).toBe(codes[first])
    }),
  )
})
