import { beforeEach, describe, expect, test } from 'vitest'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import {
  askInterface,
  createInterface,
  interfacesOf,
  putInterfaces,
} from '../helpers/interfaces.ts'

const api = useApi()
const [red, blue] = networks
const none = { client_id: null, duid: null, iaid: null }
const duid = '00030001525400000001'
const bare = { mac_address: null }

beforeEach(() => api.createNetworks())

const patch = (one: Pick<Interface, 'id'>, payload: object) =>
  api.patch(`/v2/interfaces/${one.id}`, payload)
const knownBy = ({ client_id, duid, iaid }: Interface) => ({ client_id, duid, iaid })
const listed = async (query: string) =>
  (await api.get(`/v2/interfaces?${query}`)).body as unknown as { interfaces: Interface[] }

describe('an interface', () => {
  test('is known by a client id and a DUID, in one spelling', async () => {
    const made = await createInterface(api, {
      ...bare,
      client_id: '01:52:54:00:AB:00:01',
      duid: '00-03-00-01-52-54-00-00-00-01',
      iaid: 4_294_967_295,
    })
    const expected = { client_id: '01525400ab0001', duid, iaid: 4_294_967_295 }
    expect(made).toMatchObject(expected)
    expect((await api.get(`/v2/interfaces/${made.id}`)).body).toMatchObject(expected)
    for (const query of ['client_id=01:52:54:00:ab:00:01', `duid=${duid.toUpperCase()}`]) {
      expect((await listed(query)).interfaces).toEqual([made])
    }
    expect((await listed('client_id=01ff')).interfaces).toEqual([])
    expect(knownBy(await createInterface(api, bare))).toEqual(none)
  })

  test('is known by others when that is changed, which an event tells', async () => {
    const made = await createInterface(api, { ...bare, client_id: '01aa', duid, iaid: 7 })
    const after = (await api.get('/v2/events?after=latest')).body.cursor
    const changed = expectStatus(200, await patch(made, { client_id: '01bb', iaid: null }))
    expect(changed).toMatchObject({ client_id: '01bb', duid, iaid: null, generation: 2 })
    const { events } = (await api.get(`/v2/events?after=${after}`)).body
    expect(events).toMatchObject([{ type: 'interface.updated', object_id: made.id, data: changed }])
    expect(expectStatus(200, await patch(made, { name: 'eth0' }))).toMatchObject({
      client_id: '01bb',
      duid,
    })
    await patch(made, { iaid: 9 })
    const forgotten = expectStatus(200, await patch(made, { duid: null, client_id: null }))
    expect(forgotten).toMatchObject(none)
  })

  test('has no IAID without a DUID, and no name that DHCP cannot have', async () => {
    const made = await createInterface(api, bare)
    const wrong = [
      { iaid: 1 },
      { client_id: '01' },
      { client_id: '01a' },
      { client_id: '01::aa' },
      { client_id: 'aa'.repeat(256) },
      { duid: '0001' },
      { duid: 'aa'.repeat(131) },
      { duid, iaid: 2 ** 32 },
      { duid, iaid: -1 },
    ]
    for (const one of wrong) {
      expectProblem(await askInterface(api, { ...bare, ...one }), 'invalid_request')
      expectProblem(await patch(made, one), 'invalid_request')
    }
    expectProblem(await patch(made, { iaid: 1 }), 'invalid_request', { field: 'iaid' })
    const longest = { client_id: 'aa'.repeat(255), duid: 'bb'.repeat(130), iaid: 0 }
    expectStatus(200, await patch(made, longest))
  })

  test('shares its names with no other of the network', async () => {
    await createInterface(api, { ...bare, client_id: '01aa', duid, iaid: 7 })
    const other = await createInterface(api, { ...bare, duid, iaid: 8 })
    await createInterface(api, { ...bare, network_id: blue, client_id: '01aa', duid, iaid: 7 })
    const refused = [
      [{ client_id: '01:AA' }, 'client_id_taken', 'client_id'],
      [{ duid, iaid: 7 }, 'duid_taken', 'duid'],
      [{ duid, iaid: null }, 'duid_taken', 'duid'],
    ] as const
    for (const [names, code, field] of refused) {
      expectProblem(await askInterface(api, { ...bare, ...names }), code, { field })
      expectProblem(await patch(other, names), code, { field })
    }
    const any = await createInterface(api, { ...bare, duid: '0004ff' })
    expectProblem(await askInterface(api, { ...bare, duid: '0004ff', iaid: 1 }), 'duid_taken')
    expectStatus(200, await patch(any, { iaid: 2 }))
    expectStatus(201, await askInterface(api, { ...bare, duid: '0004ff', iaid: 1 }))
  })

  test('gives its names to another when it goes', async () => {
    const made = await createInterface(api, { ...bare, client_id: '01aa', duid })
    expect((await api.delete(`/v2/interfaces/${made.id}`)).status).toBe(204)
    expectStatus(201, await askInterface(api, { ...bare, client_id: '01aa', duid }))
  })

  test('of many that want one name at once is one', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => createInterface(api, bare)))
    const names = [
      { client_id: '01aa', duid: '0004aa' },
      { client_id: '01bb', duid: '0004bb' },
    ]
    const answers = await Promise.all([
      ...made.map((one, n) => patch(one, { ...names[n % 2], duid: names[(n >> 1) % 2]?.duid })),
      ...names.map(one => askInterface(api, { ...bare, ...one })),
    ])
    for (const { status, body } of answers) {
      if (status < 300) continue
      expect([body.code, status]).toEqual([expect.stringMatching(/^(client_id|duid)_taken$/), 409])
    }
    for (const { client_id, duid } of names) {
      expect((await listed(`client_id=${client_id}`)).interfaces.length).toBeLessThanOrEqual(1)
      expect((await listed(`duid=${duid}`)).interfaces.length).toBeLessThanOrEqual(1)
    }
    expect(answers.filter(({ status }) => status < 300).length).toBeGreaterThan(0)
  })
})

