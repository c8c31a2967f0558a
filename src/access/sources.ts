import type { Owner } from './target-store.ts'

/**
 * The project whose a block or network counts as where addresses are to be taken from it. All that takes
 * addresses asks here, so that a use which an owner grants to others has its place here.
 */
export const sourceOf = ({ project_id }: Owner): string | null => project_id
