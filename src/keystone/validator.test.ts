import { describe, expect, test } from 'vitest'
import { recording } from '../../test/helpers/recorded-keystone.ts'
import { useTokenValidation } from '../../test/helpers/token-validation.ts'

const world = useTokenValidation()
const nobody = 'gAAAAABp-a-token-that-nobody-has'
const member = {
  authority: 'keystone',
  user_id: '1ba142dc3cb14fb6b0d933092421305a',
  user_name: 'acme-member',
  user_domain_id: 'default',
  project_id: '93b771a6cdbb43438b5657fdda9e2a7b',
  domain_id: null,
  system_scope: null,
  project_domain_id: 'default',
  roles: ['reader', 'member'],
  service: null,
}

describe('whose token it is', () => {
  test('of a project', async () => {
    const validate = world.validator()
    const token = world.token('validate-nocatalog')
    expect(await validate(token)).toEqual({ kind: 'valid', caller: member })
    const [asked] = world.keystone.validations()
    expect(asked?.path).toBe('/v3/auth/tokens?nocatalog')
    expect(asked?.headers).toMatchObject({
      'x-subject-token': token,
      'x-auth-token': 'own-token-1-of-melange',
      'openstack-identity-access-rules': '1',
      accept: 'application/json',
    })
  })

  test('of a project in another domain', async () => {
    const { caller } = await world.validator()(world.token('validate-project-other-domain'))
    expect(caller).toMatchObject({
      user_name: 'corp-boss',
      user_domain_id: '48edcc55077943dfb14a404da06949cb',
      project_domain_id: '48edcc55077943dfb14a404da06949cb',
    })
  })

  test('of a domain', async () => {
    const { caller } = await world.validator()(world.token('validate-domain-scoped'))
    expect(caller).toMatchObject({
      project_id: null,
      domain_id: '48edcc55077943dfb14a404da06949cb',
      system_scope: null,
      roles: ['admin', 'reader', 'member'],
    })
  })

  test('of the system', async () => {
    const { caller } = await world.validator()(world.token('validate-system-scoped'))
    expect(caller).toMatchObject({ project_id: null, domain_id: null, system_scope: 'all' })
  })

  test('of a trust: who was trusted, in the project of the other', async () => {
    const { caller } = await world.validator()(world.token('validate-trust-scoped'))
    expect(caller).toMatchObject({
      user_name: 'globex-member',
      project_id: '93b771a6cdbb43438b5657fdda9e2a7b',
      roles: ['reader', 'member'],
    })
  })

  test('without scope: refused, as a policy of ours', async () => {
    expect(await world.validator()(world.token('validate-unscoped'))).toEqual({
      kind: 'invalid',
      reason: 'The token has no scope: ask for one of a project, a domain or the system.',
    })
  })

  test('what Keystone says of an admin project makes nobody an admin', async () => {
    const recorded = recording('validate-project-member')
    const token = { ...recorded.response.body.token, is_admin_project: true }
    world.keystone.tokens.set(nobody, {
      ...recorded,
      response: { ...recorded.response, body: { token } },
    })
    expect(await world.validator()(nobody)).toEqual({ kind: 'valid', caller: member })
  })

  test.each(['error-garbage-subject-token', 'error-revoked-subject-token'])(
    'nobody: %s',
    async name => {
      const outcome = await world.validator()(world.token(name))
      expect(outcome).toEqual({ kind: 'invalid', reason: 'The token is not valid.' })
    },
  )

  test('blanks around a token are not of it', async () => {
    const validate = world.validator()
    const token = world.token('validate-nocatalog')
    const first = await validate(`  ${token} `)
    const again = await validate(token)
    if (first.kind !== 'valid' || again.kind !== 'valid') throw new Error('it is valid')
    expect(again.caller).toBe(first.caller)
    expect(world.keystone.validations()).toHaveLength(1)
  })

  test.each([
    '',
    'short',
    'a token with blanks in it',
    `${'x'.repeat(5000)}`,
    'línea-larga-de-más',
  ])('what cannot be a token costs no request: %.20s', async text => {
    expect(await world.validator()(text)).toMatchObject({ kind: 'invalid' })
    expect(world.keystone.asked).toEqual([])
    expect(world.told).toEqual(['lookup malformed'])
  })
})

