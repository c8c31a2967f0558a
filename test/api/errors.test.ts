import { describe, expect, test } from 'vitest'
import { errorCatalogue } from '../../src/errors.ts'
import { Api, adminToken, expectProblem, useApi } from '../helpers/api.ts'

const api = useApi()
const headers = { 'x-auth-token': adminToken }
const json = { ...headers, 'content-type': 'application/json' }
const block = { scope_id: 'public', cidr: '10.0.0.0/24' }
const nothingWasMade = async (from: Api = api) =>
  expect((await from.get('/v2/blocks')).body.blocks).toEqual([])

test('a problem says what, why and what to do, as RFC 9457 has it', async () => {
  const path = '/v2/blocks/01900000-0000-7000-8000-000000000000'
  const { body, headers, status } = await api.get(path)
  expect(status).toBe(404)
  expect(headers['content-type']).toMatch(/^application\/problem\+json/)
  const { title, advice } = errorCatalogue.block_not_found
  expect(body).toEqual({
    type: '/problems/block_not_found',
    code: 'block_not_found',
    status: 404,
    title,
    advice,
    detail: expect.stringContaining('01900000'),
  })
})

test('every answer bears an id of the request', async () => {
  const answers = [
    ...(await Promise.all([api.get('/v2/blocks'), api.get('/v2/blocks/x'), api.get('/nowhere')])),
    await api.send({ method: 'GET', url: '/v2/blocks' }),
    await api.send({ method: 'GET', url: '/healthz' }),
  ]
  const ids = answers.map(answer => String(answer.headers['x-openstack-request-id']))
  for (const id of ids) expect(id).toMatch(/^req-[0-9a-f-]{36}$/)
  expect(new Set(ids).size).toBe(ids.length)
})

describe('what is not well formed is refused, with the member that is wrong', () => {
  test.each([
    ['unknown', { ...block, colour: 'red' }, 'colour'],
    ['missing', { scope_id: 'public' }, 'cidr'],
    ['a number for text', { ...block, name: 5 }, 'name'],
    ['text for true', { ...block, adopt_children: 'true' }, 'adopt_children'],
    ['null for text', { ...block, project_id: null }, 'project_id'],
    ['one for many', { ...block, tags: 'a' }, 'tags'],
    ['not one of the words', { ...block, strategy: 'best' }, 'strategy'],
    ['twice', { ...block, tags: ['a', 'a'] }, 'tags'],
    ['too long', { ...block, name: 'x'.repeat(256) }, 'name'],
    ['too many', { ...block, tags: Array.from({ length: 65 }, (_, n) => `${n}`) }, 'tags'],
    ['of a list', { ...block, dns_nameservers: ['10.0.0.1', 'x'] }, 'dns_nameservers/1'],
    ['no address', { ...block, gateway_ip: '10.0.0' }, 'gateway_ip'],
    ['not an object', [block], 'body'],
  ])('in a body: %s', async (_what, body, field) => {
    const answer = await api.post('/v2/blocks', body)
    expectProblem(answer, 'invalid_request', { status: 400, field })
    expect(answer.body.detail).toContain(field)
    await nothingWasMade()
  })

  test.each([
    ['/v2/blocks?colour=red', 'colour'],
    ['/v2/blocks?limit=0', 'limit'],
    ['/v2/blocks?limit=1001', 'limit'],
    ['/v2/blocks?limit=many', 'limit'],
    ['/v2/blocks?sort=size', 'sort'],
    ['/v2/blocks?version=5', 'version'],
    ['/v2/blocks?scope_id=private', 'scope_id'],
    ['/v2/blocks?contains=', 'contains'],
    ['/v2/blocks?contains=10', 'contains'],
    ['/v2/blocks?within=10.0.0.1', 'within'],
    ['/v2/blocks?name=a&name=b', 'name'],
    ['/v2/blocks/7', 'block_id'],
    ['/v2/allocations?address=10', 'address'],
    ['/v2/allocations?address=', 'address'],
    ['/v2/allocations?state=lost', 'state'],
    ['/v2/address-scopes/private', 'scope_id'],
  ])('in %s', async (url, field) => {
    expectProblem(await api.get(url), 'invalid_request', { status: 400, field })
  })

  test.each(['\u0000', 'a\u0000b'])('text that no database holds: %j', async text => {
    const answers = [
      await api.post('/v2/blocks', { ...block, name: text }),
      await api.post('/v2/address-scopes', { project_id: 'red', name: text }),
      await api.get(`/v2/blocks?name=${encodeURIComponent(text)}`),
    ]
    const { id } = await api.createBlock('10.0.0.0/24')
    for (const wish of [{ name: text }, { tags: [text] }, { owner_id: text }]) {
      answers.push(await api.ask({ id }, wish))
    }
    for (const answer of answers) expectProblem(answer, 'invalid_request', { status: 400 })
  })

  test('half of a surrogate pair, but not a whole one, nor a text that looks so', async () => {
    const post = (name: string, cidr: string) => {
      const payload = `{"scope_id": "public", "cidr": "${cidr}", "name": "${name}"}`
      return api.send({ method: 'POST', url: '/v2/blocks', headers: json, payload })
    }
    for (const name of ['\\ud83d', 'a\\udE00b', '\\ude00\\ud83d', '\\\\\\ud800']) {
      expectProblem(await post(name, '10.0.0.0/24'), 'invalid_request', { field: 'body' })
    }
    expect((await post('\\ud83d\\ude00', '10.0.0.0/24')).body.name).toBe('😀')
    expect((await post('\\\\ud800', '10.0.1.0/24')).body.name).toBe('\\ud800')
  })

  test.each(['{', '', '{"cidr": 010}', 'null', '"text"', '[1,'])('JSON: %j', async payload => {
    const answer = await api.send({ method: 'POST', url: '/v2/blocks', headers: json, payload })
    expectProblem(answer, 'invalid_request', { status: 400, field: 'body' })
  })

  test('members that JavaScript has for itself', async () => {
    for (const name of ['__proto__', 'constructor']) {
      const payload = `{"scope_id": "public", "cidr": "10.0.0.0/24", "${name}": {}}`
      const answer = await api.send({ method: 'POST', url: '/v2/blocks', headers: json, payload })
      expectProblem(answer, 'invalid_request', { status: 400 })
    }
    await nothingWasMade()
  })
})

