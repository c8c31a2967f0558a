import { describe, expect, test } from 'vitest'
import { recording } from '../../test/helpers/recorded-keystone.ts'
import { useTokenValidation } from '../../test/helpers/token-validation.ts'

const world = useTokenValidation()
const garbage = (index: number) => `gAAAAABp-garbage-number-${index}`
const refuseAll = (status: number) => {
  world.keystone.fault = (_request, response) => response.writeHead(status).end('{"error":{}}')
}
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

describe('what is remembered', () => {
  test('a good token, for its time in the cache', async () => {
    const validate = world.validator({ token_cache_seconds: 60 })
    const token = world.token('validate-nocatalog')
    await validate(token)
    world.advance(59)
    await validate(token)
    expect(world.keystone.validations()).toHaveLength(1)
    world.advance(1)
    await validate(token)
    expect(world.keystone.validations()).toHaveLength(2)
    expect(world.told.filter(one => one.startsWith('lookup'))).toEqual([
      'lookup miss',
      'lookup hit',
      'lookup miss',
    ])
  })

  test('so the end of a revoked token is seen when that time is over', async () => {
    const validate = world.validator({ token_cache_seconds: 60 })
    const token = world.token('validate-nocatalog')
    await validate(token)
    world.keystone.tokens.set(token, recording('error-revoked-subject-token'))
    world.advance(59)
    expect((await validate(token)).kind).toBe('valid')
    world.advance(1)
    expect((await validate(token)).kind).toBe('invalid')
    refuseAll(503)
    world.advance(11) // Also of the refusal nothing is known: the token does not come back.
    expect((await validate(token)).kind).toBe('unavailable')
  })

  test('that it was good, until it expires or its issuer has been away for too long', async () => {
    const validate = world.validator({ token_cache_seconds: 60, stale_seconds: 300 })
    const token = world.token('validate-nocatalog')
    expect(validate.remembers(token)).toBe(false)
    await validate(token)
    await validate(garbage(1))
    expect([token, garbage(1), 'x'].map(validate.remembers)).toEqual([true, false, false])
    world.advance(359)
    expect(validate.remembers(token)).toBe(true)
    world.advance(1)
    expect(validate.remembers(token)).toBe(false)
    expect(world.keystone.validations()).toHaveLength(2)
  })

  test('nothing, where the cache is off', async () => {
    const validate = world.validator({ token_cache_seconds: 0, negative_cache_seconds: 0 })
    const token = world.token('validate-nocatalog')
    for (const each of [token, token, garbage(1), garbage(1)]) await validate(each)
    expect(world.keystone.validations()).toHaveLength(4)
    refuseAll(503)
    expect((await validate(token)).kind).toBe('unavailable')
  })

  test('a refusal, for a shorter time', async () => {
    const validate = world.validator({ negative_cache_seconds: 10 })
    await validate(garbage(1))
    world.advance(9)
    expect((await validate(garbage(1))).kind).toBe('invalid')
    expect(world.keystone.validations()).toHaveLength(1)
    world.advance(1)
    await validate(garbage(1))
    expect(world.keystone.validations()).toHaveLength(2)
    expect(world.told).toContain('lookup negative_hit')
  })

  test('so many tokens, and garbage drives none of them out', async () => {
    const validate = world.validator({ token_cache_max: 2, negative_cache_max: 3 })
    const tokens = ['a', 'b', 'c'].map(() => world.token('validate-nocatalog'))
    const [first = '', second = '', third = ''] = tokens
    await validate(first)
    await validate(second)
    for (let index = 0; index < 20; index++) await validate(garbage(index))
    const before = world.keystone.validations().length
    await validate(first)
    await validate(second)
    for (const index of [17, 18, 19]) await validate(garbage(index))
    expect(world.keystone.validations()).toHaveLength(before)
    await validate(garbage(16))
    await validate(third)
    await validate(second)
    expect(world.keystone.validations()).toHaveLength(before + 2)
    await validate(first)
    expect(world.keystone.validations()).toHaveLength(before + 3)
  })
})

