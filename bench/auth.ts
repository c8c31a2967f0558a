import { randomUUID } from 'node:crypto'
import { hasKeystone, startKeystoneServer } from '../test/helpers/keystone-server.ts'
import { createKeystoneWorld } from '../test/helpers/keystone-world.ts'
import { lastingRecording, startRecordedKeystone } from '../test/helpers/recorded-keystone.ts'
import { allocationRequests, sequential } from './cases.ts'
import { type ContestSettings, type Entrant, runContests } from './contests.ts'
import { BlockMaker, type FilledBlock, slashEight } from './fill.ts'
import { say, withoutEnd } from './measure.ts'
import { type BenchServer, closeAll } from './setup.ts'

/** What it costs to know who asks: the next free address, by tokens that are checked or not. */
export function benchAuth(settings: ContestSettings) {
  return closeAll(async closing => {
    const { environment, token: keystone, close } = await startKeystone()
    closing(close)
    const unchecked = `unchecked-${randomUUID()}`
    const started = {
      kind: 'auth' as const,
      environment: { ...environment, UNCHECKED_TOKEN: unchecked },
    }
    return runContests(
      'auth',
      settings,
      async ({ server, load }) => {
        const stored = await createToken(server)
        const [block] = await new BlockMaker(server, load).make({
          kind: slashEight,
          fill: 0,
          count: 1,
        })
        if (!block) throw new Error('a block was not made')
        const by = (name: string, token: string) => () => nextAddress(block, { name, token })
        const none = by('no authentication', unchecked)
        const ours = by('cached Keystone token', keystone)
        return [
          {
            name: 'Keystone against the admin token',
            ours,
            theirs: by('admin token', server.token),
          },
          { name: 'Keystone against nothing', ours, theirs: none },
          {
            name: 'a token of our own against nothing',
            ours: by('own token', stored),
            theirs: none,
          },
        ]
      },
      started,
    )
  })
}

const nextAddress = (
  block: FilledBlock,
  { name, token }: { readonly name: string; readonly token: string },
): Entrant => ({ ...allocationRequests(sequential, { block, count: withoutEnd }), name, token })

/** A token that the database knows, for a service. */
async function createToken({ url, token }: BenchServer): Promise<string> {
  const answer = await fetch(`${url}/v2/tokens`, {
    method: 'POST',
    headers: { 'x-auth-token': token, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'bench', system_scope: 'all', roles: ['admin'] }),
  })
  if (answer.status !== 201) throw new Error(await answer.text())
  return ((await answer.json()) as { secret: string }).secret
}

type RunningKeystone = {
  /** What Melange needs to know of it. */
  readonly environment: Readonly<Record<string, string>>
  /** Of a service. */
  readonly token: string
  close(): Promise<void>
}

/** A real Keystone where it is installed, else one that answers as a real one did. */
function startKeystone(): Promise<RunningKeystone> {
  if (hasKeystone()) return startRealKeystone()
  say('Keystone is not installed: its place takes a server that answers as it did')
  return startFromRecordings()
}

async function startRealKeystone(): Promise<RunningKeystone> {
  const server = await startKeystoneServer()
  const { users, projects, logIn } = await createKeystoneWorld(server)
  return {
    environment: {
      MELANGE_KEYSTONE: 'true',
      OS_AUTH_URL: server.url,
      OS_USER_ID: users.melange.id,
      OS_PASSWORD: users.melange.password,
      OS_PROJECT_ID: projects.service,
    },
    token: await logIn(users.nova, { project: { id: projects.service } }),
    close: () => server.stop(),
  }
}

async function startFromRecordings(): Promise<RunningKeystone> {
  const server = await startRecordedKeystone()
  const token = 'gAAAAABp-a-token-of-the-benchmark'
  server.tokens.set(token, lastingRecording('validate-service-user'))
  server.life_seconds = 10 * 365 * 86_400
  return {
    environment: {
      MELANGE_KEYSTONE: 'true',
      OS_AUTH_URL: `${server.url}/v3`,
      OS_USERNAME: 'melange',
      OS_USER_DOMAIN_NAME: 'Default',
      OS_PASSWORD: 'any',
      OS_PROJECT_NAME: 'service',
      OS_PROJECT_DOMAIN_NAME: 'Default',
    },
    token,
    close: () => server.close(),
  }
}
