import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import { type Database, retryTransaction, rows } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { removeOldKeys, runOnce } from '../../src/idempotency-store.ts'
import { createAddressScope } from '../../src/resources/address-scopes/store.ts'
import { type Answer, adminToken, expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const isReplayed = ({ headers }: Answer) => headers['idempotency-replayed'] === 'true'
const withKey = (key: string) => ({ 'idempotency-key': key })
const createBlock = (key: string, cidr = '10.0.0.0/24') =>
  api.request('POST', '/v2/blocks', { scope_id: 'public', cidr }, withKey(key))
const createScope = (key: string, name: string) =>
  api.request('POST', '/v2/address-scopes', { project_id: 'red', name }, withKey(key))
const blocks = async () => (await api.get('/v2/blocks?limit=1000')).body.blocks
const keysKept = async () =>
  (
    await rows(api.db, Type.Object({ key: Type.String() }))`
      select key from idempotency_keys order by key`
  ).map(({ key }) => key)

describe('a repeated write', () => {
  test('gets the answer of the first, though things have changed since (I8)', async () => {
    const first = await createBlock('a')
    const path = `/v2/blocks/${first.body.id}`
    expect(first).toMatchObject({ status: 201, headers: { location: path } })
    const renamed = await api.request('PATCH', path, { name: 'x' }, withKey('b'))
    await api.patch(path, { name: 'y' })
    expect((await api.delete(path)).status).toBe(204)
    for (const [again, before] of [
      [await createBlock('a'), first],
      [await api.request('PATCH', path, { name: 'x' }, withKey('b')), renamed],
    ] as const) {
      expect(isReplayed(again)).toBe(true)
      expect([again.status, again.body]).toEqual([before.status, before.body])
      expect(again.headers).toMatchObject({ etag: before.headers.etag })
    }
    expect(await blocks()).toEqual([])
  })

  test('is the same with its members in another order, and other spaces', async () => {
    const send = (payload: string) =>
      api.send({
        method: 'POST',
        url: '/v2/blocks',
        headers: {
          'x-auth-token': adminToken,
          'content-type': 'application/json',
          ...withKey('a'),
        },
        payload,
      })
    const first = await send('{"scope_id":"public","cidr":"10.0.0.0/24","tags":["a","b"]}')
    const same = await send('{ "tags" : ["a", "b"], "cidr": "10.0.0.0/24", "scope_id": "public" }')
    expect(same.body).toEqual(expectStatus(201, first))
    expect(isReplayed(same)).toBe(true)
    const other = await send('{"scope_id":"public","cidr":"10.0.0.0/24","tags":["b","a"]}')
    expectProblem(other, 'idempotency_key_reused')
  })

  test('that was refused is run again: nothing had changed', async () => {
    const { id: other } = await api.createBlock('10.0.0.0/25')
    expectProblem(await createBlock('a'), 'block_overlaps', { status: 409 })
    expectProblem(await createBlock('a', '10.0.0.1/24'), 'cidr_has_host_bits')
    expect(await keysKept()).toEqual([])
    await api.delete(`/v2/blocks/${other}`)
    const done = await createBlock('a')
    expect([done.status, isReplayed(done)]).toEqual([201, false])
    expect(isReplayed(await createBlock('a'))).toBe(true)
    expect(await keysKept()).toEqual(['a'])
  })

  test('without anything in its answer has nothing in it again', async () => {
    const { id } = await api.createBlock('10.0.0.0/24')
    const remove = () => api.request('DELETE', `/v2/blocks/${id}`, undefined, withKey('a'))
    for (const answer of [await remove(), await remove()]) {
      expect(answer).toMatchObject({ status: 204, body: null })
    }
    expectProblem(await api.delete(`/v2/blocks/${id}`), 'block_not_found')
  })

  test('at the same time waits for the first, and there is one of it', async () => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => createBlock('a')))
    const [block, ...more] = await blocks()
    expect(more).toEqual([])
    expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(201))
    for (const { body } of answers) expect(body).toEqual(block)
    expect(answers.filter(answer => !isReplayed(answer))).toHaveLength(1)
  })

  test('needs no key: what has none is done every time', async () => {
    const parent = await api.createBlock('10.0.0.0/16')
    for (const name of ['x', 'y']) {
      await api.cut(parent, { prefix_length: 24, name })
      await api.cut(parent, { prefix_length: 24, name })
    }
    expect(await blocks()).toHaveLength(5)
    expect(await keysKept()).toEqual([])
  })
})

