import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readXml } from '../../src/melange-v1/xml-read.ts'
import { adminToken, useApi } from '../helpers/api.ts'

// What the original answered is in test/conformance (`npm run conformance`). Here is what it did
// not have: what may be sent to it, and what /v2 sees of it.

const api = useApi()

type Sent = { readonly body?: object | string; readonly headers?: Record<string, string> }

async function call(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, sent: Sent = {}) {
  const { body, headers = {} } = sent
  const answer = await api.app.inject({
    method,
    url: path.startsWith('/ipam') ? `/v1.0${path}` : path,
    headers: {
      'x-auth-token': adminToken,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { payload: body }),
  })
  const isJson = answer.headers['content-type']?.toString().includes('json')
  const { statusCode: status, payload: text } = answer
  return { status, text, body: isJson && text !== '' ? JSON.parse(text) : null }
}

const xml = (body: string) =>
  call('POST', '/ipam/tenants/red/policies', {
    body,
    headers: { 'content-type': 'application/xml' },
  })

async function createBlock(settings: object = {}): Promise<{ id: string; cidr: string }> {
  const body = { ip_block: { type: 'private', cidr: '10.0.0.0/29', ...settings } }
  const answer = await call('POST', '/ipam/tenants/red/ip_blocks', { body })
  expect(answer).toMatchObject({ status: 201 })
  return answer.body.ip_block
}

// XML 1.0 §2.2: no document can hold these.
const notOfXml = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu

const addressesOf = ({ id }: { id: string }) => `/ipam/tenants/red/ip_blocks/${id}/ip_addresses`

describe('XML', () => {
  test('is read with its five entities and nothing else', async () => {
    const { status, body } = await xml('<policy><name>a &lt; b &#38; c</name></policy>')
    expect({ status, name: body.policy.name }).toEqual({ status: 201, name: 'a < b & c' })
  })

  test.each([
    ['a document type', '<!DOCTYPE policy><policy><name>a</name></policy>'],
    [
      'an external entity',
      '<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><policy><name>&x;</name></policy>',
    ],
    ['entities that grow', '<!DOCTYPE p [<!ENTITY a "aa">]><policy><name>&a;&a;</name></policy>'],
    ['an unknown entity', '<policy><name>&nbsp;</name></policy>'],
    ['what is nested too deeply', `${'<a>'.repeat(17)}${'</a>'.repeat(17)}`],
    ['too many elements', `<policy>${'<a/>'.repeat(10_000)}</policy>`],
    ['two roots', '<policy/><policy/>'],
    ['an attribute twice', '<policy name="a" name="b"/>'],
  ])('refuses %s', async (_what, body) => {
    expect(await xml(body)).toMatchObject({
      status: 400,
      text: expect.not.stringContaining('root:'),
    })
  })

  test('names of objects stay members', async () => {
    const answer = await xml('<policy><name>p</name><__proto__><name>q</name></__proto__></policy>')
    expect(answer).toMatchObject({ status: 201, body: { policy: { name: 'p' } } })
  })

  test('whatever is sent, it is read or refused, and what is answered can be read', async () => {
    const name = fc.constantFrom('policy', 'name', 'description', 'p:name', 'xmlns', '__proto__')
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.constantFrom(
        '&#0;',
        '&#x1b;',
        '&amp;',
        '&x;',
        ']]>',
        '<![CDATA[<a>]]>',
        '<?pi?>',
        '<!-- -->',
      ),
    )
    const { element } = fc.letrec<{ element: string }>(tie => ({
      element: fc
        .tuple(
          name,
          fc.constantFrom('', ' name="a"', ' xmlns="b"', " p:x='<'"),
          fc.array(fc.oneof({ depthSize: 'small' }, text, tie('element')), { maxLength: 4 }),
        )
        .map(([tag, attributes, inside]) => `<${tag}${attributes}>${inside.join('')}</${tag}>`),
    }))
    const noise = fc.tuple(text, element, text).map(parts => parts.join(''))
    await fc.assert(
      fc.asyncProperty(fc.oneof(element, noise, text), async body => {
        const { status, body: answer } = await xml(body)
        expect([201, 400]).toContain(status)
        if (status !== 201) return
        const path = `/v1.0/ipam/tenants/red/policies/${answer.policy.id}.xml`
        const shown = readXml((await call('GET', path)).text) as { policy: { name: string } }
        const carried = answer.policy.name.replaceAll(notOfXml, '')
        expect(shown.policy.name).toBe(carried)
      }),
      { numRuns: 150 },
    )
  }, 60_000)

  test('answers are escaped', async () => {
    const body = { policy: { name: '</name><x a="1">' } }
    const accept = { accept: 'application/xml' }
    const { text } = await call('POST', '/ipam/tenants/red/policies', { body, headers: accept })
    expect(text).toContain('<name>&lt;/name&gt;&lt;x a=&quot;1&quot;&gt;</name>')
  })
})

