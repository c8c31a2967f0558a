import { expect, test } from 'vitest'
import { planOf } from './plans.ts'

const plan = (method: string, url: string, body?: object) =>
  planOf({ method, url }, body, id => ({ Known: { properties: { network_id: {} } } })[id])
const bodyOf = (properties: object, required: readonly string[] = []) => ({ properties, required })

test('a route without a rule is refused', () => {
  expect(() => plan('GET', '/v2/unheard-of')).toThrow('no rule of the policy decides about GET')
  expect(() => plan('POST', '/v2/networks/:network_id')).toThrow('POST /v2/networks/{network_id}')
})

test('a member of a body is refused of which nobody knows what it names', () => {
  const body = bodyOf({ gizmo_id: {} })
  expect(() => plan('POST', '/v2/networks', body)).toThrow('what gizmo_id names')
  const inEach = bodyOf({ interfaces: { items: bodyOf({ gizmo_id: {} }) } })
  expect(() => plan('PUT', '/v2/devices/:device_id/interfaces', inEach)).toThrow('gizmo_id')
})

test('what a route is about is told by its path', () => {
  expect(plan('PATCH', '/v2/networks/:network_id')).toMatchObject({
    rule: 'networks:update',
    about: 'thing',
    parameter: 'network_id',
  })
  expect(plan('GET', '/v2/quotas/:project_id')).toMatchObject({ about: 'project' })
  expect(plan('GET', '/v2/networks')).toMatchObject({ rule: 'networks:list', about: 'list' })
  expect(plan('GET', '/v2/devices/:device_id/interfaces')).toMatchObject({ about: 'list' })
  expect(plan('POST', '/v2/networks')).toMatchObject({ rule: 'networks:create', about: 'body' })
  expect(plan('POST', '/v2/allocations/bulk')).toMatchObject({ about: 'batch' })
  expect(plan('HEAD', '/v2/networks')).toEqual(plan('GET', '/v2/networks'))
})

test('what a body names is told by its members', () => {
  const body = bodyOf({ project_id: {}, policy_id: {}, owner_id: {} }, ['project_id'])
  expect(plan('POST', '/v2/networks', body)).toMatchObject({
    names: ['policy_id'],
    project: 'required',
  })
  expect(plan('POST', '/v2/macs', { $ref: 'Known#' })).toMatchObject({
    names: ['network_id'],
    project: 'none',
  })
  const each = bodyOf({ project_id: {}, interfaces: { items: { $ref: 'Known#' } } })
  expect(plan('PUT', '/v2/devices/:device_id/interfaces', each)).toMatchObject({
    names: ['network_id'],
    project: 'optional',
  })
  const items = bodyOf({ items: { items: bodyOf({ project_id: {} }, ['project_id']) } })
  expect(plan('POST', '/v2/allocations/bulk', items)).toMatchObject({
    names: [],
    project: 'required',
  })
})
