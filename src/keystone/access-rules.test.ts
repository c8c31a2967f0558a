import { expect, test } from 'vitest'
import { isAllowed, matchesPattern } from './access-rules.ts'

test.each([
  ['/v2/blocks', '/v2/blocks', true],
  ['/v2/blocks', '/v2/block', false],
  ['/v2/blocks', '/v2/blocks/', false],
  ['/v2/blocks/*', '/v2/blocks/b1', true],
  ['/v2/blocks/*', '/v2/blocks/', false],
  ['/v2/blocks/*', '/v2/blocks/b1/routes', false],
  ['/v2/blocks/{block_id}', '/v2/blocks/b1', true],
  ['/v2/blocks/{block_id}/routes', '/v2/blocks/b1/routes', true],
  ['/v2/blocks/{block_id}', '/v2/blocks/b1/routes', false],
  ['/v2/*/b1', '/v2/blocks/b1', true],
  ['/v2/b*', '/v2/blocks', true],
  ['/v2/b*', '/v2/b', false],
  ['/v2/**', '/v2/blocks/b1/routes', true],
  ['/v2/**', '/v2/', true],
  ['/v2/**', '/v2', false],
  ['/v2/**/routes', '/v2/blocks/b1/routes', true],
  ['**', '/anything/at/all', true],
  ['/v2/***', '/v2/', false],
  ['/v2/***', '/v2/b', true],
  // Characters that mean something in a regular expression mean themselves.
  ['/v0.1/ipam', '/v0.1/ipam', true],
  ['/v0.1/ipam', '/v0x1/ipam', false],
  ['/v2/(a|b)+', '/v2/(a|b)+', true],
  ['/v2/[a-z]', '/v2/a', false],
  ['/v2/{a', '/v2/{a', true],
  ['', '', true],
  ['', '/', false],
])('the pattern %s and the path %s: %s', (pattern, path, expected) => {
  expect(matchesPattern(path, pattern)).toBe(expected)
})

const rule = { service: 'ipam', method: 'GET', path: '/v2/blocks/*' }
const allows = (method: string, path: string, rules = [rule]) =>
  isAllowed(rules, { method, path }, 'ipam')

test('a request is allowed by a rule of its service, its method and its path', () => {
  expect(allows('GET', '/v2/blocks/b1')).toBe(true)
  expect(allows('DELETE', '/v2/blocks/b1')).toBe(false)
  expect(allows('GET', '/v2/networks/n1')).toBe(false)
  expect(allows('GET', '/v2/blocks/b1', [{ ...rule, service: 'network' }])).toBe(false)
  expect(allows('GET', '/v2/blocks/b1', [])).toBe(false)
  expect(allows('DELETE', '/v2/blocks/b1', [rule, { ...rule, method: 'DELETE' }])).toBe(true)
})

test('a query is left out of account', () => {
  expect(allows('GET', '/v2/blocks/b1?fields=/v2/x')).toBe(true)
  expect(allows('GET', '/v2/networks?/v2/blocks/b1')).toBe(false)
})

test('a path counts as the router understands it', () => {
  expect(allows('GET', '/v2/bl%6Fcks/b1')).toBe(true)
  expect(allows('GET', '/v2/blocks/10.0.0.0%2F8')).toBe(true) // One segment, whatever is in it.
  expect(allows('GET', '/v2/blocks%2Fb1')).toBe(false)
})

test('a path that is not clear without doubt is allowed by no rule', () => {
  const everything = [{ ...rule, path: '/**' }]
  expect(allows('GET', '/v2/blocks', everything)).toBe(true)
  expect(allows('GET', '/v2/../admin', everything)).toBe(false)
  expect(allows('GET', '/v2/%2e%2E/admin', everything)).toBe(false)
  expect(allows('GET', '/v2/%zz', everything)).toBe(false)
  expect(allows('GET', `/v2/${'a'.repeat(2000)}`, everything)).toBe(false)
})

test('no pattern takes long, whatever its author had in mind', () => {
  const path = `/${'a'.repeat(1000)}b`
  const pattern = `/${'**a'.repeat(42)}`
  const begin = performance.now()
  expect(matchesPattern(path, pattern)).toBe(false)
  expect(performance.now() - begin).toBeLessThan(1000)
  expect(matchesPattern(path, `/${'**a'.repeat(43)}`)).toBe(false)
})