test('a token is needed, and its lack is told in the format that is asked for', async () => {
  for (const [suffix, told] of [
    ['', '{"Unauthorized":{"code":401'],
    ['.xml', '<Unauthorized code="401">'],
  ]) {
    const url = `/v1.0/ipam/tenants/red/policies${suffix}`
    const answer = await api.app.inject({ method: 'GET', url })
    expect(answer.statusCode).toBe(401)
    expect(answer.payload).toContain(told)
  }
})

test.each([
  ['a list', []],
  ['a text', '"text"'],
  ['a policy that is a list', { policy: [] }],
  ['a name that is an object', { policy: { name: {} } }],
  ['half a character', '{"policy": {"name": "\\ud800"}}'],
  ['a NUL', { policy: { name: 'a\0b' } }],
  ['a name that is too long', { policy: { name: 'a'.repeat(201) } }],
])('%s is refused', async (_what, body) => {
  const answer = await call('POST', '/ipam/tenants/red/policies', { body })
  expect(answer).toMatchObject({ status: 400 })
})

test.each(['a%00b', '%ff', '%', 'a'.repeat(256)])(
  'the path segment %s names nothing',
  async name => {
    const { status } = await call('GET', `/ipam/tenants/${name}/policies`)
    expect([400, 404]).toContain(status)
  },
)

test('v2 sees the block, who has its addresses, and who had them', async () => {
  const block = await createBlock({ gateway: '10.0.0.1', network_id: 'net-a' })
  const { body: v2 } = await api.get(`/v2/blocks/${block.id}`)
  expect(v2).toMatchObject({
    project_id: 'red',
    cidr: '10.0.0.0/29',
    gateway_ip: '10.0.0.1',
    dns_nameservers: ['8.8.8.8', '8.8.4.4'],
    allocate_network_address: true,
  })
  const body = { ip_address: { interface_id: 'vif-1', used_by_device: 'vm-1', tenant_id: 'blue' } }
  await call('POST', addressesOf(block), { body })
  const found = await api.get('/v2/allocations?address=10.0.0.0')
  expect(found.body.allocations).toMatchObject([
    { project_id: 'blue', owner_type: 'interface', name: 'vif-1', block_id: block.id },
  ])
  await call('DELETE', `${addressesOf(block)}/10.0.0.0`)
  const waiting = await api.get(`/v2/quarantine?block_id=${block.id}`)
  expect(waiting.body.quarantine).toMatchObject([{ address: '10.0.0.0' }])
  const ended = await api.get('/v2/allocations?state=ended')
  expect(ended.body.allocations).toMatchObject([{ project_id: 'blue', name: 'vif-1' }])
})

test('what is changed through v2 is seen here', async () => {
  const block = await createBlock({ gateway: '192.0.2.1' })
  const change = { gateway_ip: '10.0.0.5', dns_nameservers: ['9.9.9.9'] }
  await api.patch(`/v2/blocks/${block.id}`, change)
  const { body } = await call('GET', `/ipam/tenants/red/ip_blocks/${block.id}`)
  expect(body.ip_block).toMatchObject({ gateway: '10.0.0.5', dns1: '9.9.9.9', dns2: '8.8.4.4' })
})