describe('expiry', () => {
  test('is looked at with each request, whatever is remembered', async () => {
    const validate = world.validator({ token_cache_seconds: 86_400 })
    const token = world.token('validate-nocatalog') // It expires at 11:28:26.
    world.advance(3200)
    expect((await validate(token)).kind).toBe('valid')
    world.advance(5)
    expect((await validate(token)).kind).toBe('valid')
    world.advance(1)
    expect(await validate(token)).toEqual({ kind: 'invalid', reason: 'The token has expired.' })
    expect(world.keystone.validations()).toHaveLength(1)
  })

  test('counts also where Keystone does not see it yet', async () => {
    const validate = world.validator()
    world.advance(3600)
    expect((await validate(world.token('validate-nocatalog'))).kind).toBe('invalid')
  })
})

describe('service tokens', () => {
  const service = { user_id: '39ffb602685e4e489f211d75f43f0314', roles: ['service'] }

  test('tell which service asks, and change nothing of the user', async () => {
    const validate = world.validator()
    const serviceToken = world.token('validate-service-user')
    const outcome = await validate(world.token('validate-nocatalog'), { serviceToken })
    expect(outcome).toEqual({
      kind: 'valid',
      caller: {
        ...member,
        service: { ...service, project_id: '06c9f5286bdb4ce9b79d6918ab87cae2' },
      },
    })
  })

  test('of the system give the user no scope of it, and the other way round', async () => {
    const validate = world.validator({ service_token_roles: ['admin', 'service'] })
    const system = world.token('validate-system-scoped')
    const ofService = world.token('validate-service-user')
    const user = world.token('validate-nocatalog')
    const { caller } = await validate(user, { serviceToken: system })
    expect(caller).toMatchObject({ system_scope: null, service: { project_id: null } })
    expect(caller).toMatchObject({ roles: ['reader', 'member'] })
    const other = await validate(system, { serviceToken: ofService })
    expect(other.caller).toMatchObject({ system_scope: 'all', service: { roles: ['service'] } })
  })

  test.each([
    ['garbage', 'error-garbage-subject-token'],
    ['without the role', 'validate-project-other-domain'],
    ['without scope', 'validate-unscoped'],
  ])('that are bad (%s) spoil a good user token', async (_why, name) => {
    const validate = world.validator()
    const user = world.token('validate-nocatalog')
    const outcome = await validate(user, { serviceToken: world.token(name) })
    expect(outcome).toMatchObject({
      kind: 'invalid',
      reason: expect.stringMatching(/^(Of the|The) service/),
    })
    expect((await validate(user, { serviceToken: '' })).kind).toBe('invalid')
  })

  test('alone are nobody', async () => {
    const serviceToken = world.token('validate-service-user')
    expect((await world.validator()('', { serviceToken })).kind).toBe('invalid')
  })

  test('let an expired user token pass, where Keystone does', async () => {
    const validate = world.validator({ token_cache_seconds: 7200 })
    const user = world.token('validate-nocatalog')
    const late = recording('validate-service-user')
    const token = { ...late.response.body.token, expires_at: '2026-11-22T20:00:00.000000Z' }
    const serviceToken = 'gAAAAABp-token-of-a-late-service'
    world.keystone.tokens.set(serviceToken, {
      ...late,
      response: { ...late.response, body: { token } },
    })
    expect((await validate(user, { serviceToken })).kind).toBe('valid')
    world.advance(3600)
    // What was remembered of the valid token says nothing of the expired one.
    expect(await validate(user, { serviceToken })).toMatchObject({
      caller: { user_name: 'acme-member' },
    })
    expect(await validate(user, { serviceToken })).toMatchObject({ kind: 'valid' })
    expect(world.keystone.validations().map(({ path }) => path)).toEqual([
      '/v3/auth/tokens?nocatalog',
      '/v3/auth/tokens?nocatalog&allow_expired=1',
      '/v3/auth/tokens?nocatalog&allow_expired=1',
    ])
    expect(await validate(user)).toMatchObject({ reason: 'The token has expired.' })
    expect(world.told.slice(-3)).toEqual(['lookup hit', 'lookup hit', 'lookup negative_hit'])
    // Keystone's window is over: it does not know the token any more.
    world.keystone.tokens.delete(user)
    world.advance(7200)
    expect((await validate(user, { serviceToken })).kind).toBe('invalid')
  })

  test('a user token refused as expired is asked about again when a service brings it', async () => {
    const validate = world.validator()
    const user = world.token('error-revoked-subject-token')
    expect((await validate(user)).kind).toBe('invalid')
    world.keystone.tokens.set(user, recording('validate-nocatalog'))
    expect((await validate(user)).kind).toBe('invalid')
    const serviceToken = world.token('validate-service-user')
    expect((await validate(user, { serviceToken })).kind).toBe('valid')
  })

  test('a repetition after a 401 does not forget that expired tokens are allowed', async () => {
    const validate = world.validator()
    const serviceToken = world.token('validate-service-user')
    await validate(nobody, { serviceToken })
    world.keystone.ownTokens.clear()
    await validate('gAAAAABp-another-one-nobody-has', { serviceToken })
    const paths = world.keystone.validations().map(({ path }) => path)
    expect(paths.slice(-2)).toEqual([
      '/v3/auth/tokens?nocatalog&allow_expired=1',
      '/v3/auth/tokens?nocatalog&allow_expired=1',
    ])
  })
})

