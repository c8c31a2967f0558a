import { describe, expect, test } from 'vitest'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const absent = '01900000-0000-7000-8000-000000000000'
const etagOf = ({ headers }: Answer) => headers.etag
const get = (url: string, condition: string) =>
  api.request('GET', url, undefined, { 'if-none-match': condition })
const patch = (url: string, payload: object, condition: string) =>
  api.request('PATCH', url, payload, { 'if-match': condition })
const remove = (url: string, condition: string) =>
  api.request('DELETE', url, undefined, { 'if-match': condition })

describe('an entity tag', () => {
  test.each([
    ['/v2/address-scopes', { project_id: 'red', name: 'lab' }],
    ['/v2/blocks', { scope_id: 'public', cidr: '10.0.0.0/24' }],
  ])('of what is created at %s is its generation, and follows it', async (url, payload) => {
    const created = await api.post(url, payload)
    const path = `${url}/${created.body.id}`
    expect(etagOf(created)).toBe('"1"')
    expect(etagOf(await api.get(path))).toBe('"1"')
    expect(etagOf(await api.patch(path, { name: 'changed' }))).toBe('"2"')
    expect(etagOf(await api.get(path))).toBe('"2"')
    expect(etagOf(await api.delete(path))).toBe(undefined)
  })

  test('is on an allocation, current or ended, and on no list', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const several = await api.ask(block)
    const path = `/v2/allocations/${several.body.allocations[0]?.id}`
    expect(etagOf(several)).toBe(undefined)
    expect(etagOf(await api.get(path))).toBe('"1"')
    expect(etagOf(await api.patch(path, { name: 'changed' }))).toBe('"2"')
    const ended = await api.delete(path)
    expect(etagOf(ended)).toBe(`"${ended.body.generation}"`)
    expect(etagOf(await api.get(path))).toBe(etagOf(ended))
    for (const list of ['/v2/allocations', '/v2/blocks', '/v2/events', `/v2/blocks/${absent}`]) {
      expect(etagOf(await api.get(list))).toBe(undefined)
    }
  })
})

describe('If-None-Match', () => {
  test.each(['"1"', 'W/"1"', '*', '"7", "1"', 'W/"7",\tW/"1"'])('%s is met by "1"', async tags => {
    const { id } = await api.createBlock('10.0.0.0/24')
    const answer = await get(`/v2/blocks/${id}`, tags)
    expect(answer).toMatchObject({ status: 304, body: null })
    expect(etagOf(answer)).toBe('"1"')
    for (const name of ['content-type', 'content-length']) {
      expect(answer.headers).not.toHaveProperty(name)
    }
  })

  test.each(['"2"', '"01"', '"1~"', '"a", W/"2"'])('%s is not met by "1"', async tags => {
    const block = await api.createBlock('10.0.0.0/24')
    const answer = await get(`/v2/blocks/${block.id}`, tags)
    expect(expectStatus(200, answer)).toEqual(block)
  })

  test.each(['', '1', '"1', '"1";"2"', '"1" "2"', '*, "1"', 'w/"1"', Array(17).fill('"1"').join()])(
    '%s is not well formed',
    async tags => {
      const { id } = await api.createBlock('10.0.0.0/24')
      const answer = await get(`/v2/blocks/${id}`, tags)
      expectProblem(answer, 'invalid_request', { status: 400, field: 'if-none-match' })
    },
  )

  test('says nothing of a list, of what is not there, or of what changes', async () => {
    const { id } = await api.createBlock('10.0.0.0/24')
    expect((await get('/v2/blocks', '*')).status).toBe(200)
    expectProblem(await get(`/v2/blocks/${absent}`, '*'), 'block_not_found')
    const more = { 'if-none-match': '"2"' }
    const changed = await api.request('PATCH', `/v2/blocks/${id}`, { name: 'x' }, more)
    expect([changed.status, etagOf(changed)]).toEqual([200, '"2"'])
  })
})

