import { readFileSync } from 'node:fs'
import { createBuiltin } from '../../src/discovery/builtin/builtin.ts'
import { DiscoveryError } from '../../src/discovery/driver.ts'
import { contextOf } from './dhcp-context.ts'

// Serves what a JSON file says, without the API:
//   npx tsx test/helpers/builtin-process.ts world.json
// The file has `config` and `networks` (see dhcp-context.ts), and, if it likes, `pools`, `level` and `leases`,
// a file. It says `ready` when it is, and leases as lines of JSON.

const [file = ''] = process.argv.slice(2)
const { pools, level, leases: leasesFile, ...world } = JSON.parse(readFileSync(file, 'utf8'))
const { context, leases } = contextOf(world, { pools, level, file: leasesFile })
const driver = createBuiltin(context)
const print = (text: string) => process.stdout.write(`${text}\n`)
try {
  await driver.start()
} catch (error) {
  if (!(error instanceof DiscoveryError)) throw error
  print(error.message)
  process.exit(1)
}
print('ready')
const timer = setInterval(() => {
  for (const one of leases.news.splice(0)) print(JSON.stringify(one))
}, 100)
const end = async () => {
  clearInterval(timer)
  await driver.stop()
  for (const one of leases.news.splice(0)) print(JSON.stringify(one))
  print(await context.registry.metrics())
}
process.once('SIGTERM', () => void end())
process.once('SIGINT', () => void end())
