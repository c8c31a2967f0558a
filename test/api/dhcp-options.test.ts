import { beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { publicScopeId } from '../../src/resources/address-scopes/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { BlockConfiguration, DhcpOption } from '../../src/resources/dhcp-options/schema.ts'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { createInterface, interfacesOf, putInterfaces } from '../helpers/interfaces.ts'
import { createMacRange } from '../helpers/macs.ts'

const api = useApi()
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'

let network_id: string
let block: Block
let nic: Interface
beforeEach(async () => {
  const request = { name: 'web', project_id: 'red' }
  network_id = expectStatus(201, await api.post('/v2/networks', request)).id
  block = await api.createBlock('10.0.0.0/24', { network_id, project_id: 'blue' })
  nic = await createInterface(api, { project_id: 'green', network_id, mac_address: null })
})

const optionOf = (answer: Answer, status = 200) =>
  expectStatus(status, answer) as unknown as DhcpOption
const set = async (path: string, value: unknown) =>
  optionOf(await api.put(`/v2/${path}`, { value }))
const eventsOf = async () =>
  (await api.get('/v2/events')).body.events.filter(({ type }) => type.startsWith('dhcp_option.'))

const things = [
  {
    type: 'address_scope',
    project_id: null,
    place: async () => ({ id: publicScopeId, path: 'address-scopes/public' }),
  },
  {
    type: 'network',
    project_id: 'red',
    place: async () => ({ id: network_id, path: `networks/${network_id}` }),
  },
  {
    type: 'block',
    project_id: 'blue',
    place: async () => ({ id: block.id, path: `blocks/${block.id}` }),
  },
  {
    type: 'interface',
    project_id: 'green',
    place: async () => ({ id: nic.id, path: `interfaces/${nic.id}` }),
  },
] as const

describe.each(things)('a DHCP option of a thing ($type)', ({ type, project_id, place }) => {
  test('is set, set again, and then gone', async () => {
    const { id, path } = await place()
    const first = await set(`${path}/dhcp-options/4/dns-servers`, ['192.0.2.1', '192.0.2.2'])
    expect(first).toMatchObject({
      attached_to: { type, id },
      version: 4,
      code: 6,
      name: 'dns-servers',
      type: 'addresses',
      value: ['192.0.2.1', '192.0.2.2'],
      wire: ['c0000201c0000202'],
      generation: 1,
    })
    const url = `/v2/${path}/dhcp-options/4/6`
    expect((await api.get(url)).body).toEqual(first)
    const second = await set(`${path}/dhcp-options/4/6`, ['192.0.2.3'])
    const { created_at } = first
    expect(second).toMatchObject({ id: first.id, created_at, value: ['192.0.2.3'], generation: 2 })
    expectStatus(204, await api.delete(`/v2/${path}/dhcp-options/4/dns-servers`))
    const codes = { status: 404 }
    expectProblem(await api.get(url), 'dhcp_option_not_found', codes)
    expectProblem(await api.delete(url), 'dhcp_option_not_found', codes)
    const anew = await set(`${path}/dhcp-options/4/6`, ['192.0.2.3'])
    expect(anew).toMatchObject({ generation: 1 })
    expect(anew.id).not.toBe(first.id)
    expect(await eventsOf()).toMatchObject([
      { type: 'dhcp_option.created', object_id: first.id, project_id, data: first },
      { type: 'dhcp_option.updated', data: second },
      { type: 'dhcp_option.deleted', data: second },
      { type: 'dhcp_option.created', object_id: anew.id, project_id, data: anew },
    ])
  })

  test('is one of each code and version, listed page by page', async () => {
    const { path } = await place()
    await set(`${path}/dhcp-options/6/dns-servers`, ['2001:db8::1'])
    await set(`${path}/dhcp-options/4/mtu`, 1450)
    await set(`${path}/dhcp-options/4/6`, ['192.0.2.1'])
    await set(`${path}/dhcp-options/4/224`, 'CAFE')
    const pages = await api.pages('dhcp_options', `/v2/${path}/dhcp-options?limit=2`)
    const codes = pages.map(page => page.map(({ version, code }) => [version, code]))
    expect(codes).toEqual([
      [
        [4, 6],
        [4, 26],
      ],
      [
        [4, 224],
        [6, 23],
      ],
    ])
    expect(pages[1]?.[0]).toMatchObject({ name: null, type: 'hex', value: 'cafe', wire: ['cafe'] })
    const { dhcp_options } = (await api.get(`/v2/${path}/dhcp-options?version=6`)).body
    expect(dhcp_options).toMatchObject([{ code: 23, version: 6 }])
    expectProblem(await api.get(`/v2/${path}/dhcp-options?marker=x`), 'marker_invalid')
  })

  test('is set once by many at the same time, the others change it', async () => {
    const { path } = await place()
    const url = `/v2/${path}/dhcp-options/4/mtu`
    const answers = await Promise.all(
      Array.from({ length: 5 }, (_, n) => api.put(url, { value: 1400 + n })),
    )
    const generations = answers.map(answer => optionOf(answer).generation)
    expect(generations.toSorted()).toEqual([1, 2, 3, 4, 5])
    expect(await eventsOf()).toHaveLength(5)
  })

  test('is set where nothing is only without If-Match', async () => {
    const { path } = await place()
    const url = `/v2/${path}/dhcp-options/4/mtu`
    const refused = await api.request('PUT', url, { value: 1400 }, { 'if-match': '"1"' })
    expectProblem(refused, 'precondition_failed', { status: 412, field: 'if-match' })
    expect(await eventsOf()).toEqual([])
  })

  test('needs the thing', async () => {
    const { path } = await place()
    const url = `/v2/${path.replace(/[^/]+$/, nowhere)}/dhcp-options`
    for (const answer of [
      await api.get(url),
      await api.get(`${url}/4/mtu`),
      await api.put(`${url}/4/mtu`, { value: 1500 }),
      await api.delete(`${url}/4/mtu`),
    ]) {
      expectProblem(answer, `${type}_not_found`, { status: 404 })
    }
  })

  test('is one of a bounded number', async () => {
    const { id, path } = await place()
    await api.db.query(sql`
      insert into dhcp_options (id, scope_id, network_id, block_id, interface_id, version, code, value)
      select gen_random_uuid(), case when ${type} = 'address_scope' then ${id}::uuid end,
        case when ${type} = 'network' then ${id}::uuid end,
        case when ${type} = 'block' then ${id}::uuid end,
        case when ${type} = 'interface' then ${id}::uuid end, 6, 1000 + n, '"00"'
      from generate_series(1, 255) n`)
    await set(`${path}/dhcp-options/4/mtu`, 1400)
    const refused = await api.put(`/v2/${path}/dhcp-options/4/6`, { value: ['192.0.2.1'] })
    expectProblem(refused, 'dhcp_option_limit_reached', { status: 409 })
    await set(`${path}/dhcp-options/4/mtu`, 1500)
    await api.db.query(sql`delete from dhcp_options where version = 6`)
  })
})

describe('the value of a DHCP option', () => {
  test.each([
    ['option', '4/53', '01'],
    ['option', '4/no-such-option', '01'],
    ['option', '6/router', ['192.0.2.1']],
    ['version', '5/6', ['192.0.2.1']],
    ['option', '4/DNS', ['192.0.2.1']],
    ['value', '4/mtu', '1500'],
    ['value', '4/mtu', 67],
    ['value', '4/mtu', null],
    ['value/1', '4/dns-servers', ['192.0.2.1', '2001:db8::1']],
    ['value/0/gateway', '4/classless-routes', [{ destination: '10.0.0.0/8', gateway: 'x' }]],
    ['value/0', '6/domain-search', ['no domain']],
  ])('is refused naming %s for %s %j', async (field, path, value) => {
    const answer = await api.put(`/v2/blocks/${block.id}/dhcp-options/${path}`, { value })
    expectProblem(answer, 'invalid_request', { status: 400, field })
    expect(await eventsOf()).toEqual([])
  })

  test.each([
    ['value', {}],
    ['values', { value: 1500, values: 1 }],
  ])('is refused naming %s as in %j', async (field, body) => {
    const answer = await api.put(`/v2/blocks/${block.id}/dhcp-options/4/mtu`, body)
    expectProblem(answer, 'invalid_request', { field })
  })

  test('names the host bits of a route', async () => {
    const value = [{ destination: '10.1.0.0/8', gateway: '10.0.0.1' }]
    const url = `/v2/blocks/${block.id}/dhcp-options/4/121`
    const facts = { field: 'value/0/destination', suggestion: '10.0.0.0/8' }
    expectProblem(await api.put(url, { value }), 'cidr_has_host_bits', facts)
  })

  test.each([
    ['4/ip-forwarding', false],
    ['4/time-offset', -3600],
    ['4/domain-name', 'example.com'],
    ['4/root-path', 'nfs:"über"'],
    ['4/classless-routes', [{ destination: '10.0.0.0/8', gateway: '10.0.0.1' }]],
    ['4/path-mtu-plateaus', [68, 1500]],
    ['6/ntp-servers', ['2001:db8::1', 'ntp.example.com']],
    ['6/client-fqdn', { flags: 1, name: 'a.example' }],
  ])('comes back as it was set: %s %j', async (path, value) => {
    const url = `blocks/${block.id}/dhcp-options/${path}`
    expect((await set(url, value)).value).toEqual(value)
    expect((await api.get(`/v2/${url}`)).body).toMatchObject({ value })
  })
})

test('the known options are listed', async () => {
  const { options } = (await api.get('/v2/dhcp-options')).body
  const six = (await api.get('/v2/dhcp-options?version=6')).body.options
  expect(options.length).toBeGreaterThan(100)
  expect(six.length).toBeLessThan(options.length)
  const dns = { version: 6, code: 23, name: 'dns-servers', type: 'addresses', rfc: 3646 }
  expect(six.find(({ code }) => code === 23)).toEqual({ ...dns, section: '3' })
})

describe('the options of what is deleted', () => {
  const typesOf = async () => (await api.get('/v2/events')).body.events.map(({ type }) => type)

  test('go with their block, then with their network', async () => {
    expectStatus(204, await api.delete(`/v2/interfaces/${nic.id}`))
    await set(`blocks/${block.id}/dhcp-options/4/mtu`, 1400)
    await set(`networks/${network_id}/dhcp-options/4/mtu`, 1400)
    expectStatus(204, await api.delete(`/v2/blocks/${block.id}`))
    expect((await typesOf()).slice(-2)).toEqual(['dhcp_option.deleted', 'block.deleted'])
    expectStatus(204, await api.delete(`/v2/networks/${network_id}`))
    expect((await typesOf()).slice(-2)).toEqual(['dhcp_option.deleted', 'network.deleted'])
    expect(await api.db.query(sql`select id from dhcp_options`)).toEqual([])
  })

  test('go with their address scope', async () => {
    const request = { project_id: 'red', name: 'lab' }
    const { id } = expectStatus(201, await api.post('/v2/address-scopes', request))
    await set(`address-scopes/${id}/dhcp-options/6/23`, ['2001:db8::1'])
    expectStatus(204, await api.delete(`/v2/address-scopes/${id}`))
    expect((await typesOf()).slice(-2)).toEqual(['dhcp_option.deleted', 'address_scope.deleted'])
  })

  test('go with their interface', async () => {
    await set(`interfaces/${nic.id}/dhcp-options/4/mtu`, 1400)
    await set(`interfaces/${nic.id}/dhcp-options/6/23`, ['2001:db8::1'])
    expectStatus(204, await api.delete(`/v2/interfaces/${nic.id}`))
    const gone = ['dhcp_option.deleted', 'dhcp_option.deleted', 'interface.deleted']
    expect((await typesOf()).slice(-3)).toEqual(gone)
    expect(await api.db.query(sql`select id from dhcp_options`)).toEqual([])
  })

  test('go with the interfaces that a device has no longer', async () => {
    await createMacRange(api)
    const [kept, left] = interfacesOf(
      await putInterfaces(api, 'vm', [{ network_id }, { network_id, name: 'second' }]),
    )
    await set(`interfaces/${kept?.id}/dhcp-options/4/mtu`, 1400)
    await set(`interfaces/${left?.id}/dhcp-options/4/mtu`, 1300)
    interfacesOf(await putInterfaces(api, 'vm', [{ network_id }]))
    const gone = ['dhcp_option.deleted', 'mac.released', 'interface.deleted']
    expect((await typesOf()).slice(-3)).toEqual(gone)
    const options = await api.db.query(sql`select interface_id from dhcp_options`)
    expect(options).toEqual([{ interface_id: kept?.id }])
  })

  test('are never set on an interface that is deleted meanwhile', async () => {
    const [answer, deleted] = await Promise.all([
      api.put(`/v2/interfaces/${nic.id}/dhcp-options/4/mtu`, { value: 1400 }),
      api.delete(`/v2/interfaces/${nic.id}`),
    ])
    expect(deleted.status).toBe(204)
    expect(answer.status).toBeOneOf([200, 404])
    expect(await eventsOf()).toHaveLength(answer.status === 200 ? 2 : 0)
  })

  test('are never set on what is deleted meanwhile', async () => {
    const [answer, deleted] = await Promise.all([
      api.put(`/v2/blocks/${block.id}/dhcp-options/4/mtu`, { value: 1400 }),
      api.delete(`/v2/blocks/${block.id}`),
    ])
    expect(deleted.status).toBe(204)
    expect(answer.status).toBeOneOf([200, 404])
    expect(await eventsOf()).toHaveLength(answer.status === 200 ? 2 : 0)
  })
})

describe('the configuration of a block', () => {
  const configurationOf = async ({ id }: { id: string }) =>
    expectStatus(
      200,
      await api.get(`/v2/blocks/${id}/configuration`),
    ) as unknown as BlockConfiguration
  const briefly = ({ options }: BlockConfiguration) =>
    options.map(({ name, value, source, derived_from }) => [
      name,
      value,
      `${source.type} ${source.id}`,
      derived_from,
    ])

  test('tells what is worked out, and what is set', async () => {
    const settings = { gateway_ip: '10.0.0.1', dns_nameservers: ['192.0.2.53'] }
    expectStatus(200, await api.patch(`/v2/blocks/${block.id}`, settings))
    const route = { destination: '192.0.2.0/24', gateway: '10.0.0.9', metric: 5 }
    expectStatus(201, await api.post(`/v2/blocks/${block.id}/routes`, route))
    await set(`networks/${network_id}/dhcp-options/4/mtu`, 1450)
    await set(`networks/${network_id}/dhcp-options/6/sntp-servers`, ['2001:db8::1'])
    await set('address-scopes/public/dhcp-options/4/224', 'cafe')
    const found = await configurationOf(block)
    const { id: block_id, cidr } = block
    expect(found).toMatchObject({ block_id, network_id, cidr, version: 4, routes: [route] })
    const own = `block ${block_id}`
    const routes = [
      { destination: '0.0.0.0/0', gateway: '10.0.0.1' },
      { destination: '192.0.2.0/24', gateway: '10.0.0.9' },
    ]
    expect(briefly(found)).toEqual([
      ['subnet-mask', '255.255.255.0', own, 'cidr'],
      ['router', ['10.0.0.1'], own, 'gateway_ip'],
      ['dns-servers', ['192.0.2.53'], own, 'dns_nameservers'],
      ['mtu', 1450, `network ${network_id}`, null],
      ['classless-routes', routes, own, 'routes'],
      [null, 'cafe', `address_scope ${publicScopeId}`, null],
    ])
    expect(found.options[3]).toMatchObject({ code: 26, type: 'uint16', wire: ['05aa'] })
    expect(found.options[4]?.wire).toEqual(['000a00000118c000020a000009'])
  })

  test('comes from the nearest: block, parents, network, scope', async () => {
    const top = await api.createBlock('10.1.0.0/16')
    const [middle] = await api.cut(top, { cidrs: ['10.1.0.0/20'], network_id })
    const [leaf] = await api.cut(middle as Block, { cidrs: ['10.1.1.0/24'] })
    if (!middle || !leaf) throw new Error('no blocks')
    const places = [
      ['address_scope', publicScopeId, 'address-scopes/public'],
      ['block', top.id, `blocks/${top.id}`],
      ['network', network_id, `networks/${network_id}`],
      ['block', middle.id, `blocks/${middle.id}`],
      ['block', leaf.id, `blocks/${leaf.id}`],
    ] as const
    for (const [n, [type, id, path]] of places.entries()) {
      await set(`${path}/dhcp-options/4/mtu`, 1000 + n)
      const mtu = (await configurationOf(leaf)).options.find(({ name }) => name === 'mtu')
      expect(mtu).toMatchObject({ value: 1000 + n, source: { type, id }, derived_from: null })
    }
    const ofTop = (await configurationOf(top)).options.find(({ name }) => name === 'mtu')
    expect(ofTop).toMatchObject({ value: 1001, source: { type: 'block', id: top.id } })
  })

  test('is of the version of the block', async () => {
    const settings = { network_id, gateway_ip: 'fe80::1', dns_nameservers: ['2001:db8::53'] }
    const six = await api.createBlock('2001:db8::/64', settings)
    await set(`networks/${network_id}/dhcp-options/4/mtu`, 1450)
    await set(`networks/${network_id}/dhcp-options/6/sol-max-rt`, 3600)
    const found = await configurationOf(six)
    expect(found).toMatchObject({ version: 6, gateway_ip: 'fe80::1', routes: [] })
    expect(briefly(found)).toEqual([
      ['dns-servers', ['2001:db8::53'], `block ${six.id}`, 'dns_nameservers'],
      ['sol-max-rt', 3600, `network ${network_id}`, null],
    ])
  })

  test('is that of a block that there is', async () => {
    expectProblem(await api.get(`/v2/blocks/${nowhere}/configuration`), 'block_not_found')
  })
})

test('routes and options change beside all else that changes their blocks', async () => {
  const tops = await Promise.all(
    Array.from({ length: 4 }, (_, n) => api.createBlock(`10.${10 + n}.0.0/16`, { network_id })),
  )
  const round = (n: number) =>
    tops.flatMap(({ id }, place) => [
      api.post(`/v2/blocks/${id}/routes`, { destination: `192.0.${n}.0/24`, gateway: '10.0.0.1' }),
      api.put(`/v2/blocks/${id}/dhcp-options/4/mtu`, { value: 1000 + n }),
      api.put(`/v2/networks/${network_id}/dhcp-options/4/mtu`, { value: 1000 + n }),
      api.put('/v2/address-scopes/public/dhcp-options/4/mtu', { value: 1000 + n }),
      api.patch(`/v2/blocks/${id}`, { name: `${n}`, gateway_ip: null }),
      api.patch(`/v2/networks/${network_id}`, { name: `${n}` }),
      ...(place === 0 ? [api.ask({ id })] : []),
      ...(place === 1 ? [api.post(`/v2/blocks/${id}/children`, { prefix_length: 24 })] : []),
      ...(place > 1 && n === lastRound ? [api.delete(`/v2/blocks/${id}`)] : []),
    ])
  const lastRound = 7
  for (let n = 0; n <= lastRound; n++) {
    const statuses = (await Promise.all(round(n))).map(({ status }) => status)
    // In the last round blocks go, before or after they are changed.
    const refused = statuses.filter(status => status >= 300)
    expect(refused.filter(status => n < lastRound || status !== 404)).toEqual([])
  }
  const { blocks } = (await api.get(`/v2/blocks?network_id=${network_id}&parent_id=none`)).body
  expect(blocks).toHaveLength(3) // Two of the four, and the one that each test has.
})
