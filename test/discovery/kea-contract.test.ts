import { afterAll, beforeAll } from 'vitest'
import { type KeaDatabases, startKeaDatabases } from '../helpers/kea-database.ts'
import { describeDriver } from './contract.ts'

let databases: KeaDatabases | undefined
beforeAll(async () => {
  databases = await startKeaDatabases()
})
afterAll(() => databases?.stop())

describeDriver('kea', async () => ({
  kea: { run: true, database_url: await databases?.create() },
}))
