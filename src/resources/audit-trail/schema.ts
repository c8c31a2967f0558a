import { type Static, Type } from 'typebox'
import { closed, Nullable, oneOf, PageQuery, ProjectId, Time } from '../../schema.ts'
import { eventTypes } from '../events/store.ts'

const text = (description: string) => Type.String({ description })
const Text = Type.String({ minLength: 1, maxLength: 255 })
const RequestId = Type.String({
  pattern: '^req-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$',
  description: 'As `X-OpenStack-Request-Id` has it.',
})
export const outcomes = ['success', 'failure'] as const

const Initiator = closed({
  typeURI: text(
    '`service/security/account/user`; `service/network` is Melange itself, and `unknown` is who is not to be told.',
  ),
  id: text('The user; `melange`, or `unknown`.'),
  name: Nullable(Type.String()),
  domain_id: Nullable(text('The domain of the user.')),
  project_id: Nullable(text('The project in whose name it was done.')),
  scope: Nullable(
    oneOf(['project', 'domain', 'system', 'none'], { description: 'What the token was for.' }),
  ),
  roles: Type.Array(Type.String()),
  credential: Nullable(
    closed({
      type: oneOf(['keystone', 'token', 'oidc'], {
        description: 'What vouched for the user. What the credential was is never kept.',
      }),
    }),
  ),
  service: Nullable(closed({ id: Type.String(), project_id: Nullable(Type.String()) }), {
    description: 'The service that asked in the name of the user (X-Service-Token).',
  }),
  host: Nullable(
    closed({
      address: text('The address from which the request came.'),
      agent: Nullable(text('What the client calls itself.')),
    }),
  ),
})

/** What somebody did, or was refused, in the members of CADF (DMTF DSP0262). */
export const AuditRecord = closed(
  {
    typeURI: Type.Literal('http://schemas.dmtf.org/cloud/audit/1.0/event'),
    id: Type.String(),
    eventType: Type.Literal('activity'),
    eventTime: Time,
    action: text('Such as `create`, `delete/release` or `read/list`.'),
    outcome: oneOf(outcomes),
    reason: Nullable(
      closed({
        reasonType: Type.Literal('HTTP'),
        reasonCode: Type.String(),
        policyId: Nullable(text('The rule of the policy that refused it.')),
      }),
      { description: 'Why it was refused.' },
    ),
    initiator: Initiator,
    target: closed({
      typeURI: text('Such as `network/allocation`.'),
      id: Nullable(Type.String()),
      project_id: Nullable(
        text('Whose it is; of what was refused the project in whose name it was asked.'),
      ),
    }),
    observer: closed({
      typeURI: Type.Literal('service/network'),
      id: Type.Literal('melange'),
    }),
    operation: Nullable(
      text('Method and pattern of the path, such as `DELETE /v2/macs/{mac_id}`.'),
    ),
    request_id: Nullable(Type.String()),
    global_request_id: Nullable(
      text('The request to another service of which this one was a part.'),
    ),
    event: Nullable(
      oneOf(eventTypes, { description: 'Of what was done: the event, whose cursor is the `id`.' }),
    ),
    count: Type.Integer({
      description: 'Of refusals: how many were alike in one second. This is the first of them.',
    }),
  },
  { $id: 'AuditRecord' },
)
export type AuditRecord = Static<typeof AuditRecord>

export const AuditTrailQuery = closed({
  project_id: Type.Optional(
    Type.Unsafe<string>({
      ...ProjectId,
      description:
        'Whose the thing is; of what was refused the project in whose name it was asked.',
    }),
  ),
  user_id: Type.Optional(Text),
  request_id: Type.Optional(RequestId),
  global_request_id: Type.Optional(RequestId),
  object_id: Type.Optional(Text),
  object_type: Type.Optional(
    Type.String({ minLength: 1, maxLength: 255, examples: ['allocation'] }),
  ),
  action: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description: '`delete` is also `delete/release`.',
    }),
  ),
  outcome: Type.Optional(oneOf(outcomes)),
  since: Type.Optional(Type.Unsafe<string>({ ...Time, description: 'From this time on.' })),
  until: Type.Optional(Type.Unsafe<string>({ ...Time, description: 'Before this time.' })),
  ...PageQuery,
})
export type AuditTrailQuery = Static<typeof AuditTrailQuery>