describe('application credentials with access rules', () => {
  const name = 'validate-application-credential-with-access-rules' // GET /v0.1/** of ipam.
  const allowed = { method: 'GET', path: '/v0.1/ipam/tenants/t1/ip_blocks' }

  test('allow what one of their rules allows, and nothing else', async () => {
    const validate = world.validator()
    const token = world.token(name)
    const outcomes = [
      await validate(token, allowed),
      await validate(token, { ...allowed, method: 'DELETE' }),
      await validate(token, { ...allowed, path: '/v2/blocks' }),
      await validate(token, allowed),
    ]
    expect(outcomes.map(({ kind }) => kind)).toEqual(['valid', 'invalid', 'invalid', 'valid'])
    expect(outcomes[1]?.reason).toMatch('access rules')
    // Once for the token and once for its catalogue; rules are looked at for each request.
    expect(world.keystone.validations().map(({ path }) => path)).toEqual([
      '/v3/auth/tokens?nocatalog',
      '/v3/auth/tokens',
    ])
  })

  test('are of no use for a service of another type', async () => {
    const validate = world.validator({ service_type: 'network' })
    expect((await validate(world.token(name), allowed)).kind).toBe('invalid')
  })

  test('are of no use where the catalogue does not have the service', async () => {
    const validate = world.validator({ service_type: 'dns' })
    const recorded = recording(name)
    const rules = [{ id: 'r1', service: 'dns', path: '/**', method: 'GET' }]
    const token = {
      ...recorded.response.body.token,
      application_credential: { access_rules: rules },
    }
    world.keystone.tokens.set(nobody, {
      ...recorded,
      response: { ...recorded.response, body: { token } },
    })
    expect((await validate(nobody, allowed)).kind).toBe('invalid')
    expect((await world.validator({ service_type: 'ipam' })(nobody, allowed)).kind).toBe('invalid')
  })

  test('do not restrict a service that asks with such a token', async () => {
    const validate = world.validator()
    const serviceToken = world.token('validate-service-user')
    const outcome = await validate(world.token(name), { method: 'DELETE', path: '/', serviceToken })
    expect(outcome.kind).toBe('valid')
  })

  test('restrict a service that has one itself', async () => {
    const validate = world.validator({ service_token_roles: ['member'] })
    const use = { serviceToken: world.token(name) }
    const user = world.token('validate-nocatalog')
    expect((await validate(user, { ...use, ...allowed })).kind).toBe('valid')
    expect((await validate(user, { ...use, method: 'DELETE' })).kind).toBe('invalid')
  })
})
