import { expect, test } from 'vitest'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const createScope = async (name: string, more: object = {}) =>
  expectStatus(201, await api.post('/v2/address-scopes', { project_id: 'red', name, ...more }))

test('public exists from the start, belongs to nobody, and is found by its name', async () => {
  const { body } = await api.get('/v2/address-scopes')
  expect(body.address_scopes).toMatchObject([{ name: 'public', project_id: null, generation: 1 }])
  expect((await api.get('/v2/address-scopes/public')).body).toEqual(body.address_scopes[0])
})

test('a private scope belongs to a project, and is shown as it was created', async () => {
  const settings = { project_id: 'red', name: 'lab', description: 'Racks 1-4', tags: ['a', 'b'] }
  const answer = await api.post('/v2/address-scopes', settings)
  expect(answer).toMatchObject({ status: 201, body: { ...settings, generation: 1 } })
  expect((await api.get(`/v2/address-scopes/${answer.body.id}`)).body).toEqual(answer.body)
})

test('the name of a scope is unique within its project, also after a change', async () => {
  await createScope('lab')
  const other = await createScope('office')
  await createScope('lab', { project_id: 'blue' })
  const twice = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
  expectProblem(twice, 'address_scope_name_taken', { status: 409 })
  const renamed = await api.patch(`/v2/address-scopes/${other.id}`, { name: 'lab' })
  expectProblem(renamed, 'address_scope_name_taken')
})

test('a change touches only what it names', async () => {
  const scope = await createScope('lab', { description: 'Racks 1-4', tags: ['a'] })
  const { body } = await api.patch(`/v2/address-scopes/${scope.id}`, { tags: ['b'] })
  expect(body).toEqual({ ...scope, tags: ['b'], generation: 2, updated_at: expect.any(String) })
  expect(body.updated_at >= scope.updated_at).toBe(true)
})

test('public can be neither renamed nor deleted, by either of its names', async () => {
  const { id } = (await api.get('/v2/address-scopes/public')).body
  for (const name of ['public', id]) {
    expectProblem(
      await api.patch(`/v2/address-scopes/${name}`, { name: 'mine' }),
      'address_scope_built_in',
    )
    expectProblem(await api.delete(`/v2/address-scopes/${name}`), 'address_scope_built_in')
  }
})

test('a scope is deleted when it has no blocks, not before', async () => {
  const scope = await createScope('lab')
  const block = await api.createBlock('10.0.0.0/8', { scope_id: scope.id })
  const path = `/v2/address-scopes/${scope.id}`
  expectProblem(await api.delete(path), 'address_scope_not_empty', { status: 409 })
  expect((await api.delete(`/v2/blocks/${block.id}`)).status).toBe(204)
  expect((await api.delete(path)).status).toBe(204)
  for (const gone of [await api.get(path), await api.delete(path), await api.patch(path, {})]) {
    expectProblem(gone, 'address_scope_not_found', { status: 404 })
  }
})

test('scopes are listed by project, name and tags, in pages', async () => {
  const lab = await createScope('lab', { tags: ['a', 'b'] })
  const office = await createScope('office', { tags: ['a'] })
  const other = await createScope('lab', { project_id: 'blue' })
  const idsOf = async (query: string) =>
    (await api.get(`/v2/address-scopes?${query}`)).body.address_scopes.map(({ id }) => id)
  expect((await idsOf('project_id=red')).toSorted()).toEqual([lab.id, office.id].toSorted())
  expect((await idsOf('name=lab')).toSorted()).toEqual([lab.id, other.id].toSorted())
  expect(await idsOf('tag=a&tag=b')).toEqual([lab.id])

  const first = (await api.get('/v2/address-scopes?limit=3')).body
  const second = (await api.get(first.links[0]?.href ?? '')).body
  expect(first.address_scopes).toHaveLength(3)
  expect(second).toMatchObject({ next_marker: null, links: [] })
  const ids = [...first.address_scopes, ...second.address_scopes].map(({ id }) => id)
  expect(new Set(ids).size).toBe(4)
})

test('private scopes may overlap each other, and the public one', async () => {
  const scopes = [await createScope('lab'), await createScope('office')]
  for (const scope_id of ['public', ...scopes.map(({ id }) => id)]) {
    const block = await api.createBlock('10.0.0.0/24', { scope_id })
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.1' })
  }
})
