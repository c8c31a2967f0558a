import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, realpathSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Another commit, built in a folder of its own. */
export type Checkout = {
  readonly commit: string
  /** The built program. */
  readonly program: string
  remove(): Promise<void>
}

const root = fileURLToPath(new URL('..', import.meta.url))
const lockfile = 'package-lock.json'
// The hooks of the repository are for its people.
const withoutHooks = ['-c', 'core.hooksPath=/dev/null']

/** The commit of the working tree, and whether what is built differs from it. */
export function describeWorkingTree(): { commit: string; is_changed: boolean } {
  const commit = askGit('rev-parse', 'HEAD')
  const sources = ['src', 'sql', 'package.json', lockfile, 'tsconfig.json', 'tsconfig.build.json']
  return { commit, is_changed: askGit('status', '--porcelain', '--', ...sources) !== '' }
}

/** The commit that a branch, a tag or a hash names. */
export function findCommit(revision: string): string | null {
  try {
    return askGit('rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`)
  } catch {
    return null
  }
}

/** Checks a revision out into a temporary folder, and builds it. */
export async function checkOut(revision: string): Promise<Checkout> {
  const commit = findCommit(revision)
  if (commit === null) throw new Error(`there is no commit ${revision}`)
  const parent = mkdtempSync(join(tmpdir(), 'melange-compare-'))
  const folder = join(parent, 'melange')
  const guard = startGuard({ parent, folder })
  try {
    const add = ['worktree', 'add', '--quiet', '--detach', folder, commit]
    await guard.run({ command: ['git', ...withoutHooks, ...add], cwd: root })
    if (hasOurPackages(folder)) {
      symlinkSync(realpathSync(join(root, 'node_modules')), join(folder, 'node_modules'))
    } else {
      await guard.run({ command: ['npm', 'ci', '--no-audit', '--no-fund'], cwd: folder })
    }
    await guard.run({ command: ['npm', 'run', '--silent', 'build'], cwd: folder })
  } catch (error) {
    await guard.remove()
    throw error
  }
  return { commit, program: join(folder, 'dist', 'main.js'), remove: guard.remove }
}

/** Our own packages serve both sides, as long as both want the same. */
function hasOurPackages(folder: string): boolean {
  const [ours, theirs] = [root, folder].map(where => readFileSync(join(where, lockfile), 'utf8'))
  return ours === theirs
}

function askGit(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
}

/**
 * A shell program: when its input ends, it ends what runs, if anything does, then removes folder $1
 * and what git remembers of folder $2. Forced twice, in case git was ended while it made that.
 */
const guardProgram = `while read -r group; do running=$group; done
if [ -n "$running" ]; then kill -s KILL -- "-$running"; fi
rm -rf "$1" || rm -rf "$1"
git worktree remove --force --force "$2"`

/** Removes the folders when it is told to, or when this process has ended, in whatever way. */
function startGuard({ parent, folder }: { parent: string; folder: string }) {
  const guard = spawn('sh', ['-c', guardProgram, 'sh', parent, folder], {
    cwd: root,
    stdio: ['pipe', 2, 2],
    detached: true, // Ctrl-C is for us.
  })
  guard.unref()
  const ended = once(guard, 'exit')
  return {
    /** Runs a program in a process group of its own, of which the guard knows. */
    async run({ command, cwd }: { command: readonly string[]; cwd: string }): Promise<void> {
      const [program = '', ...args] = command
      const child = spawn(program, args, { cwd, stdio: ['ignore', 2, 2], detached: true })
      const exit = once(child, 'exit')
      guard.stdin?.write(`${child.pid ?? ''}\n`)
      const [status] = await exit
      guard.stdin?.write('\n')
      if (status !== 0) throw new Error(`${command.join(' ')} failed`)
    },
    async remove(): Promise<void> {
      guard.ref()
      guard.stdin?.end()
      await ended
    },
  }
}