describe('the interfaces of a device', () => {
  test('are found by their names, and may pass them to each other', async () => {
    const before = interfacesOf(
      await putInterfaces(api, 'vm', [
        { ...bare, client_id: '01aa' },
        { ...bare, duid, iaid: 1 },
        { ...bare, duid, iaid: 2 },
      ]),
    )
    const [a = '', b = '', c] = before.map(({ id }) => id)
    const turned = interfacesOf(
      await putInterfaces(api, 'vm', [
        { ...bare, duid, iaid: 2 },
        { ...bare, duid, iaid: 1 },
        { ...bare, client_id: '01aa' },
      ]),
    )
    expect(turned.map(({ id }) => id)).toEqual([c, b, a])
    expect(turned.map(({ generation }) => generation)).toEqual([1, 1, 1])
    const swapped = interfacesOf(
      await putInterfaces(api, 'vm', [
        { id: a, ...bare, duid, iaid: 1 },
        { id: b, ...bare, client_id: '01aa', duid, iaid: 2 },
        { ...bare, duid, iaid: 3 },
      ]),
    )
    expect(swapped.map(one => [one.id, one.client_id, one.iaid])).toEqual([
      [a, null, 1],
      [b, '01aa', 2],
      [c, null, 3],
    ])
    const left = interfacesOf(
      await putInterfaces(api, 'vm', [{ id: a, ...bare, client_id: '01aa' }]),
    )
    expect(left.map(knownBy)).toEqual([{ ...none, client_id: '01aa' }])
  })

  test('are none if another device has a name of theirs', async () => {
    await createInterface(api, { ...bare, network_id: red, duid })
    expectProblem(await putInterfaces(api, 'vm', [{ ...bare, duid, iaid: 1 }]), 'duid_taken')
    expect((await api.get('/v2/devices/vm/interfaces')).body).toEqual({ interfaces: [] })
  })
})