describe('If-Match', () => {
  test('lets one of many who know the same state change it', async () => {
    const lab = { project_id: 'red', name: 'lab' }
    const scope = expectStatus(201, await api.post('/v2/address-scopes', lab))
    const block = await api.createBlock('10.0.0.0/24')
    const allocation = await api.allocateOne(block)
    for (const path of [
      `/v2/address-scopes/${scope.id}`,
      `/v2/blocks/${block.id}`,
      `/v2/allocations/${allocation.id}`,
    ]) {
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, n) => patch(path, { name: `by ${n}` }, '"1"')),
      )
      const done = answers.filter(({ status }) => status === 200)
      expect(done).toHaveLength(1)
      for (const answer of answers) {
        if (answer !== done[0]) expectProblem(answer, 'precondition_failed', { status: 412 })
      }
      expect((await api.get(path)).body).toEqual(done[0]?.body)
      expect(etagOf(await patch(path, { name: 'last' }, '*'))).toBe('"3"')
    }
  })

  test('comes after the question whether the thing is there', async () => {
    for (const [path, code] of [
      [`/v2/address-scopes/${absent}`, 'address_scope_not_found'],
      [`/v2/blocks/${absent}`, 'block_not_found'],
      [`/v2/allocations/${absent}`, 'allocation_not_found'],
    ] as const) {
      for (const tags of ['*', '"1"', 'W/"1"']) {
        expectProblem(await patch(path, {}, tags), code, { status: 404 })
        expectProblem(await remove(path, tags), code, { status: 404 })
      }
    }
    expectProblem(
      await patch('/v2/address-scopes/public', { name: 'mine' }, '"9"'),
      'address_scope_built_in',
    )
  })

  test('comes before what else would be refused', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await api.allocate(block)
    expectProblem(await remove(`/v2/blocks/${block.id}`, '"2"'), 'precondition_failed')
    expectProblem(await remove(`/v2/blocks/${block.id}`, '"1"'), 'block_in_use')
  })

  test('goes with the generation in the request; both have to be right', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const path = `/v2/allocations/${(await api.allocateOne(block)).id}`
    const rename = (generation: number, tags: string) =>
      patch(path, { name: 'x', generation }, tags)
    expectProblem(await rename(1, '"2"'), 'precondition_failed', { status: 412 })
    expectProblem(await rename(2, '"1"'), 'generation_mismatch', { status: 409 })
    const release = (generation: number, tags: string) =>
      remove(`${path}?generation=${generation}`, tags)
    for (const [generation, tags] of [
      [1, '"2"'],
      [2, '"1"'],
      [2, '"2"'],
    ] as const) {
      expectProblem(await release(generation, tags), 'precondition_failed', { status: 412 })
    }
    expect((await api.get(path)).body).toMatchObject({ generation: 1, ended_at: null })
    expect((await release(1, '"3", "1"')).status).toBe(200)
  })

  test('of a release names any generation; repeated it gives the same answer', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const path = `/v2/allocations/${(await api.allocateOne(block)).id}`
    await api.patch(path, { name: 'x' })
    for (const tags of ['"1"', '"3"', 'W/"2"', '"1", "3", "x"']) {
      expectProblem(await remove(path, tags), 'precondition_failed', { status: 412 })
    }
    const ended = await remove(path, '"9", "2", "1"')
    expect(ended).toMatchObject({ status: 200, body: { generation: 3 } })
    expect((await remove(path, '"2"')).body).toEqual(ended.body)
    expect((await remove(path, '*')).body).toEqual(ended.body)
    expectProblem(await remove(path, '"1"'), 'precondition_failed')
  })

  test('of a write that is repeated with its key is not asked again', async () => {
    const { id } = await api.createBlock('10.0.0.0/24')
    const headers = { 'if-match': '"1"', 'idempotency-key': 'a' }
    const rename = () => api.request('PATCH', `/v2/blocks/${id}`, { name: 'x' }, headers)
    const [first, again] = [await rename(), await rename()]
    expect(again.body).toEqual(expectStatus(200, first))
    expect(etagOf(again)).toBe('"2"')
  })
})
