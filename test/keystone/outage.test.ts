import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Validation } from '../../src/keystone/validator.ts'
import { useRealKeystone } from '../helpers/real-keystone.ts'

const real = useRealKeystone()
const use = { method: 'GET', path: '/v2/blocks' }
const ofAnn = () =>
  real.world.logIn(real.world.users.ann, { project: { id: real.world.projects.acme } })

/** Validates one token after the other, by turns, from several clients; until it is ended. */
function load(validate: (token: string) => Promise<Validation>, tokens: readonly string[]) {
  const seen: { token: string; kind: string; begin: number; end: number; reason: string }[] = []
  let isOver = false
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let turn = client; !isOver; turn++) {
      const token = tokens[turn % tokens.length] ?? ''
      const begin = performance.now()
      const outcome = await validate(token)
      const reason = outcome.kind === 'valid' ? '' : outcome.reason
      seen.push({ token, kind: outcome.kind, begin, end: performance.now(), reason })
      await delay(5)
    }
  })
  return {
    seen,
    async end() {
      isOver = true
      await Promise.all(clients)
    },
  }
}

test('Keystone dies and comes back under load: no guess, no wrong answer, and all is well again', async () => {
  const keystone = real.connect({ token_cache_seconds: 1, negative_cache_seconds: 1 })
  const known = [await ofAnn(), await ofAnn(), await ofAnn()]
  const revoked = await ofAnn()
  await real.world.revoke(revoked)
  const later = [await ofAnn(), await ofAnn()]
  const garbage = Array.from({ length: 20 }, (_, index) => `gAAAAABpGarbageOfNumber${index}`)
  const validate = (token: string) => keystone.validate(token, use)
  for (const token of known) expect((await validate(token)).kind).toBe('valid')

  const busy = load(validate, [...known, revoked, ...garbage])
  await delay(2000)
  const killed = performance.now()
  await real.server.kill9()
  const gone = performance.now()
  await delay(3000)
  const newOnes = await Promise.all(later.map(validate))
  const back = performance.now()
  await real.server.start()
  const answering = performance.now()
  // The longest rest is 10 s; after so long it was 4 at most.
  await delay(8000)
  const recovered = performance.now()
  await delay(2000)
  await busy.end()

  const isKnown = ({ token }: { token: string }) => known.includes(token)
  const { seen } = busy
  // Whatever happened to Keystone: known tokens were never refused, the others never let in.
  expect(seen.filter(isKnown).filter(({ kind }) => kind !== 'valid')).toEqual([])
  expect(seen.filter(one => !isKnown(one) && one.kind === 'valid')).toEqual([])
  expect(newOnes.map(({ kind }) => kind)).toEqual(['unavailable', 'unavailable'])
  const during = seen.filter(({ begin, end }) => begin > gone && end < back)
  const unknown = during.filter(one => !isKnown(one) && one.kind === 'unavailable')
  expect(unknown.length).toBeGreaterThan(100)
  expect(unknown.every(({ reason }) => /^Keystone/.test(reason))).toBe(true)
  // And nobody waited for it.
  const waits = during.map(({ begin, end }) => end - begin).toSorted((a, b) => a - b)
  expect(waits.at(Math.floor(waits.length * 0.99))).toBeLessThan(500)
  const after = seen.filter(({ begin }) => begin > recovered)
  expect(after.length).toBeGreaterThan(100)
  expect(after.filter(({ kind }) => kind === 'unavailable')).toEqual([])
  for (const token of later) expect((await validate(token)).kind).toBe('valid')
  expect(keystone.lookups).toContain('stale')
  console.info(
    `${seen.length} validations; killed in ${Math.round(gone - killed)} ms, away ${Math.round(answering - gone)} ms`,
  )
}, 120_000)

test('a token that was revoked while Keystone restarts is refused from then on', async () => {
  const keystone = real.connect({ token_cache_seconds: 1 })
  const token = await ofAnn()
  expect((await keystone.validate(token, use)).kind).toBe('valid')
  await real.world.revoke(token)
  await real.server.kill9()
  await delay(1500)
  expect((await keystone.validate(token, use)).kind).toBe('valid') // Nobody can know it yet.
  await real.server.start()
  const deadline = Date.now() + 10_000
  while ((await keystone.validate(token, use)).kind === 'valid') {
    if (Date.now() > deadline) throw new Error('the revoked token is still valid')
    await delay(100)
  }
  for (let index = 0; index < 20; index++) {
    expect((await keystone.validate(token, use)).kind).toBe('invalid')
  }
}, 120_000)
