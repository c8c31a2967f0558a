import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { removeOldCallers } from '../../src/audit-trail/caller-store.ts'
import { removeOldRefusals } from '../../src/audit-trail/refusal-store.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/ids.ts'
import type { AuditRecord } from '../../src/resources/audit-trail/schema.ts'
import { type Answer, type Body, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { callersOf } from '../helpers/audit-trail.ts'
import { v1Body, v1Of } from '../helpers/melange-v1.ts'
import { createPersonas, type Persona } from '../helpers/personas.ts'

// Who did what to which object, and what was refused: docs/guides/audit-trail.md.

const api = useApi({ audit_trail: { waiting_max: 20, wait_seconds: 0.02 } })
let tokens: Readonly<Record<Persona, string>>
beforeEach(async () => {
  tokens = await createPersonas(api)
})
/** What was refused is written in its order: when this is there, so is all before it. */
afterEach(async () => {
  const url = `/v2/tokens/${newId()}`
  expectStatus(401, await api.send({ method: 'DELETE', url, headers: {} }))
  await vi.waitFor(async () => {
    const last = await read(auditor, 'outcome=failure&limit=1000')
    expect(last.map(({ operation }) => operation)).toContain('DELETE /v2/tokens/{token_id}')
  }, 5000)
})

const send = (
  persona: Persona,
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE',
  url: string,
  payload?: object,
  more: Readonly<Record<string, string>> = {},
): Promise<Answer> => {
  const headers = { 'x-auth-token': tokens[persona], 'user-agent': `client of ${persona}`, ...more }
  return api.send({ method, url, headers, ...(payload && { payload }) })
}
/** v0.1 and v1.0 answer also in plain text. */
const sendOld = (persona: Persona, method: 'POST', url: string) =>
  api.app.inject({ method, url, headers: { 'x-auth-token': tokens[persona] } })
const read = async (persona: Persona, query = ''): Promise<AuditRecord[]> => {
  const answer = await send(persona, 'GET', `/v2/audit-trail?${query}`)
  return (expectStatus(200, answer) as Body & { records: AuditRecord[] }).records
}
const auditor = 'reader of the system'
/** Records are written a moment after the answer, where something was refused. */
const readWhenThere = (query: string, count = 1): Promise<AuditRecord[]> =>
  vi.waitFor(async () => {
    const records = await read(auditor, query)
    expect(records.length).toBeGreaterThanOrEqual(count)
    return records
  }, 5000)
const requestOf = ({ headers }: Answer) => String(headers['x-openstack-request-id'])
const isText = expect.any(String)

const createNetworks = (ids: readonly string[]) =>
  Promise.all(ids.map(id => send('member', 'POST', '/v2/networks', { id })))
const createNetwork = async (persona: Persona, more: object = {}) =>
  expectStatus(201, await send(persona, 'POST', '/v2/networks', { name: 'net', ...more }))

describe('what was done', () => {
  test('is told with who did it, from where, by which request, and to what', async () => {
    const of = { 'x-openstack-request-id': 'req-0192c0ff-ee00-7000-8000-0000000000AA' }
    const answer = await send('member', 'POST', '/v2/networks', { name: 'net' }, of)
    const { id } = expectStatus(201, answer)
    const [record, ...more] = await read(auditor, `object_id=${id}`)
    expect(more).toEqual([])
    expect(record).toEqual({
      typeURI: 'http://schemas.dmtf.org/cloud/audit/1.0/event',
      id: isText,
      eventType: 'activity',
      eventTime: isText,
      action: 'create',
      outcome: 'success',
      reason: null,
      initiator: {
        typeURI: 'service/security/account/user',
        id: isText,
        name: 'member',
        domain_id: null,
        project_id: 'red',
        scope: 'project',
        roles: ['member'],
        credential: { type: 'token' },
        service: null,
        host: { address: '127.0.0.1', agent: 'client of member' },
      },
      target: { typeURI: 'network/network', id, project_id: 'red' },
      observer: { typeURI: 'service/network', id: 'melange' },
      operation: 'POST /v2/networks',
      request_id: requestOf(answer),
      global_request_id: 'req-0192c0ff-ee00-7000-8000-0000000000aa',
      event: 'network.created',
      count: 1,
    })
    const { events } = expectStatus(200, await api.get('/v2/events?type=network.created'))
    expect(events.map(({ cursor }) => cursor)).toEqual([record?.id])
  })

  test('each of many callers who share batches did their own', async () => {
    const block = await api.createBlock('10.0.0.0/16')
    const given = await Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        const persona = (['service', 'admin of a project', 'admin of the system'] as const)[n % 3]
        const body = { block_id: block.id, project_id: 'red', name: `${n}` }
        const answer = await send(persona as Persona, 'POST', '/v2/allocations', body)
        const [made] = expectStatus(201, answer).allocations
        return { persona, made, request_id: requestOf(answer) }
      }),
    )
    const ended = await Promise.all(
      given.map(async ({ made }, n) => {
        const persona = (['admin of the system', 'service'] as const)[n % 2]
        const answer = await send(persona as Persona, 'DELETE', `/v2/allocations/${made?.id}`)
        expectStatus(200, answer)
        return { persona, made, request_id: requestOf(answer) }
      }),
    )
    const records = await read(auditor, 'object_type=allocation&limit=1000')
    const seen = records.map(({ action, initiator: { name }, target: { id }, request_id }) =>
      [action, name, id, request_id].join(' '),
    )
    const expected = [
      ...given.map(one => ['create', one.persona, one.made?.id, one.request_id].join(' ')),
      ...ended.map(one => ['delete/release', one.persona, one.made?.id, one.request_id].join(' ')),
    ]
    expect(seen.toSorted()).toEqual(expected.toSorted())
  })

  test('by way of holds, MACs, keys, bulk, and v1.0, names who did it, too', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const from = { block_id: block.id, project_id: 'red' }
    const range = { prefix: '52:54:00:00:00:00/32', name: 'range' }
    const { id: range_id } = expectStatus(201, await api.post('/v2/mac-ranges', range))
    const by = 'service'
    const post = async (url: string, payload: object, more = {}) =>
      expectStatus(201, await send(by, 'POST', url, payload, more))
    const [hold] = (await post('/v2/allocations', { ...from, lifetime_seconds: 600 })).allocations
    expectStatus(
      200,
      await send(by, 'POST', `/v2/allocations/${hold?.id}/renew`, { lifetime_seconds: 60 }),
    )
    expectStatus(200, await send(by, 'POST', `/v2/allocations/${hold?.id}/confirm`, {}))
    const key = { 'idempotency-key': 'key' }
    const [keyed] = (await post('/v2/allocations', from, key)).allocations
    const release = `/v2/allocations/${keyed?.id}`
    expectStatus(200, await send(by, 'DELETE', release, undefined, { 'idempotency-key': 'end' }))
    const bulk = { items: [from, from], on_error: 'abort' }
    expectStatus(200, await send(by, 'POST', '/v2/allocations/bulk', bulk))
    const mac = await post('/v2/macs', { range_id, project_id: 'red' })
    expectStatus(200, await send(by, 'DELETE', `/v2/macs/${mac.id}`))
    const { id: v1_id } = await api.createBlock('10.1.0.0/24', { project_id: 'red' })
    const v1 = `/v1.0/ipam/tenants/red/ip_blocks/${v1_id}/ip_addresses`
    expect((await sendOld(by, 'POST', v1)).statusCode).toBe(201)
    const done = await read(auditor, 'limit=1000')
    const own = done.filter(({ initiator }) => initiator.name === by)
    expect(own.map(({ action, operation }) => `${action} ${operation}`).toReversed()).toEqual([
      'create POST /v2/allocations',
      'renew POST /v2/allocations/{allocation_id}/renew',
      'update/confirm POST /v2/allocations/{allocation_id}/confirm',
      'create POST /v2/allocations',
      'delete/release DELETE /v2/allocations/{allocation_id}',
      'create POST /v2/allocations/bulk',
      'create POST /v2/allocations/bulk',
      'create POST /v2/macs',
      'delete/release DELETE /v2/macs/{mac_id}',
      // The allocation, and the interface and network that the original wants for it.
      'create POST /v1.0/ipam/tenants/{tenant_id}/ip_blocks/{ip_block_id}/ip_addresses',
      'create POST /v1.0/ipam/tenants/{tenant_id}/ip_blocks/{ip_block_id}/ip_addresses',
      'create POST /v1.0/ipam/tenants/{tenant_id}/ip_blocks/{ip_block_id}/ip_addresses',
    ])
    expect((await callersOf(api.db)).unnamed).toEqual([])
  })

  test('by way of v0.1 and v1.0 names who did it in all cases', async () => {
    const all = v1Of(api)
    const block = { type: 'private', cidr: '10.0.0.0/24', network_id: 'net' }
    const made = await all.new.post('tenants/red/ip_blocks', { ip_block: block })
    const path = `tenants/red/ip_blocks/${v1Body(201, made).ip_block.id}`
    const answer = await all.old.post(`${path}/ip_addresses`, { ip_address: {} })
    const { address } = v1Body(201, answer).ip_address
    v1Body(200, await all.new.delete(`${path}/ip_addresses/${address}`))
    v1Body(200, await all.new.put(path, { ip_block: { dns1: '192.0.2.1' } }))
    const route = { destination: '192.0.2.0', netmask: '255.255.255.0', gateway: '10.0.0.1' }
    v1Body(201, await all.new.post(`${path}/ip_routes`, { ip_route: route }))
    const policy = { policy: { name: 'p' } }
    v1Body(201, await all.new.post('tenants/red/policies', policy))
    const range = { mac_address_range: { cidr: '52:54:00:00:00:00/32' } }
    v1Body(201, await all.new.post('mac_address_ranges', range))
    v1Body(200, await all.new.delete(path))
    const { named, unnamed } = await callersOf(api.db)
    expect(unnamed).toEqual([])
    expect(named.length).toBeGreaterThan(7)
    const failures = await read(auditor, 'outcome=failure')
    expect(failures).toEqual([])
  })

  test('what ends with an allocation ends by who ended that; what lapses does so by itself', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const inner = expectStatus(
      201,
      await api.post('/v2/address-scopes', { project_id: 'red', name: 'inner' }),
    )
    const local = await api.createBlock('10.0.0.0/24', { scope_id: inner.id })
    const floating = async () =>
      expectStatus(
        201,
        await api.post('/v2/floating-ips', {
          block_id: block.id,
          project_id: 'red',
          private_allocation_id: (await api.allocateOne(local)).id,
        }),
      )
    const { id, private_allocation_id } = await floating()
    expectStatus(200, await send('service', 'DELETE', `/v2/allocations/${private_allocation_id}`))
    const [let_go] = await read(auditor, `object_id=${id}`)
    expect([let_go?.action, let_go?.initiator.name]).toEqual(['update/disassociate', 'service'])

    const hold = { block_id: block.id, project_id: 'red', lifetime_seconds: 1 }
    const [held] = expectStatus(
      201,
      await send('service', 'POST', '/v2/allocations', hold),
    ).allocations
    await vi.waitFor(async () => {
      await api.allocate(block)
      const [lapsed] = await read(auditor, `object_id=${held?.id}`)
      expect([lapsed?.action, lapsed?.initiator.id]).toEqual(['delete/expire', 'melange'])
    }, 10_000)
  })
})

