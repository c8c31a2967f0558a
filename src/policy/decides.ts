import type { RuleDefault } from './rules.ts'

/** A rule that decides about operations, for tokens of projects and of the system. */
export function decides(
  check: string,
  description: string,
  operations: readonly string[],
): RuleDefault {
  return { check, description, operations, scope_types: ['project', 'system'] }
}
