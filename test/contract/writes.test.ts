import { beforeEach, describe, expect, test } from 'vitest'
import { expectProblem, useApi } from '../helpers/api.ts'
import { type Documented, operationsOf } from '../helpers/contract.ts'
import { contentOf, type Write, writes } from '../helpers/writes.ts'

const api = useApi()

const operations = () => operationsOf(api.app).filter(({ path }) => path.startsWith('/v2'))
const writing = () => operations().filter(({ method }) => method !== 'GET')
const send = ({ method, url, payload }: Write, headers: Record<string, string>) =>
  api.request(method, url, payload, headers)

/** Operations on a thing that has an entity tag, told when it is read or when it is set. */
const onTagged = () => {
  const tagged = operations().filter(
    ({ method, responses }) => /^(GET|PUT)$/.test(method) && responses[200]?.headers?.ETag,
  )
  return writing().filter(({ path }) => tagged.some(one => one.path === path))
}
const hasHeader = ({ parameters = [] }: Documented, name: string) =>
  parameters.some(one => one.in === 'header' && one.name === name && !one.required)

test('every write documents the key, and what becomes of it', () => {
  expect(writing().length).toBeGreaterThan(10)
  for (const operation of writing()) {
    const { operationId, responses } = operation
    expect([operationId, hasHeader(operation, 'Idempotency-Key')]).toEqual([operationId, true])
    expect(responses[422]?.description).toContain('`idempotency_key_reused`')
    const answers = Object.entries(responses).filter(([status]) => status < '300')
    expect(answers.length).toBeGreaterThan(0)
    for (const [, { headers = {} }] of answers)
      expect(headers).toHaveProperty('Idempotency-Replayed')
  }
  const reading = operations().filter(({ method }) => method === 'GET')
  expect(reading.filter(one => hasHeader(one, 'Idempotency-Key'))).toEqual([])
})

test('every write has a request here', () => {
  const ids = writing().map(({ operationId }) => operationId)
  expect(Object.keys(writes).toSorted()).toEqual(ids.toSorted())
})

describe.each(Object.keys(writes))('%s (I8)', operationId => {
  let write: Write
  beforeEach(async () => {
    write = await (writes[operationId] as (typeof writes)[string])(api)
  })

  test('repeated with its key gives the first answer', async () => {
    const key = { 'idempotency-key': operationId }
    const first = await send(write, key)
    expect(first.status).toBeOneOf([200, 201, 204])
    expect(first.headers).not.toHaveProperty('idempotency-replayed')
    const before = await contentOf(api.db)
    const again = await send(write, key)
    expect(again.headers).toMatchObject({ 'idempotency-replayed': 'true' })
    for (const { headers } of [first, again]) {
      for (const own of ['x-openstack-request-id', 'date', 'idempotency-replayed']) {
        delete (headers as Record<string, unknown>)[own]
      }
    }
    const { toldOnce } = write
    if (toldOnce) {
      const told = String((first.body as unknown as Record<string, unknown>)[toldOnce])
      expect(told.length).toBeGreaterThan(40)
      expect(JSON.stringify(before)).not.toContain(told)
      Object.assign(first.body, { [toldOnce]: null })
      Object.assign(first.headers, { 'content-length': again.headers['content-length'] })
    }
    expect(again).toEqual(first)
    const other = { method: 'POST', url: '/v2/address-scopes' } as const
    const payload = { project_id: 'red', name: 'another request' }
    expectProblem(await send({ ...other, payload }, key), 'idempotency_key_reused', { status: 422 })
    expect(await contentOf(api.db)).toEqual(before)
  })

  test('does what it does when it comes with another key', async () => {
    const first = await send(write, { 'idempotency-key': 'one' })
    const before = await contentOf(api.db)
    const second = await send(write, { 'idempotency-key': 'other' })
    expect(first.status).toBeLessThan(300)
    expect(second.headers).not.toHaveProperty('idempotency-replayed')
    // It is refused, finds nothing to do, or does it again.
    if (second.status >= 300) expect(await contentOf(api.db)).toEqual(before)
  })
})

test('every change of a thing that has an entity tag documents If-Match and 412', () => {
  expect(onTagged().length).toBeGreaterThanOrEqual(6)
  for (const operation of onTagged()) {
    const { operationId, responses } = operation
    expect([operationId, hasHeader(operation, 'If-Match')]).toEqual([operationId, true])
    expect(responses[412]?.description).toContain('`precondition_failed`')
  }
  const tagged = onTagged().map(({ operationId }) => operationId)
  const having = operations().filter(one => hasHeader(one, 'If-Match'))
  expect(having.map(({ operationId }) => operationId)).toEqual(tagged)
})

test('every change of a thing that has an entity tag is made only if that is one of If-Match', async () => {
  for (const { operationId } of onTagged()) {
    const write = await (writes[operationId] as (typeof writes)[string])(api)
    const { headers, body } = await api.get(write.url)
    const { own_generation } = body as { own_generation?: number }
    const etag = String(headers.etag ?? `"${own_generation}"`)
    expect(etag).toMatch(/^"\d+(-[0-9a-f]{16})?"$/)
    const before = await contentOf(api.db)
    for (const other of ['"999"', `W/${etag}`, `"0${etag.slice(1)}`, '"a", "b"', '""']) {
      const refused = await send(write, { 'if-match': other })
      expectProblem(refused, 'precondition_failed', { status: 412, field: 'if-match' })
    }
    for (const malformed of ['', '7', etag.slice(1), `${etag},`, `${etag} ${etag}`, `*, ${etag}`]) {
      const refused = await send(write, { 'if-match': malformed })
      expectProblem(refused, 'invalid_request', { status: 400, field: 'if-match' })
    }
    expect(await contentOf(api.db)).toEqual(before)
    const done = await send(write, { 'if-match': `"999" , W/"3",${etag}` })
    expect([operationId, done.status]).toEqual([operationId, expect.toBeOneOf([200, 204])])
  }
})
