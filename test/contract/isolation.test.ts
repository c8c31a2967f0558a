import { describe, expect, test } from 'vitest'
import { authorize } from '../../src/policy/check.ts'
import type { RuleName } from '../../src/policy/defaults.ts'
import { loadPolicy } from '../../src/policy/file.ts'
import { operationRules } from '../../src/policy/operation-rules.ts'
import type { Answer } from '../helpers/api.ts'
import { operationsOf } from '../helpers/contract.ts'
import { kinds, openWorld, payloads, type Whose, whoseProject } from '../helpers/isolation.ts'
import { callerAs, type Persona, personas } from '../helpers/personas.ts'

// I10: each operation on a thing of the path, for each persona and for own, foreign and shared things. What
// is expected is what the rules say of the thing; what the server answers is its own affair.

const { api, world, tokens } = await openWorld()
const rules = loadPolicy(undefined)

const may = (persona: Persona, rule: RuleName, whose: Whose) => {
  const project_id = whoseProject[whose]
  const caller = callerAs(persona)
  const isGranted = whose === 'granted' && caller.project_id === 'red'
  const target = {
    project_id,
    scope: { project_id },
    parent: { project_id: rule === 'blocks:create' ? project_id : null },
    grant: { project_id: isGranted ? 'red' : null },
    source: { project_id },
  }
  return authorize(rules, caller, rule, target).allowed
}
const ruleOf = (operation: string) =>
  Object.entries(operationRules).find(([, { operations }]) =>
    (operations as readonly string[]).includes(operation),
  )?.[0] as RuleName

const send = (
  persona: Persona,
  method: string,
  url: string,
  payload: object | undefined,
): Promise<Answer> =>
  api.send({
    method: method as 'GET',
    url,
    // Nothing is changed: no thing has this generation.
    headers: { 'x-auth-token': tokens[persona], 'if-match': '"2147483647"' },
    ...(payload && { payload }),
  })

const operations = () => operationsOf(api.app).filter(({ path }) => path.startsWith('/v2'))
const onThings = () =>
  operations().flatMap(operation => {
    const parameter = /\{(\w+)\}/.exec(operation.path)?.[1] ?? ''
    const kind = kinds[parameter]
    return kind ? [{ ...operation, parameter, kind }] : []
  })

test('every operation has a rule, and every write a body here', () => {
  expect(operations().length).toBeGreaterThan(90)
  expect(operations().filter(one => !ruleOf(`${one.method} ${one.path}`))).toEqual([])
  const writing = onThings().filter(({ method }) => method !== 'GET')
  const ids = writing.map(({ operationId }) => operationId)
  expect(Object.keys(payloads).toSorted()).toEqual(ids.toSorted())
})

const absent = 'ffffffff-ffff-7fff-8fff-ffffffffffff'
/** Parameters behind the first, of things that there are not. */
const others: Readonly<Record<string, string>> = {
  version: '4',
  option: 'mtu',
  address: '10.0.0.9',
  route_id: absent,
  allowed_id: absent,
  allocation_id: absent,
}

describe.each(personas)('%s', persona => {
  test.each(['own', 'foreign', 'shared', 'granted'] as const)('on %s things', async whose => {
    for (const { method, path, operationId, parameter, kind } of onThings()) {
      const rule = ruleOf(`${method} ${path}`)
      const isDone = method !== 'GET' && may(persona, rule, whose)
      const id = isDone ? await world.fresh(kind, whose) : world.idOf(kind, whose)
      if (id === null) continue
      const urlOf = (one: string) =>
        path
          .replace(`{${parameter}}`, one)
          .replaceAll(/\{(\w+)\}/g, (_, name) => others[name] ?? '')
      const payload = payloads[operationId]
      const answer = await send(persona, method, urlOf(id), payload)
      const where = `${operationId} by ${persona} on ${whose}`
      const get = kind === 'policy' ? 'policies' : `${kind}s`
      const verdict = verdictOf(answer, `${kind}_not_found`)
      if (may(persona, rule, whose)) expect([where, verdict]).toEqual([where, 'allowed'])
      else if (may(persona, `${get}:get` as RuleName, whose)) {
        expect([where, verdict]).toEqual([where, 'forbidden'])
        expect(answer.body.detail).toContain(rule)
      } else {
        expect([where, verdict]).toEqual([where, 'missing'])
        const other = await send(persona, method, urlOf(absent), payload)
        expect(asText(other, absent)).toBe(asText(answer, id))
      }
    }
  })
})

/** An answer as text, whatever the id is that was asked for. */
const asText = ({ status, body }: Answer, id: string): string =>
  `${status} ${JSON.stringify(body)}`.replaceAll(id, 'ID')

function verdictOf({ status, body }: Answer, missing: string) {
  if (status === 404 && body.code === missing) return 'missing'
  if (status === 403) return 'forbidden'
  if (status === 401 || status >= 500) return JSON.stringify(body)
  return 'allowed'
}
