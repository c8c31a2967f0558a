import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Files } from './configuration.ts'

/** Nobody else reads what projects have. */
const forUs = { mode: 0o600 }
const folderForUs = { mode: 0o700, recursive: true }

/** Makes the folders of a dnsmasq, with nothing in those from which it reads. */
export async function makeFolders(folder: string, files: Files): Promise<void> {
  await mkdir(folder, folderForUs)
  await chmod(folder, 0o700)
  for (const one of [files.newHosts, files.newOptions, files.names]) {
    await mkdir(one, folderForUs)
    for (const name of await readdir(one)) await rm(join(one, name), { force: true })
  }
}

/** Writes a file so that whoever reads it finds all of it, or what was there before. */
export async function replaceFile(path: string, lines: Iterable<string>, folder: string) {
  const part = join(folder, 'part')
  await writeFile(part, `${[...lines].join('\n')}\n`, forUs)
  await rename(part, path)
}

export async function writeScript(path: string, text: string) {
  await writeFile(path, text, { mode: 0o700 })
  await chmod(path, 0o700)
}

/** How long one that is left over may take to end. */
const patienceMilliseconds = 5000

/** Ends a dnsmasq that a process before this one has left running. */
export async function endLeftOver({ pid, configuration }: Files): Promise<void> {
  const left = Number(await readFile(pid, 'utf8').catch(() => ''))
  if (!Number.isInteger(left) || left <= 1) return
  const isOurs = async () => {
    const command = await readFile(`/proc/${left}/cmdline`, 'utf8').catch(() => '')
    return command.split('\0').includes(`--conf-file=${configuration}`)
  }
  if (!(await isOurs())) return
  process.kill(left, 'SIGTERM')
  for (let waited = 0; await isOurs(); waited += 20) {
    if (waited === patienceMilliseconds) process.kill(left, 'SIGKILL')
    await sleep(20)
  }
}
