import { defineConfig } from 'vitest/config'
import { expectsPostgres, postgresMissing } from './test/helpers/global-setup.ts'

const hasPostgres = expectsPostgres()
// The first start of PGlite takes 5 s on a slow machine.
const patience = { hookTimeout: 60_000, testTimeout: 30_000 }
// Files share a process: what they keep is in databases of their own, and imports take seconds.
const quick = { ...patience, isolate: false }
const api = {
  ...quick,
  include: ['test/api', 'test/model', 'test/contract'].map(folder => `${folder}/**/*.test.ts`),
}
const globalSetup = 'test/helpers/global-setup.ts'

export default defineConfig({
  test: {
    passWithNoTests: !hasPostgres,
    teardownTimeout: 60_000,
    maxWorkers: '100%', // Else one processor of two stands idle.
    projects: [
      { test: { ...quick, name: 'unit', include: ['src/**/*.test.ts', 'test/*.test.ts'] } },
      {
        test: {
          ...api,
          name: 'api:pglite',
          sequence: { groupOrder: 1 }, // A process is shared by the files of one project only.
          globalSetup: 'test/helpers/pglite-setup.ts',
          provide: { databaseKind: 'pglite', postgresUrl: '' },
        },
      },
      {
        plugins: hasPostgres
          ? []
          : [{ name: 'say-so', configureVitest: () => console.warn(postgresMissing) }],
        test: {
          ...api,
          name: 'api:postgres',
          exclude: hasPostgres ? [] : ['**'],
          sequence: { groupOrder: 2 },
          globalSetup,
          provide: { databaseKind: 'postgres' },
        },
      },
      {
        test: {
          ...patience,
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          testTimeout: 300_000,
          fileParallelism: false,
          globalSetup,
          provide: { databaseKind: 'postgres' },
        },
      },
      {
        test: {
          ...patience,
          name: 'keystone',
          include: ['test/keystone/**/*.test.ts'],
          fileParallelism: false,
        },
      },
      {
        test: {
          ...patience,
          name: 'discovery',
          include: ['test/discovery/**/*.test.ts'],
          testTimeout: 120_000,
          fileParallelism: false,
          globalSetup,
          provide: { databaseKind: 'postgres' },
        },
      },
    ],
  },
})