describe('a key', () => {
  test('belongs to one request, by its method, path, query and body', async () => {
    const { id: one } = await api.createBlock('10.1.0.0/24')
    const { id: two } = await api.createBlock('10.2.0.0/24')
    const rename = (block: string, name: string) =>
      api.request('PATCH', `/v2/blocks/${block}`, { name }, withKey('a'))
    expect((await rename(one, 'x')).status).toBe(200)
    for (const other of [
      await rename(one, 'y'),
      await rename(two, 'x'),
      await api.request('DELETE', `/v2/blocks/${one}`, undefined, withKey('a')),
      await createBlock('a'),
    ]) {
      expectProblem(other, 'idempotency_key_reused', { status: 422, field: 'idempotency-key' })
      expect(other.body.detail).toContain('a')
    }
    expect(isReplayed(await rename(one, 'x'))).toBe(true)
    expect((await api.get(`/v2/blocks/${one}`)).body).toMatchObject({ name: 'x', generation: 2 })
    expect(await blocks()).toHaveLength(2)
  })

  test('that two requests bring at the same time belongs to the first', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) => createBlock('a', `10.0.${n % 2}.0/24`)),
    )
    const [block, ...more] = await blocks()
    expect(more).toEqual([])
    for (const [n, { status, body }] of answers.entries()) {
      const isSame = `10.0.${n % 2}.0/24` === block?.cidr
      expect([status, body.code]).toEqual(isSame ? [201, undefined] : [422, expect.any(String)])
    }
  })

  test.each([
    ['', 400],
    ['é', 400],
    ['a\tb', 400],
    ['x'.repeat(256), 400],
    ['x'.repeat(255), 201],
    ['a "quoted", text ~', 201],
    ['7', 201],
  ])('may be %j: %i', async (key, status) => {
    const answer = await createBlock(key)
    expect(answer.status).toBe(status)
    if (status === 400) expectProblem(answer, 'invalid_request', { field: 'idempotency-key' })
    expect(await blocks()).toHaveLength(status === 201 ? 1 : 0)
  })

  test('means nothing to what only reads', async () => {
    const list = () => api.request('GET', '/v2/blocks', undefined, withKey('é'))
    expect(isReplayed(await list())).toBe(false)
    expect(expectStatus(200, await list()).blocks).toEqual([])
    expect(await keysKept()).toEqual([])
  })

  test('does not make a body that is nested without end any better', async () => {
    const tags = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    const payload = `{"scope_id": "public", "cidr": "10.0.0.0/24", "tags": ${tags}}`
    const headers = { 'x-auth-token': adminToken, 'content-type': 'application/json' }
    for (const more of [{}, withKey('a')]) {
      const answer = await api.send({
        method: 'POST',
        url: '/v2/blocks',
        headers: { ...headers, ...more },
        payload,
      })
      expectProblem(answer, 'invalid_request', { status: 400 })
    }
  })

  test('is kept for as long as is said, and then forgotten, a bounded number at a time', async () => {
    for (const key of ['a', 'b', 'c', 'd']) await createScope(key, key)
    await api.db.query(sql`
      update idempotency_keys set created_at = now() - make_interval(hours => 24, secs => 5)
      where key <> 'd'`)
    const remove = (hours: number) => removeOldKeys(api.db, { hours, limit: 2 })
    expect([await remove(25), await keysKept()]).toEqual([0, ['a', 'b', 'c', 'd']])
    expect(isReplayed(await createScope('a', 'a'))).toBe(true)
    expect([await remove(24), await remove(24), await remove(24)]).toEqual([2, 1, 0])
    expect(await keysKept()).toEqual(['d'])
    expectProblem(await createScope('a', 'a'), 'address_scope_name_taken')
    expect((await createScope('a', 'another')).status).toBe(201)
    expect(isReplayed(await createScope('d', 'd'))).toBe(true)
  })
})

describe('in the database', () => {
  const asked = { caller: 'red', key: 'a', fingerprint: 'aa'.repeat(32) }
  const scope = (name: string) => (tx: Database) =>
    createAddressScope(tx, { project_id: 'red', name })

  test('keys of different callers never meet', async () => {
    const one = await runOnce(api.db, asked, scope('x'))
    const other = await runOnce(api.db, { ...asked, caller: 'blue' }, scope('y'))
    const again = await runOnce(api.db, asked, scope('z'))
    expect([one.isRepeated, other.isRepeated, again.isRepeated]).toEqual([false, false, true])
    expect(other.result.name).toBe('y')
    expect(again.result).toEqual(one.result)
  })

  test('the key and the change are kept together, or neither is', async () => {
    const work = async (tx: Database) => {
      await scope('x')(tx)
      throw new Error('it breaks after the change')
    }
    await expect(runOnce(api.db, asked, work)).rejects.toThrow('it breaks')
    expect(await keysKept()).toEqual([])
    expect((await api.get('/v2/address-scopes?name=x')).body.address_scopes).toEqual([])
  })

  test('what lost to another transaction is run again as a whole, with its key', async () => {
    let attempts = 0
    const lost = Object.assign(new Error('lost'), { code: '40P01' })
    const work = (tx: Database) =>
      retryTransaction(tx, async inner => {
        attempts++
        const made = await scope('x')(inner)
        if (attempts < 3) throw lost
        return made
      })
    const { result, isRepeated } = await runOnce(api.db, asked, work)
    expect([attempts, isRepeated]).toEqual([3, false])
    const { body } = await api.get('/v2/address-scopes?name=x')
    expect(body.address_scopes).toEqual([result])
    expect((await runOnce(api.db, asked, work)).result).toEqual(result)
    expect(attempts).toBe(3)
  })

  test('a transaction inside a transaction joins it only where that is meant', async () => {
    const work = (tx: Database) => tx.transaction(async () => null)
    await expect(api.db.transaction(work)).rejects.toThrow('a transaction is already open')
    const joined = await api.db.transaction(tx => retryTransaction(tx, async inner => inner === tx))
    expect(joined).toBe(true)
  })

  test('a key that is removed while somebody asks for it is claimed again', async () => {
    await runOnce(api.db, asked, scope('x'))
    let removals = 0
    // Removes the key right after it was found to be there.
    const between: Database = {
      ...api.db,
      transaction: work =>
        api.db.transaction(tx =>
          work({
            ...tx,
            query: async statement => {
              const found = await tx.query(statement)
              if (removals === 0) await tx.query(sql`delete from idempotency_keys`)
              removals++
              return found
            },
          }),
        ),
    }
    const again = await runOnce(between, asked, scope('y'))
    expect(again).toMatchObject({ isRepeated: true, result: { name: 'x' } })
    expect(removals).toBe(4) // Claim and look, and both once more.
    expect((await api.get('/v2/address-scopes?name=y')).body.address_scopes).toEqual([])
  })
})
