import { FieldErrors, notFound } from './fault.ts'
import { pageAnswer, pageOf } from './page.ts'
import type { PolicyRow } from './policy-store.ts'
import {
  changePolicyNames,
  createPolicyNamed,
  deletePolicyWithRules,
  getOwnPolicy,
  listOwnPolicies,
} from './policy-store.ts'
import { readModel } from './request-body.ts'
import { type Call, resource } from './route-table.ts'
import {
  createRule,
  deleteRule,
  getRule,
  listRules,
  type Rule,
  type RuleKind,
  updateRule,
} from './rule-store.ts'
import { type Data, echoNumbers, type Fields, integerOf, Timestamp, textOf } from './values.ts'

const showPolicy = (policy: PolicyRow) => ({
  id: policy.id,
  name: policy.name,
  description: policy.description,
  tenant_id: policy.tenant_id,
  created_at: new Timestamp(policy.created_at),
  updated_at: new Timestamp(policy.updated_at),
})

const echo = (fields: Fields, policy: PolicyRow): Data =>
  echoNumbers(showPolicy(policy), fields, ['name', 'description'])

/** Names longer than this leave no room for what makes them unique. */
const nameMax = 200
const descriptionMax = 4096

function readNames(fields: Fields, before: { name: string; description: string | null } | null) {
  const errors = new FieldErrors()
  const given = fields.has('name') ? fields.get('name') : before?.name
  const name = textOf(given)
  if (given === undefined || given === null || given === '') {
    errors.add('name', 'name should be present')
  } else if (name === undefined || name.length > nameMax) {
    errors.add('name', `name should be a text of up to ${nameMax} characters`)
  }
  const text = fields.has('description') ? fields.get('description') : before?.description
  const description = text === undefined || text === null ? null : textOf(text)
  if (description === undefined || (description?.length ?? 0) > descriptionMax) {
    errors.add('description', `description should be a text of up to ${descriptionMax} characters`)
  }
  errors.throwIfAny()
  return { name: name ?? '', description: description ?? null }
}

const ownPolicy = ({ db, params }: Call, id = params.id) =>
  getOwnPolicy(db, { id: id ?? '', tenant_id: params.tenant_id ?? '' })

const policies = resource('/ipam/tenants/:tenant_id/policies', {
  async index(call) {
    const page = pageOf(call)
    const found = await listOwnPolicies(call.db, call.params.tenant_id ?? '', page)
    return pageAnswer(call, 'policies', { found, limit: page.limit, show: showPolicy })
  },
  async create(call) {
    const fields = readModel(call, 'policy')
    const tenant_id = call.params.tenant_id ?? ''
    const policy = await createPolicyNamed(call.db, { tenant_id, ...readNames(fields, null) })
    return { status: 201, root: 'policy', data: echo(fields, policy) }
  },
  async show(call) {
    return { status: 200, root: 'policy', data: showPolicy(await ownPolicy(call)) }
  },
  async update(call) {
    const policy = await ownPolicy(call)
    const fields = readModel(call, 'policy')
    const changed = await changePolicyNames(call.db, policy, readNames(fields, policy))
    return { status: 200, root: 'policy', data: echo(fields, changed) }
  },
  async remove(call) {
    await deletePolicyWithRules(call.db, await ownPolicy(call))
    return { status: 200 }
  },
})

type RuleForm = {
  readonly kind: RuleKind
  /** What a body calls one of them, and what a list calls all. */
  readonly root: string
  readonly list: string
  readonly model: string
  readonly members: readonly ('offset' | 'length' | 'octet')[]
}

const ranges: RuleForm = {
  kind: 'range',
  root: 'ip_range',
  list: 'ip_ranges',
  model: 'IpRange',
  members: ['offset', 'length'],
}
const octets: RuleForm = {
  kind: 'octet',
  root: 'ip_octet',
  list: 'ip_octets',
  model: 'IpOctet',
  members: ['octet'],
}

function showRule({ members }: RuleForm, rule: Rule): Data {
  return {
    id: rule.id,
    ...Object.fromEntries(members.map(member => [member, rule[member]])),
    policy_id: rule.policy_id,
    created_at: new Timestamp(rule.created_at),
    updated_at: new Timestamp(rule.updated_at),
  }
}

function readRule({ members }: RuleForm, fields: Fields, before: Rule | null) {
  const errors = new FieldErrors()
  const numbers: { offset: number | null; length: number | null; octet: number | null } = {
    offset: null,
    length: null,
    octet: null,
  }
  for (const member of members) {
    const number = integerOf(fields.has(member) ? fields.get(member) : before?.[member])
    if (number === null) errors.add(member, `${member} should be of type integer`)
    if (member === 'length' && (number === null || number < 0)) {
      errors.add(member, 'length should be a positive integer')
    }
    numbers[member] = number
  }
  errors.throwIfAny()
  return numbers
}

function ruleRoutes(path: string, form: RuleForm) {
  const { kind, root, list, model } = form
  const find = async (call: Call) => {
    const policy = await ownPolicy(call, call.params.policy_id)
    const rule = await getRule(call.db, { id: call.params.id ?? '', policy_id: policy.id, kind })
    if (!rule) throw notFound(model)
    return rule
  }
  return resource(`/ipam/tenants/:tenant_id/policies/:policy_id/${path}`, {
    async index(call) {
      const { id: policy_id } = await ownPolicy(call, call.params.policy_id)
      const page = pageOf(call)
      const found = await listRules(call.db, { policy_id, kind }, page)
      const show = (rule: Rule) => showRule(form, rule)
      return pageAnswer(call, list, { found, limit: page.limit, show })
    },
    async create(call) {
      const { id: policy_id } = await ownPolicy(call, call.params.policy_id)
      const numbers = readRule(form, readModel(call, root), null)
      const rule = await createRule(call.db, { policy_id, kind, ...numbers })
      return { status: 201, root, data: showRule(form, rule) }
    },
    async show(call) {
      return { status: 200, root, data: showRule(form, await find(call)) }
    },
    async update(call) {
      const before = await find(call)
      const numbers = readRule(form, readModel(call, root), before)
      const rule = await updateRule(call.db, { ...before, ...numbers })
      return { status: 200, root, data: showRule(form, rule) }
    },
    async remove(call) {
      await deleteRule(call.db, await find(call))
      return { status: 200 }
    },
  })
}

export const policyRoutes = [
  ...policies,
  ...ruleRoutes('unusable_ip_ranges', ranges),
  ...ruleRoutes('unusable_ip_octets', octets),
]
