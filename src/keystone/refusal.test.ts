import { expect, test } from 'vitest'
import { toProblem } from '../errors.ts'
import { refusalOf } from './refusal.ts'

const uri = 'https://keystone.example/v3'

test('401 says where to get a token', () => {
  const { error, headers } = refusalOf({ kind: 'invalid', reason: 'The token has expired.' }, uri)
  expect(toProblem(error)).toMatchObject({
    status: 401,
    code: 'authentication_required',
    detail: 'The token has expired.',
  })
  expect(headers).toEqual({ 'www-authenticate': 'Keystone uri="https://keystone.example/v3"' })
})

test('503 says why nobody knows, and when to try again', () => {
  const { error, headers } = refusalOf(
    { kind: 'unavailable', reason: 'Keystone answers 502', retry_after_seconds: 3 },
    uri,
  )
  expect(toProblem(error)).toMatchObject({
    status: 503,
    code: 'identity_unavailable',
    detail: 'Keystone answers 502.',
  })
  expect(headers).toEqual({ 'retry-after': '3' })
})
