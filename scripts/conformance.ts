import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { corpora, runnerArguments } from '../test/helpers/conformance.ts'

// Replays what the original Melange answered against this one, each corpus on a server and a
// database of its own. Arguments go to test/conformance/run.mjs: `--only 053`, `--area nat`.

const root = fileURLToPath(new URL('../', import.meta.url))
const token = 'the-token-of-the-conformance-run'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

const startMs = 60_000

async function startServer(folder: string, melange_v1: object, port: number) {
  const file = join(folder, 'melange.json')
  writeFileSync(file, JSON.stringify({ melange_v1, log_level: 'warn' }))
  const child = spawn(process.execPath, [join(root, 'dist/main.js'), '-c', file, 'serve'], {
    env: {
      PATH: process.env.PATH,
      MELANGE_ADMIN_TOKEN: token,
      MELANGE_DATA_DIR: join(folder, 'data'),
      MELANGE_LISTEN: `127.0.0.1:${port}`,
    },
    stdio: ['ignore', 'inherit', 'ignore'],
  })
  for (const end = Date.now() + startMs; Date.now() < end; ) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`)
    const isUp = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      answer => answer.ok,
      () => false,
    )
    if (isUp) return child
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  child.kill()
  throw new Error('the server did not start')
}

async function ended(child: ChildProcess): Promise<number> {
  if (child.exitCode === null) await once(child, 'exit')
  return child.exitCode ?? 1
}

async function replay(name: string, more: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'melange-conformance-'))
  const port = await freePort()
  const server = await startServer(folder, corpora[name] ?? {}, port)
  try {
    console.log(`== ${name}`)
    const args = [...runnerArguments(`http://127.0.0.1:${port}`, name, token), ...more]
    return await ended(spawn(process.execPath, args, { cwd: root, stdio: 'inherit' }))
  } finally {
    server.kill()
    await ended(server)
    const audit = [join(root, 'dist/main.js'), '-c', join(folder, 'melange.json'), 'audit']
    const env = { PATH: process.env.PATH, MELANGE_DATA_DIR: join(folder, 'data') }
    const code = await ended(spawn(process.execPath, audit, { env, stdio: 'inherit' }))
    if (code !== 0) process.exitCode = 1
    rmSync(folder, { recursive: true })
  }
}

const [only, ...rest] = process.argv.slice(2)
const isNamed = only !== undefined && only in corpora
let failures = 0
for (const name of isNamed ? [only] : Object.keys(corpora)) {
  const code = await replay(name, isNamed ? rest : process.argv.slice(2))
  if (code === 1) failures += 1
}
if (failures > 0) process.exitCode = 1