describe('what was refused', () => {
  test('to somebody is told with the rule, and to whom it was', async () => {
    const { id } = await createNetwork('member')
    const refused = await send('reader', 'PATCH', `/v2/networks/${id}`, { name: 'mine' })
    expectProblem(refused, 'forbidden')
    const [record] = await readWhenThere('outcome=failure')
    expect(record).toMatchObject({
      action: 'update',
      outcome: 'failure',
      reason: { reasonType: 'HTTP', reasonCode: '403', policyId: 'networks:update' },
      initiator: { name: 'reader', host: { address: '127.0.0.1', agent: 'client of reader' } },
      target: { typeURI: 'network/network', id, project_id: 'red' },
      operation: 'PATCH /v2/networks/{network_id}',
      request_id: requestOf(refused),
      event: null,
      count: 1,
    })
  })

  test('as if the thing were not there is told to auditors alone', async () => {
    const { id } = await createNetwork('admin of the system', { project_id: 'blue' })
    const mine = await createNetwork('manager')
    expectProblem(await send('manager', 'DELETE', `/v2/networks/${id}`), 'network_not_found')
    const [record] = await readWhenThere('outcome=failure')
    expect(record).toMatchObject({
      action: 'delete',
      reason: { reasonCode: '404', policyId: 'networks:delete' },
      initiator: { name: 'manager', project_id: 'red' },
      target: { id, project_id: null },
    })
    expect(await read('manager', 'outcome=failure')).toEqual([])
    expect((await read('manager')).map(({ target }) => target.id)).toContain(mine.id)
    expect(await read('manager', `object_id=${id}`)).toEqual([])
  })

  test('because it would give more rights than whoever asks has is told', async () => {
    const more = { name: 'more', project_id: 'red', roles: ['admin'] }
    expectProblem(await send('manager', 'POST', '/v2/tokens', more), 'token_exceeds_caller')
    expect(await readWhenThere('outcome=failure')).toMatchObject([
      { reason: { reasonCode: '403', policyId: 'tokens:create' }, initiator: { name: 'manager' } },
    ])
  })

  test('of a batch is told, by way of v1.0 as well', async () => {
    const block = await api.createBlock('10.0.0.0/24', { project_id: 'blue' })
    const items = [{ block_id: block.id, project_id: 'red' }]
    await send('member', 'POST', '/v2/allocations/bulk', { items, on_error: 'continue' })
    const [of_bulk] = await readWhenThere('outcome=failure')
    expect(of_bulk).toMatchObject({
      reason: { policyId: 'allocations:create' },
      target: { id: block.id },
    })
    expect((await sendOld('member', 'POST', '/v1.0/ipam/tenants/blue/ip_blocks')).statusCode).toBe(
      403,
    )
    await readWhenThere('outcome=failure', 2)
    const [of_v1] = await read(auditor, 'outcome=failure')
    expect(of_v1).toMatchObject({ action: 'create', reason: { policyId: 'melange_v1:tenant' } })
  })

  test('for the token is told of writes, with the address and without the token', async () => {
    const secret = `melange_${'s'.repeat(43)}`
    const headers = { 'x-auth-token': secret, 'user-agent': `curl ${secret}` }
    await api.send({ method: 'GET', url: '/v2/networks', headers })
    const refused = await api.send({ method: 'POST', url: '/v2/networks', headers, payload: {} })
    expectStatus(401, refused)
    const records = await readWhenThere('outcome=failure')
    expect(records).toMatchObject([
      {
        action: 'create',
        reason: { reasonCode: '401', policyId: null },
        initiator: { id: 'unknown', name: null, host: { address: '127.0.0.1', agent: null } },
        target: { typeURI: 'network/network', id: null },
        operation: 'POST /v2/networks',
        request_id: requestOf(refused),
      },
    ])
    expect(JSON.stringify(records)).not.toContain('sss')
  })

  test('again and again is one record with a count, and what differs too much is dropped', async () => {
    const headers = { 'x-auth-token': 'none' }
    await Promise.all(
      Array.from({ length: 50 }, () => api.send({ method: 'POST', url: '/v2/macs', headers })),
    )
    const total = async () => {
      const records = await read(auditor, 'outcome=failure')
      return { rows: records.length, count: records.reduce((sum, one) => sum + one.count, 0) }
    }
    await vi.waitFor(async () => expect(await total()).toMatchObject({ count: 50 }), 5000)
    expect((await total()).rows).toBeLessThan(50)

    const dropped = async () => {
      const headers = { 'x-auth-token': tokens[auditor] }
      const { body } = await api.app.inject({ url: '/metrics', headers })
      return Number(/audit_trail_refusals_total\{fate="dropped"\} (\d+)/.exec(body)?.[1])
    }
    expect(await dropped()).toBe(0)
    const ids = Array.from({ length: 200 }, newId)
    await createNetworks(ids)
    await Promise.all(ids.map(id => send('reader', 'PATCH', `/v2/networks/${id}`, {})))
    await vi.waitFor(async () => expect((await total()).count + (await dropped())).toBe(250), 5000)
    expect(await dropped()).toBeGreaterThan(0)
  })
})

