import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block, BlockRequest } from '../../src/resources/blocks/schema.ts'
import type {
  Policy,
  PolicyPatch,
  PolicyRulesRequest,
} from '../../src/resources/policies/schema.ts'
import { type Api, expectStatus } from './api.ts'

/** What a PATCH of a policy is answered. */
export type ChangedPolicy = Policy & { readonly exceptions: readonly Allocation[] }

/** What tests do with policies, over the API. */
export function policiesOf(api: Api) {
  const create = async (rules: PolicyRulesRequest, name = 'edge'): Promise<Policy> =>
    expectStatus(201, await api.post('/v2/policies', { name, rules })) as unknown as Policy
  return {
    create,
    /** Changes a policy, most often its rules. */
    change: async ({ id }: Pick<Policy, 'id'>, patch: PolicyPatch): Promise<ChangedPolicy> =>
      expectStatus(200, await api.patch(`/v2/policies/${id}`, patch)) as unknown as ChangedPolicy,
    /** Attaches a policy, or none, to what this path names. */
    attach: async (path: string, policy: Pick<Policy, 'id'> | null) =>
      expectStatus(200, await api.patch(path, { policy_id: policy?.id ?? null })),
    /** Creates a block with a policy of its own. */
    createRuled: async (
      cidr: string,
      rules: PolicyRulesRequest,
      settings: Partial<BlockRequest> = {},
    ): Promise<Block> => {
      const policy_id = (await create(rules, `edge of ${cidr}`)).id
      return api.createBlock(cidr, { policy_id, ...settings })
    },
    /** The addresses of what is reported as held in spite of a policy. */
    exceptions: async ({ id }: Pick<Policy, 'id'>): Promise<string[]> => {
      const pages = await api.pages('allocations', `/v2/policies/${id}/exceptions?limit=2`)
      return pages.flat().map(({ address }) => address)
    },
  }
}