test('an address that waits is for nobody until it is restored, and then for no interface', async () => {
  const block = await createBlock()
  const path = addressesOf(block)
  await call('POST', path, { body: { ip_address: { interface_id: 'vif-1' } } })
  await call('DELETE', `${path}/10.0.0.0`)
  const again = { ip_address: { interface_id: 'vif-1', address: '10.0.0.0' } }
  expect(await call('POST', path, { body: again })).toMatchObject({ status: 409 })
  expect(await call('GET', `${path}/10.0.0.0`)).toMatchObject({ status: 404 })
  expect(await call('PUT', `${path}/10.0.0.0/restore`)).toMatchObject({ status: 200, text: '' })
  const { body } = await call('GET', `${path}/10.0.0.0`)
  expect(body.ip_address).toMatchObject({ interface_id: null, used_by_tenant: null })
})

test('what fails leaves nothing behind: neither interface nor addresses', async () => {
  await createBlock({ network_id: 'net-a' })
  const network = (id: string) => ({ network: { id, tenant_id: 'red' } })
  const body = { instance: { tenant_id: 'red', interfaces: [network('net-a'), network('none')] } }
  const path = '/ipam/instances/vm-1/interfaces'
  expect(await call('PUT', path, { body })).toMatchObject({ status: 404 })
  expect((await call('GET', path)).body).toEqual({ instance: { interfaces: [] } })
  expect((await api.get('/v2/allocations')).body.allocations).toEqual([])
})

test('a network that was named by a UUID is that network', async () => {
  const id = '00000000-0000-7000-8000-0000000000aa'
  await api.post('/v2/networks', { id, name: 'tests' })
  const block = await createBlock({ network_id: id })
  expect((await api.get(`/v2/blocks/${block.id}`)).body).toMatchObject({ network_id: id })
  const path = `/v0.1/ipam/tenants/red/networks/${id}/interfaces/vif-1/ip_allocations`
  expect(await call('POST', path)).toMatchObject({ status: 201 })
})

test('a policy keeps addresses back, and what v2 excludes beside stays', async () => {
  const policy = await api.createPolicy('p', { exclusions: { first: 2 } })
  const block = await createBlock({ policy_id: policy.id })
  const { body } = await call('POST', addressesOf(block))
  expect(body.ip_address).toMatchObject({ address: '10.0.0.2' })
})

test('of many at once each gets an address of its own, and the block is full for the rest', async () => {
  const block = await createBlock()
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      call('POST', addressesOf(block), { body: { ip_address: { interface_id: `vif-${n}` } } }),
    ),
  )
  const given = answers.filter(({ status }) => status === 201)
  expect(new Set(given.map(({ body }) => body.ip_address.address)).size).toBe(7)
  expect(answers.filter(({ status }) => status === 422)).toHaveLength(3)
})

test('a route that means something is one of the block', async () => {
  const block = await createBlock()
  const path = `/ipam/tenants/red/ip_blocks/${block.id}/ip_routes`
  const route = { destination: '192.0.2.0', netmask: '255.255.255.0', gateway: '10.0.0.1' }
  const { body } = await call('POST', path, { body: { ip_route: route } })
  const { id } = body.ip_route
  const seen = await api.get(`/v2/blocks/${block.id}/routes`)
  expect(seen.body).toMatchObject({ routes: [{ destination: '192.0.2.0/24' }] })
  const words = { ip_route: { gateway: 'over there' } }
  expect(await call('PUT', `${path}/${id}`, { body: words })).toMatchObject({ status: 200 })
  expect((await api.get(`/v2/blocks/${block.id}/routes`)).body).toMatchObject({ routes: [] })
  expect(await call('DELETE', `${path}/${id}`)).toMatchObject({ status: 200 })
})
