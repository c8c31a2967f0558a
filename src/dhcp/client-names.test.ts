import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ClientNames, clientIdOf, namesOfClientId } from './client-names.ts'

const none: ClientNames = { mac_address: null, client_id: null, duid: null, iaid: null }
const mac_address = '52:54:00:00:00:01'

describe('the id of a client', () => {
  test.each<[id: string | null, names: Partial<ClientNames>]>([
    [null, {}],
    [mac_address, { mac_address, client_id: '01525400000001' }],
    ['client-id:ff0102', { client_id: 'ff0102' }],
    ['duid:0004aa/7', { mac_address, client_id: 'ff', duid: '0004aa', iaid: 7 }],
    ['duid:0004aa/0', { duid: '0004aa' }],
    [null, { client_id: 'aa'.repeat(255) }],
    [null, { duid: 'aa'.repeat(130), iaid: 1 }],
  ])('%s', (id, names) => {
    expect(clientIdOf({ ...none, ...names })).toBe(id)
  })

  test('tells the name that it was made of', () => {
    const hex = (maxLength: number) =>
      fc.uint8Array({ minLength: 1, maxLength }).map(bytes => Buffer.from(bytes).toString('hex'))
    const names = fc.oneof(
      fc.record({ duid: hex(110), iaid: fc.nat(2 ** 32 - 1) }),
      fc.record({ client_id: hex(120) }),
      hex(6)
        .filter(text => text.length === 12)
        .map(text => ({ mac_address: text.match(/../g)?.join(':') ?? '' })),
    )
    fc.assert(
      fc.property(names, one => {
        const known = { ...none, ...one }
        expect(namesOfClientId(clientIdOf(known) ?? '')).toEqual(known)
      }),
    )
  })

  test.each([
    '',
    'vm-1',
    'duid:0004aa/4294967296',
    'duid:0004a/1',
    'client-id:',
    'AA:BB:CC:00:00:01',
  ])('is not %s', id => {
    expect(namesOfClientId(id)).toBeNull()
  })
})
