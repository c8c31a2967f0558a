import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Caller } from '../auth/caller.ts'
import { authorize } from './check.ts'
import { type RuleName, ruleDefaults } from './defaults.ts'
import type { Target } from './evaluate.ts'
import { explainVerdict } from './explain.ts'
import { loadPolicy } from './file.ts'
import { nearestName, PolicyError } from './policy-error.ts'
import type { Rules } from './rules.ts'
import { samplePolicy } from './sample.ts'

type Run = (
  work: (config: { readonly policy: { readonly file?: string } }) => Promise<void>,
) => void

type CheckOptions = {
  readonly rule: string
  readonly roles: readonly string[]
  readonly serviceRoles: readonly string[]
  readonly user: string
  readonly project?: string
  readonly domain?: string
  readonly system?: boolean
  readonly target: Target
}

/** Adds `melange policy list`, `check` and `sample`. */
export function addPolicyCommands(program: Command, run: Run): void {
  const policy = program.command('policy').description('see and try the rules: docs/policy.md')
  policy
    .command('list')
    .description('print the rules in effect, and where each comes from')
    .action(() => run(async config => console.log(listRules(loadPolicy(config.policy.file)))))
  policy
    .command('sample')
    .description('print a policy file with all rules, as they are by default, commented out')
    .action(() => run(async () => console.log(samplePolicy())))
  policy
    .command('check')
    .description('say whether a rule allows a caller something, and why; status 1 if it does not')
    .requiredOption('--rule <name>', 'for instance blocks:create')
    .option('--roles <names>', 'of the token, with commas between them', splitNames, [])
    .option('--user <id>', 'of the token', 'user')
    .option('--project <id>', 'scope of the token; also the project_id of the target by default')
    .option('--domain <id>', 'scope of the token')
    .option('--system', 'system scope')
    .option('--service-roles <names>', 'of the service token (X-Service-Token)', splitNames, [])
    .addOption(
      new Option('--target <name=value>', 'a member of the target, such as scope.project_id=p1')
        .argParser(addMember)
        .default({}, 'project_id of --project'),
    )
    .action((options: CheckOptions) =>
      run(async config => {
        const { allowed, text } = checkRule(loadPolicy(config.policy.file), options)
        console.log(text)
        if (!allowed) process.exitCode = 1
      }),
    )
}

const splitNames = (names: string): string[] => names.split(',').filter(name => name !== '')

/** `null` is null, as in "a thing of no project". */
function addMember(member: string, target: Target): Target {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(member) ?? []
  if (name === undefined) {
    throw new InvalidArgumentError('Write NAME=VALUE, for instance project_id=p1.')
  }
  return { ...target, [name]: value === 'null' ? null : value }
}

/** The rules in effect, each with its source. */
export function listRules(rules: Rules): string {
  const width = Math.max(...Array.from(rules.keys(), name => name.length))
  return Array.from(rules.values(), ({ name, source, text }) => {
    return `${name.padEnd(width)}  ${source.padEnd('default'.length)}  ${text}`
  }).join('\n')
}

/** The verdict, and how it came about. */
export function checkRule(
  rules: Rules,
  { rule, target, ...options }: CheckOptions,
): { allowed: boolean; text: string } {
  if (!rules.has(rule)) {
    const nearest = nearestName(rule, Object.keys(ruleDefaults))
    throw new PolicyError(`there is no rule ${rule}${nearest ? `; ${nearest} is meant?` : ''}`)
  }
  const caller = callerOf(options)
  const own = options.project === undefined ? {} : { project_id: options.project }
  const asked: Target = { ...own, ...target }
  const verdict = authorize(rules, caller, rule as RuleName, asked)
  const heading = `${verdict.allowed ? 'allowed' : 'denied'} by rule ${rule}`
  const text = [heading, ...explainVerdict(rules, caller, verdict, asked)].join('\n')
  return { allowed: verdict.allowed, text }
}

function callerOf(options: Omit<CheckOptions, 'rule' | 'target'>): Caller {
  const { user, project = null, domain = null, system = false, roles, serviceRoles } = options
  const scopes = [project !== null, domain !== null, system].filter(isGiven => isGiven)
  if (scopes.length > 1) {
    throw new PolicyError('a token has one scope: give one of --project, --domain and --system')
  }
  const isService = serviceRoles.length > 0
  return {
    authority: 'keystone',
    user_id: user,
    user_name: null,
    user_domain_id: null,
    project_id: project,
    domain_id: domain,
    system_scope: system ? 'all' : null,
    project_domain_id: null,
    roles,
    service: isService ? { user_id: 'service', project_id: null, roles: serviceRoles } : null,
  }
}
