import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Book, Plan } from './book.ts'
import type { Files } from './configuration.ts'
import { replaceFile } from './files.ts'
import type { Names } from './names.ts'
import { type Subnet, subnetLines } from './subnets.ts'

/** The files from which a dnsmasq learns of hosts, options and names. */
export type Feed = {
  /** Writes all that it is to read when it begins, or reads all again. */
  writeAll(): Promise<void>
  /** Forgets the files that came since. */
  forget(): Promise<void>
  /** Adds what is read at once; `isRead` is asked for the file that is read at last. */
  add<T>(plan: Extract<Plan, { type: 'add' }>, isRead: (path: string) => Promise<T>): Promise<T>
  /** Writes the names of hosts. */
  nameAll(keys: Iterable<string>): Promise<void>
  /** What dnsmasq cannot say of subnets. */
  unsaid(): readonly string[]
}

export type FeedOptions = {
  readonly folder: string
  readonly files: Files
  readonly book: Book
  readonly subnets: ReadonlyMap<string, Subnet>
  /** Null if there is no DNS. */
  readonly names: Names | null
}

/** Without it dnsmasq says that files to boot from are its own. */
const usualOptions = ['option:server-ip-address,0.0.0.0']

export function createFeed({ folder, files, book, subnets, names }: FeedOptions): Feed {
  let fileNumber = 0
  let unsaid: string[] = []

  async function writeNames(changed: ReadonlyMap<string, readonly string[]> | undefined) {
    for (const [name, lines] of changed ?? []) {
      await replaceFile(join(files.names, name), lines, folder)
    }
  }

  return {
    unsaid: () => unsaid,
    async writeAll() {
      const ofSubnets = [...subnets.values()].map(subnet => ({ subnet, ...subnetLines(subnet) }))
      unsaid = ofSubnets.flatMap(({ subnet, unsaid: codes }) =>
        codes.map(code => `${subnet.cidr}: dnsmasq cannot tell option ${code}`),
      )
      await replaceFile(files.hosts, book.hosts(), folder)
      const options = [...ofSubnets.flatMap(({ lines }) => lines), ...book.options()]
      await replaceFile(files.options, [...usualOptions, ...options], folder)
      await writeNames(names?.all())
      book.reloaded()
    },
    async forget() {
      for (let number = 1; number <= fileNumber; number += 1) {
        await rm(join(files.newHosts, `n${number}`), { force: true })
        await rm(join(files.newOptions, `n${number}`), { force: true })
      }
      fileNumber = 0
    },
    async add({ hosts, options }, isRead) {
      fileNumber += 1
      const name = `n${fileNumber}`
      // What hosts are told is there before them.
      if (options.length > 0) await replaceFile(join(files.newOptions, name), options, folder)
      const path = join(files.newHosts, name)
      const reading = isRead(path)
      await replaceFile(path, hosts, folder)
      return await reading
    },
    nameAll: keys => writeNames(names?.changed(keys)),
  }
}
