import { expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { removeOldEvents } from '../../src/resources/events/store.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const read = async (query = '') => expectStatus(200, await api.get(`/v2/events?${query}`))

test('every change is one event, in order, with the object as it was answered (I9)', async () => {
  const scope = (await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })).body
  const renamed = (await api.patch(`/v2/address-scopes/${scope.id}`, { name: 'office' })).body
  const parent = await api.createBlock('10.0.0.0/16', { scope_id: scope.id })
  const [child] = await api.cut(parent, { prefix_length: 24 })
  if (!child) throw new Error('no child')
  const tagged = (await api.patch(`/v2/blocks/${child.id}`, { tags: ['a'] })).body
  const held = await api.allocateOne(child)
  const named = (await api.patch(`/v2/allocations/${held.id}`, { name: 'eth0' })).body
  const ended = await api.release(held)
  for (const { id } of [tagged, parent]) await api.delete(`/v2/blocks/${id}`)
  await api.delete(`/v2/address-scopes/${scope.id}`)

  const { events, cursor } = await read()
  expect(events.map(({ type, data }) => [type, data])).toEqual([
    ['address_scope.created', scope],
    ['address_scope.updated', renamed],
    ['block.created', parent],
    ['block.created', child],
    ['block.updated', tagged],
    ['allocation.created', held],
    ['allocation.updated', named],
    ['allocation.released', ended],
    ['block.deleted', tagged],
    ['block.deleted', parent],
    ['address_scope.deleted', renamed],
  ])
  for (const { object_id, project_id, data } of events) {
    expect({ id: object_id, project_id }).toEqual({
      id: (data as { id: string }).id,
      project_id: (data as { project_id: string | null }).project_id,
    })
  }
  expect(events.at(-1)?.cursor).toBe(cursor)
})

test('what is refused, or done once more, leaves no event', async () => {
  const block = await api.createBlock('10.0.0.0/30')
  await api.release(await api.allocateOne(block))
  const { cursor } = await read('after=latest')
  await api.ask(block, { count: 3 })
  await api.ask(block, { address: '10.0.0.0' })
  await api.post('/v2/blocks', { scope_id: 'public', cidr: '10.0.0.0/8' })
  await api.patch(`/v2/blocks/${block.id}`, { gateway_ip: '10.0.0.3' })
  await api.delete('/v2/address-scopes/public')
  expect(await read()).toMatchObject({ cursor })
  expect(await read(`after=${cursor}`)).toEqual({ events: [], cursor })
})

test('many at once and adopted blocks have an event each, in the order of the answer', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const held = await api.allocate(block, { count: 5 })
  const wish = { scope_id: 'public', cidr: '10.0.0.0/16', adopt_children: true }
  const parent = expectStatus(201, await api.post('/v2/blocks', wish))
  await api.post('/v2/allocations/release', { allocations: held.map(({ id }) => ({ id })) })
  const { events } = await read()
  expect(events.map(({ type, object_id }) => [type, object_id])).toEqual([
    ['block.created', block.id],
    ...held.map(({ id }) => ['allocation.created', id]),
    ['block.created', parent.id],
    ['block.updated', block.id],
    ...held.map(({ id }) => ['allocation.released', id]),
  ])
  expect(events.find(({ type }) => type === 'block.updated')?.data).toMatchObject({
    parent_id: parent.id,
    generation: 2,
  })
})

test('following the cursors gives every event once, whatever the size of a page', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  await Promise.all(Array.from({ length: 20 }, () => api.allocate(block)))
  const { events: all } = await read()
  const followed = []
  for (let after = '0'; ; ) {
    const { events, cursor } = await read(`after=${after}&limit=4`)
    if (events.length === 0) break
    followed.push(...events)
    after = cursor
  }
  expect(followed).toEqual(all)
  expect(new Set(all.map(({ cursor }) => cursor)).size).toBe(21)
})

test('events are filtered by type and project, and the cursor passes what is left out', async () => {
  const block = await api.createBlock('10.0.0.0/24', { project_id: 'blue' })
  const [red, blue] = await Promise.all(
    ['red', 'blue'].map(project_id => api.allocateOne(block, { project_id })),
  )
  const { cursor } = await read()
  const ofType = await read('type=allocation.created')
  expect(ofType.events.map(({ object_id }) => object_id).toSorted()).toEqual(
    [red?.id, blue?.id].toSorted(),
  )
  const ofProject = await read('project_id=blue')
  expect(ofProject.events.map(({ object_id }) => object_id)).toEqual([block.id, blue?.id])
  expect(await read('type=block.deleted')).toEqual({ events: [], cursor })
  expectProblem(await api.get('/v2/events?type=block.moved'), 'invalid_request', { field: 'type' })
})

test('a waiting reader is answered as soon as something changes', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  const { cursor } = await read('after=latest')
  const waiting = [`after=${cursor}&wait=60`, 'after=latest&wait=60'].map(read)
  waiting.push(read(`after=${cursor}&wait=60&type=allocation.released`))
  // Reads the cursor behind it, so that `latest` above is what it was before the change.
  await api.get('/v2/events?after=latest')
  const held = await api.allocateOne(block)
  await api.release(held)
  const [first, , released] = await Promise.all(waiting)
  expect(first?.events[0]).toMatchObject({ type: 'allocation.created', object_id: held.id })
  expect(released?.events).toMatchObject([{ type: 'allocation.released', object_id: held.id }])
})

test('waiting ends with its time', async () => {
  const { cursor } = await read('after=latest')
  expect(await read(`after=${cursor}&wait=1`)).toEqual({ events: [], cursor })
})

test('a cursor behind which events were removed has expired; a later one has not', async () => {
  const block = await api.createBlock('10.0.0.0/24')
  await api.allocate(block, { count: 2 })
  await api.db.query(sql`update events set at = now() - interval '31 days' where seq <= 2`)
  expect(await removeOldEvents(api.db, { days: 30, limit: 1 })).toBe(1)
  expect(await removeOldEvents(api.db, { days: 30, limit: 10 })).toBe(1)
  expect(await removeOldEvents(api.db, { days: 30, limit: 10 })).toBe(0)
  for (const after of ['0', '1']) {
    expectProblem(await api.get(`/v2/events?after=${after}`), 'events_expired', { status: 410 })
  }
  expect((await read('after=2')).events).toMatchObject([{ cursor: '3' }])
  await api.db.query(sql`update events set at = now() - interval '31 days'`)
  await removeOldEvents(api.db, { days: 30, limit: 10 })
  expect(await read('after=latest')).toEqual({ events: [], cursor: '3' })
  await api.release((await api.allocate(block))[0] ?? { id: '' })
  expect((await read('after=3')).events.map(({ cursor }) => cursor)).toEqual(['4', '5'])
})

test.each(['after=-1', 'after=x', 'wait=61', 'wait=x', 'limit=0', 'limit=1001', 'cursor=1'])(
  '%s is refused',
  async query => {
    const field = query.split('=')[0]
    expectProblem(await api.get(`/v2/events?${query}`), 'invalid_request', { field })
  },
)