test('a body that is no JSON is refused', async () => {
  for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded']) {
    const request = { method: 'POST', url: '/v2/blocks', payload: JSON.stringify(block) } as const
    const answer = await api.send({ ...request, headers: { ...headers, 'content-type': type } })
    expectProblem(answer, 'unsupported_media_type', { status: 415 })
  }
  await nothingWasMade()
})

test('a body that is too large is refused', async () => {
  const answer = await api.post('/v2/blocks', { ...block, description: 'x'.repeat(1_100_000) })
  expectProblem(answer, 'payload_too_large', { status: 413 })
  await nothingWasMade()
})

test.each([
  ['GET', '/v2/nowhere?x=1'],
  ['GET', '/v3/blocks'],
  ['PUT', '/v2/blocks'],
  ['POST', '/v2/blocks/01900000-0000-7000-8000-000000000000'],
])('there is nothing at %s %s', async (method, url) => {
  const answer = await api.send({ method: method as 'GET', url, headers })
  expectProblem(answer, 'route_not_found', { status: 404 })
  expect(answer.body.detail).toContain(`${method} ${url.split('?')[0]}`)
})

test('a bug tells nothing of its inside, but where the log has it', async () => {
  const broken = await new Api().open()
  await broken.db.execute('drop table free_ranges, events cascade')
  const answers = [await broken.get('/v2/events'), await broken.post('/v2/blocks', block)]
  await broken.close()
  for (const { status, body, headers } of answers) {
    expect({ status, code: body.code }).toEqual({ status: 500, code: 'internal' })
    expect(body.detail).toContain(headers['x-openstack-request-id'])
    expect(JSON.stringify(body)).not.toMatch(/select|insert|relation|free_ranges|\.ts|\\n/)
  }
})

test('a database that was closed under it shows in the readiness, not in what answers tell', async () => {
  const gone = await new Api().open()
  await gone.db.close()
  const answers = [await gone.get('/v2/blocks'), await gone.post('/v2/blocks', block)]
  answers.push(await gone.ask({ id: '01900000-0000-7000-8000-000000000000' }))
  answers.push(await gone.send({ method: 'GET', url: '/readyz' }))
  const health = await gone.send({ method: 'GET', url: '/healthz' })
  await gone.app.close()
  for (const { status, body } of answers) {
    expect(status).toBeOneOf([500, 503])
    expect(JSON.stringify(body)).not.toMatch(/select|insert|pool|PGlite|\.ts|\\n/)
  }
  expectProblem(answers.at(-1) ?? health, 'database_unavailable', { status: 503 })
  expect(health.status).toBe(200)
})

test('too many waiting requests are refused at once, and change nothing', async () => {
  const busy = await new Api().open({ allocator: { lanes: 1, batch_max: 1, waiting_max: 4 } })
  const { id } = await busy.createBlock('10.0.0.0/24')
  const answers = await Promise.all(Array.from({ length: 20 }, () => busy.ask({ id })))
  const given = answers.filter(({ status }) => status === 201)
  const refused = answers.filter(({ status }) => status === 503)
  const counts = await busy.utilisation({ id })
  const after = await busy.ask({ id })
  await busy.close()
  expect(refused.length).toBeGreaterThan(0)
  expect(given.length + refused.length).toBe(20)
  for (const answer of refused) {
    expectProblem(answer, 'overloaded')
    expect(answer.headers['retry-after']).toBe('1')
  }
  expect(counts.allocated).toBe(String(given.length))
  expect(after.status).toBe(201)
})