describe('many at once', () => {
  test('200 requests with one new token are one question', async () => {
    const validate = world.validator()
    const token = world.token('validate-nocatalog')
    const outcomes = await Promise.all(Array.from({ length: 200 }, () => validate(token)))
    expect(outcomes.every(({ kind }) => kind === 'valid')).toBe(true)
    expect(world.keystone.validations()).toHaveLength(1)
  })

  test('10,000 bad tokens stay within bounds, and a token that is known gets through', async () => {
    const validate = world.validator({
      validations_max: 4,
      waiting_max: 50,
      token_cache_seconds: 60,
      negative_cache_max: 100,
    })
    const known = world.token('validate-nocatalog')
    await validate(known)
    world.advance(60)
    let open = () => {}
    world.keystone.gate = new Promise(resolve => {
      open = resolve
    })
    const bad = Array.from({ length: 10_000 }, (_, index) => validate(garbage(index)))
    expect(world.counts()).toEqual({ under_way: 4, waiting: 50 })
    const good = validate(known)
    await until(() => world.keystone.validations().length === 1 + 4)
    open()
    expect((await good).kind).toBe('valid')
    const outcomes = await Promise.all(bad)
    const busy = outcomes.filter(({ kind }) => kind === 'unavailable')
    expect(busy).toHaveLength(10_000 - 54)
    expect(busy[0]).toEqual({
      kind: 'unavailable',
      reason: 'Too many tokens wait',
      retry_after_seconds: 1,
    })
    expect(world.keystone.busiest()).toBe(4)
    expect(world.counts()).toEqual({ under_way: 0, waiting: 0 })
    expect(world.told.filter(one => one === 'lookup overloaded')).toHaveLength(9946)
  })

  test('that too many wait is no reason to believe for longer', async () => {
    const validate = world.validator({
      validations_max: 1,
      waiting_max: 1,
      token_cache_seconds: 60,
    })
    const tokens = ['a', 'b', 'c'].map(() => world.token('validate-nocatalog'))
    for (const token of tokens) await validate(token)
    world.advance(61)
    world.keystone.fault = () => {} // It hangs.
    const outcomes = tokens.map(token => validate(token))
    expect(await outcomes[2]).toMatchObject({ kind: 'unavailable', reason: 'Too many tokens wait' })
    await Promise.all(outcomes)
  })
})

describe('while Keystone is away', () => {
  test('known tokens work until they expire, others get no guess', async () => {
    const validate = world.validator({ token_cache_seconds: 60, stale_seconds: 86_400 })
    const token = world.token('validate-nocatalog')
    await validate(token)
    await world.keystone.close()
    const unknown = world.token('validate-nocatalog')
    expect(await validate(unknown)).toEqual({
      kind: 'unavailable',
      reason: 'Keystone cannot be reached: ECONNREFUSED',
      retry_after_seconds: 1,
    })
    world.advance(3000)
    expect((await validate(token)).kind).toBe('valid')
    expect(world.told.at(-1)).toBe('lookup stale')
    world.advance(206) // 11:28:26
    expect((await validate(token)).kind).toBe('invalid')
  })

  test('not longer than the setting says', async () => {
    const validate = world.validator({ token_cache_seconds: 60, stale_seconds: 100 })
    const token = world.token('validate-nocatalog')
    await validate(token)
    await world.keystone.close()
    world.advance(159)
    expect((await validate(token)).kind).toBe('valid')
    world.advance(1)
    expect((await validate(token)).kind).toBe('unavailable')
  })

  test('an expired token of a service is not believed from memory', async () => {
    const validate = world.validator({ token_cache_seconds: 60, stale_seconds: 86_400 })
    const service = recording('validate-service-user')
    const serviceToken = 'gAAAAABp-token-of-a-late-service'
    const token = { ...service.response.body.token, expires_at: '2026-11-23T00:00:00.000000Z' }
    world.keystone.tokens.set(serviceToken, {
      ...service,
      response: { ...service.response, body: { token } },
    })
    const user = world.token('validate-nocatalog')
    expect((await validate(user, { serviceToken })).kind).toBe('valid')
    world.advance(3600)
    await world.keystone.close()
    expect((await validate(user, { serviceToken })).kind).toBe('unavailable')
  })

  test('it is asked again when it is back, and a revocation is seen then', async () => {
    const validate = world.validator({ token_cache_seconds: 60 })
    const token = world.token('validate-nocatalog')
    await validate(token)
    await world.keystone.close()
    world.advance(61)
    for (let index = 0; index < 5; index++) expect((await validate(token)).kind).toBe('valid')
    world.keystone.tokens.delete(token)
    await world.keystone.open()
    world.advance(1)
    expect((await validate(token)).kind).toBe('invalid')
    const states = world.told.filter(one => /^(away|back)/.test(one))
    expect(states).toEqual(['away: Keystone cannot be reached: ECONNREFUSED', 'back'])
  })

  test('nobody waits for it any more after a few have', async () => {
    const validate = world.validator({ timeout_seconds: 0.3, token_cache_seconds: 60 })
    world.keystone.fault = () => {} // It hangs.
    for (let index = 0; index < 3; index++) {
      expect(await validate(garbage(index))).toMatchObject({
        reason: 'Keystone did not answer within 0.3 s',
      })
    }
    const asked = world.keystone.asked.length
    const begin = performance.now()
    const outcomes = await Promise.all(
      Array.from({ length: 1000 }, (_, index) => validate(garbage(100 + index))),
    )
    expect(performance.now() - begin).toBeLessThan(1000)
    expect(outcomes[999]).toEqual({
      kind: 'unavailable',
      reason: 'Keystone did not answer within 0.3 s',
      retry_after_seconds: 1,
    })
    expect(world.keystone.asked).toHaveLength(asked)
    // After the rest one asks, whatever happens meanwhile to the others.
    world.advance(1)
    await Promise.all(Array.from({ length: 20 }, (_, index) => validate(garbage(index))))
    expect(world.keystone.asked).toHaveLength(asked + 1)
    world.keystone.fault = null
    world.advance(2)
    expect((await validate(garbage(1))).kind).toBe('invalid')
    expect((await validate(world.token('validate-nocatalog'))).kind).toBe('valid')
  })

  test('a known token waits for a Keystone that hangs, but not for long', async () => {
    const validate = world.validator({ timeout_seconds: 5, token_cache_seconds: 60 })
    const token = world.token('validate-nocatalog')
    await validate(token)
    world.advance(61)
    let open = () => {}
    world.keystone.gate = new Promise(resolve => {
      open = resolve
    })
    const begin = performance.now()
    expect((await validate(token)).kind).toBe('valid')
    expect(performance.now() - begin).toBeLessThan(3500)
    expect(world.told.at(-1)).toBe('lookup stale')
    open() // The answer comes late, but it is not lost.
    await until(() => world.told.includes('validation valid') && world.counts().under_way === 0)
    await validate(token)
    expect(world.told.at(-1)).toBe('lookup hit')
  })
})