describe('the list', () => {
  test('is in pages, the newest first, each record once', async () => {
    for (let n = 0; n < 5; n++) await createNetwork('member')
    expectProblem(await send('reader', 'POST', '/v2/networks', { name: 'no' }), 'forbidden')
    await readWhenThere('outcome=failure')
    const all = (await read(auditor, 'limit=1000')).map(({ id }) => Number(id))
    expect(all).toEqual(all.toSorted((a, b) => b - a))
    const paged: number[] = []
    for (let next: string | undefined = '/v2/audit-trail?limit=2'; next; ) {
      const body = expectStatus(200, await send(auditor, 'GET', next)) as Body & {
        records: AuditRecord[]
      }
      expect(body.records.length).toBeLessThanOrEqual(2)
      paged.push(...body.records.map(({ id }) => Number(id)))
      next = body.links[0]?.href
    }
    expect(paged).toEqual(all)
    expectProblem(await send(auditor, 'GET', '/v2/audit-trail?marker=x'), 'marker_invalid')
  })

  test('is narrowed by each of its filters, and by all at once', async () => {
    const global = 'req-0192c0ff-ee00-7000-8000-0000000000bb'
    await createNetwork('member', { name: 'first' })
    const answer = await send(
      'manager',
      'POST',
      '/v2/networks',
      { name: 'second' },
      { 'x-openstack-request-id': global },
    )
    const { id } = expectStatus(201, answer)
    expectStatus(200, await send('manager', 'PATCH', `/v2/networks/${id}`, { name: 'third' }))
    await createNetwork('admin of the system', { project_id: 'blue' })
    await send('reader', 'DELETE', `/v2/networks/${id}`)
    await readWhenThere('outcome=failure')

    const all = await read(auditor, 'limit=1000')
    const manager = String(all.find(({ initiator }) => initiator.name === 'manager')?.initiator.id)
    const middle = String(all.find(({ event }) => event === 'network.updated')?.eventTime)
    const queries: [string, (record: AuditRecord) => boolean][] = [
      ['project_id=red', ({ target }) => target.project_id === 'red'],
      ['project_id=none', () => false],
      [`user_id=${manager}`, ({ initiator }) => initiator.id === manager],
      ['user_id=nobody', () => false],
      [`request_id=${requestOf(answer)}`, one => one.request_id === requestOf(answer)],
      [`global_request_id=${global}`, one => one.global_request_id === global],
      [`object_id=${id}`, ({ target }) => target.id === id],
      ['object_id=nothing', () => false],
      ['object_type=network', ({ target }) => target.typeURI === 'network/network'],
      ['object_type=token', ({ target }) => target.typeURI === 'data/security/credential'],
      ['action=delete', ({ action }) => action.startsWith('delete')],
      ['action=create', ({ action }) => action === 'create'],
      ['outcome=success', ({ outcome }) => outcome === 'success'],
      ['outcome=failure', ({ outcome }) => outcome === 'failure'],
      [`since=${middle}`, ({ eventTime }) => eventTime >= middle],
      [`until=${middle}`, ({ eventTime }) => eventTime < middle],
    ]
    for (const [query, isMeant] of queries) {
      const found = await read(auditor, `limit=1000&${query}`)
      expect([query, found]).toEqual([query, all.filter(isMeant)])
    }
    for (const [one, isOne] of queries) {
      for (const [other, isOther] of queries) {
        if (one.split('=')[0] === other.split('=')[0]) continue
        const found = await read(auditor, `limit=1000&${one}&${other}`)
        const ids = all.filter(record => isOne(record) && isOther(record)).map(({ id }) => id)
        expect([one, other, found.map(({ id }) => id)]).toEqual([one, other, ids])
      }
    }
  })

  test('goes on where a filter finds nothing among very many', async () => {
    const first = await createNetwork('member')
    await api.db.query(sql`
      insert into events (seq, type, object_id, project_id, data)
      select nextval('event_seq'), 'mac.created', gen_random_uuid(), 'red', '{}'
      from generate_series(1, 25000)`)
    const last = await createNetwork('member')
    const seen: (string | null)[] = []
    let pages = 0
    const query = 'object_type=network&project_id=red&limit=10'
    for (let next: string | undefined = `/v2/audit-trail?${query}`; next; pages++) {
      const body = expectStatus(200, await send(auditor, 'GET', next)) as Body & {
        records: AuditRecord[]
      }
      seen.push(...body.records.map(({ target }) => target.id))
      next = body.links[0]?.href
    }
    expect(seen).toEqual([last.id, first.id])
    expect(pages).toBe(3)
    // Times are found by halving.
    const [{ eventTime = '' } = {}] = await read(auditor, `object_id=${last.id}`)
    const since = await read(auditor, `since=${eventTime}`)
    expect(since.map(({ target }) => target.id)).toEqual([last.id])
  })

  test('keeps what was refused for its time, and who asked for as long as anything names them', async () => {
    const { id } = await createNetwork('member')
    expectProblem(await send('reader', 'DELETE', `/v2/networks/${id}`), 'forbidden')
    expectProblem(await send('reader', 'PATCH', `/v2/networks/${id}`, {}), 'forbidden')
    await readWhenThere('outcome=failure', 2)
    const old = sql`now() - interval '10 days'`
    await api.db.query(sql`update refusals set at = ${old} where action = 'delete'`)
    expect(await removeOldRefusals(api.db, { days: 11, limit: 10 })).toBe(0)
    expect(await removeOldRefusals(api.db, { days: 9, limit: 10 })).toBe(1)
    const left = await read(auditor, 'outcome=failure')
    expect(left.map(({ action }) => action)).toEqual(['update'])

    await api.db.query(sql`update callers set seen_at = ${old} where user_name = 'member'`)
    expect(await removeOldCallers(api.db, { days: 11, limit: 100 })).toBe(0)
    expect(await removeOldCallers(api.db, { days: 9, limit: 100 })).toBeGreaterThan(0)
    const [record] = await read(auditor, `object_id=${id}&outcome=success`)
    expect(record).toMatchObject({ action: 'create', initiator: { id: 'unknown', host: null } })
  })

  test('tells a project what operators did to its things, and not who they are', async () => {
    const { id } = await createNetwork('admin of the system', { project_id: 'red' })
    const foreign = await createNetwork('admin of the system', { project_id: 'blue' })
    const [seen] = await read('manager', `object_id=${id}`)
    expect(seen).toMatchObject({
      action: 'create',
      initiator: { typeURI: 'unknown', id: 'unknown', name: null, roles: [], host: null },
      request_id: isText,
    })
    expect(await read('manager', `object_id=${foreign.id}`)).toEqual([])
    const [whole] = await read(auditor, `object_id=${id}`)
    const operator = String(whole?.initiator.id)
    expect(operator).not.toBe('unknown')
    expect(await read('manager', `user_id=${operator}`)).toEqual([])
    expect(await read('manager', `user_id=${operator}&project_id=red`)).toEqual([])
    const told = JSON.stringify(await read('manager', 'limit=1000&project_id=red'))
    expect(told).not.toContain(operator)
    expect(told).not.toContain('admin of the system')
  })

  test('is read by managers and auditors', async () => {
    const statuses: Record<Persona, number> = {
      none: 403,
      reader: 403,
      member: 403,
      manager: 200,
      service: 403,
      'admin of a project': 200,
      'reader of the system': 200,
      'admin of the system': 200,
    }
    for (const [persona, status] of Object.entries(statuses)) {
      const answer = await send(persona as Persona, 'GET', '/v2/audit-trail')
      expect([persona, answer.status]).toEqual([persona, status])
    }
    expectProblem(await send('manager', 'GET', '/v2/audit-trail?project_id=blue'), 'forbidden')
  })
})
