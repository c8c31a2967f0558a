import { expect, test } from 'vitest'
import { asCaller } from '../../../test/helpers/callers.ts'
import { excessOf, type Grant } from './rules.ts'

const inProject = (project_id: string, ...roles: string[]): Grant => ({
  project_id,
  system_scope: null,
  roles,
})
const onSystem = (...roles: string[]): Grant => ({ project_id: null, system_scope: 'all', roles })

test.each([
  [onSystem('admin'), inProject('p', 'service'), null],
  [onSystem('ADMIN'), onSystem('admin', 'whatever'), null],
  [onSystem('reader'), onSystem('reader'), null],
  [onSystem('reader'), onSystem('member'), 'role member'],
  [onSystem('member'), inProject('p', 'member'), 'scope'],
  [inProject('p', 'admin'), inProject('p', 'Manager', 'reader'), null],
  [inProject('p', 'admin'), inProject('p', 'service'), 'role service'],
  [inProject('p', 'admin'), inProject('q', 'reader'), 'scope'],
  [inProject('p', 'admin'), onSystem('reader'), 'scope'],
  [inProject('p', 'manager'), inProject('p', 'admin'), 'role admin'],
  [inProject('p', 'manager'), inProject('p', 'member'), null],
  [
    inProject('p', 'manager'),
    inProject('p', 'member', 'netops', 'service'),
    'role netops, service',
  ],
  [inProject('p', 'netops'), inProject('p', 'NetOps'), null],
  [inProject('p', 'service'), inProject('p', 'reader'), 'role reader'],
  [inProject('p'), inProject('p', 'reader'), 'role reader'],
  [{ project_id: null, system_scope: null, roles: ['admin'] }, inProject('p', 'reader'), 'scope'],
])('%j who makes %j exceeds: %j', (creator, grant, excess) => {
  expect(excessOf(grant, asCaller(creator))).toBe(excess)
})

test('an admin of a domain is no admin of the system', () => {
  const creator = asCaller({ domain_id: 'd', roles: ['admin'] })
  expect(excessOf(inProject('p', 'reader'), creator)).toBe('scope')
  expect(excessOf(onSystem('reader'), creator)).toBe('scope')
})