describe('an answer that is none', () => {
  test.each<[string, string]>([
    ['500', 'Keystone answers 500'],
    ['502', 'Keystone answers 502'],
    ['503', 'Keystone answers 503'],
    ['418', 'Keystone answers 418'],
    ['403', "Melange's own user may not validate tokens: it has not the role"],
    ['404 of a proxy', 'What answers 404 is not Keystone'],
    ['garbage', "Keystone's answer is not understood"],
    ['JSON of another kind', "Keystone's answer is not understood"],
    ['without a time', "Keystone's answer is not understood"],
    ['endless', "Keystone's answer has more than 4194304 bytes"],
    ['closed', 'Keystone cannot be reached: ECONNRESET'],
    ['closed halfway', 'Keystone cannot be reached: ECONNRESET'],
    ['hanging', 'Keystone did not answer within 1 s'],
    ['hanging halfway', 'Keystone did not answer within 1 s'],
    ['redirect to another host', 'Keystone redirects to another host'],
    ['redirect in a circle', 'Keystone redirects in a circle'],
  ])('%s: %s', async (fault, reason) => {
    const validate = world.validator({ timeout_seconds: 1, token_cache_seconds: 60 })
    const known = world.token('validate-nocatalog')
    await validate(known) // And Melange has its own token by that.
    world.advance(61)
    const elsewhere: string[] = []
    world.keystone.fault = (request, response) => {
      const { url = '', headers } = request
      elsewhere.push(`${headers.host}${url}`)
      const token = { user: { id: 'u', name: 'u', domain: { id: 'd' } }, project: { id: 'p' } }
      const answers: Record<string, () => unknown> = {
        '404 of a proxy': () => response.writeHead(404).end('<h1>Not Found</h1>'),
        garbage: () => response.writeHead(200).end('<h1>Welcome</h1>'),
        'JSON of another kind': () => response.writeHead(200).end('{"token": {}}'),
        'without a time': () => response.writeHead(200).end(JSON.stringify({ token })),
        endless: () => response.writeHead(200).end(`"${'x'.repeat(5_000_000)}"`),
        closed: () => request.socket.destroy(),
        'closed halfway': () => {
          response.writeHead(200, { 'content-length': 100 }).write('{"tok')
          setTimeout(() => request.socket.destroy(), 20)
        },
        hanging: () => {},
        'hanging halfway': () => response.writeHead(200).write('{"tok'),
        'redirect to another host': () =>
          response.writeHead(302, { location: `http://localhost:1/v3/auth/tokens` }).end(),
        'redirect in a circle': () => response.writeHead(302, { location: url }).end(),
      }
      const answer = answers[fault]
      if (answer) answer()
      else response.writeHead(Number(fault), { 'content-type': 'text/html' }).end('<h1>No</h1>')
    }
    expect(await validate(world.token('validate-nocatalog'))).toEqual({
      kind: 'unavailable',
      reason,
      retry_after_seconds: 1,
    })
    expect((await validate(known)).kind).toBe('valid')
    world.keystone.fault = null
    expect((await validate(world.token('validate-nocatalog'))).kind).toBe('valid')
  })

  test('a redirect on the same host is followed', async () => {
    const validate = world.validator()
    const token = world.token('validate-nocatalog')
    await validate(garbage(1))
    world.keystone.fault = (request, response) => {
      world.keystone.fault = null
      response.writeHead(308, { location: `${request.url}&again` }).end()
    }
    expect((await validate(token)).kind).toBe('valid')
    expect(world.keystone.asked.at(-1)?.path).toBe('/v3/auth/tokens?nocatalog&again')
  })

  test('a connection that Keystone closed while it was kept is no failure', async () => {
    const validate = world.validator()
    await validate(garbage(1))
    await world.keystone.close()
    await world.keystone.open()
    expect((await validate(garbage(2))).kind).toBe('invalid')
    expect(world.told).not.toContain('validation unavailable')
  })
})
