import { afterEach, beforeEach } from 'vitest'
import { loadCredentials } from '../../src/keystone/credentials.ts'
import { createKeystoneClient, type HttpClient } from '../../src/keystone/http.ts'
import { createSession } from '../../src/keystone/session.ts'
import {
  createValidator,
  type TokenUse,
  type Validator,
  type ValidatorOptions,
} from '../../src/keystone/validator.ts'
import {
  type RecordedKeystone,
  recordedAt,
  recording,
  startRecordedKeystone,
} from './recorded-keystone.ts'

type Settings = ValidatorOptions['settings']

/** A validator before a Keystone that answers as recorded, and a clock of the test. */
export type World = {
  readonly keystone: RecordedKeystone
  /** What the observer was told, as `kind outcome`. */
  readonly told: string[]
  /** What is under way and what waits, by the last validator. */
  counts(): { readonly under_way: number; readonly waiting: number }
  now(): number
  advance(seconds: number): void
  validator(settings?: Partial<Settings>): Ask & Pick<Validator, 'remembers'>
  /** A token that Keystone knows, and answers for as recorded. */
  token(recordingName: string): string
}

type Ask = (token: string, use?: Partial<TokenUse>) => Promise<Outcome>

/** `valid` with the caller, or `invalid` or `unavailable` with the reason. */
export type Outcome = Record<string, unknown> & { readonly kind: string }

const defaults: Settings = {
  service_type: 'ipam',
  service_token_roles: ['service'],
  timeout_seconds: 1,
  token_cache_seconds: 300,
  token_cache_max: 10_000,
  negative_cache_seconds: 10,
  negative_cache_max: 10_000,
  stale_seconds: 1800,
  validations_max: 16,
  waiting_max: 1000,
}

export function useTokenValidation(): World {
  let keystone: RecordedKeystone
  let http: HttpClient
  let time = recordedAt
  let tokens = 0
  let counts: World['counts'] = () => ({ under_way: 0, waiting: 0 })
  const told: string[] = []

  beforeEach(async () => {
    keystone = await startRecordedKeystone()
    time = recordedAt
    told.length = 0
  })
  afterEach(async () => {
    http.close()
    await keystone.close()
  })

  return {
    get keystone() {
      return keystone
    },
    told,
    counts: () => counts(),
    now: () => time,
    advance: seconds => {
      time += seconds * 1000
    },
    validator(changes = {}) {
      const settings = { ...defaults, ...changes }
      const { timeout_seconds } = settings
      http = createKeystoneClient({ timeout_seconds, cafile: undefined, insecure: false })
      const credentials = loadCredentials(
        { auth_url: `${keystone.url}/v3`, user_id: 'u1', password: 'right', project_id: 'p1' },
        {},
      )
      const common = {
        now: () => time,
        random: () => 1,
        observer: {
          onLookup: (lookup: string) => told.push(`lookup ${lookup}`),
          onValidation: (outcome: string) => told.push(`validation ${outcome}`),
          onLogin: (outcome: string) => told.push(`login ${outcome}`),
          onAway: (reason: string) => told.push(`away: ${reason}`),
          onBack: () => told.push('back'),
          watchValidations: (read: World['counts']) => {
            counts = read
          },
        },
      }
      const session = createSession({ credentials, http, ...common })
      const { validate, remembers } = createValidator({ session, settings, ...common })
      const ask: Ask = async (token, use = {}) => {
        const answer = await validate(token, { method: 'GET', path: '/v2/blocks', ...use })
        return { ...answer }
      }
      return Object.assign(ask, { remembers })
    },
    token(recordingName) {
      tokens++
      const token = `gAAAAABp-token-number-${tokens}`
      keystone.tokens.set(token, recording(recordingName))
      return token
    },
  }
}
