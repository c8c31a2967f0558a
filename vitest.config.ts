import { defineConfig } from 'vitest/config'
import { expectsPostgres, postgresMissing } from './test/helpers/global-setup.ts'

const hasPostgres = expectsPostgres()
// The first start of PGlite takes 5 s on a slow machine.
const patience = { hookTimeout: 60_000, testTimeout: 30_000 }
const api = {
  ...patience,
  include: ['test/api', 'test/model', 'test/contract'].map(folder => `${folder}/**/*.test.ts`),
}
const globalSetup = 'test/helpers/global-setup.ts'

export default defineConfig({
  test: {
    passWithNoTests: !hasPostgres,
    teardownTimeout: 60_000,
    projects: [
      { test: { ...patience, name: 'unit', include: ['src/**/*.test.ts', 'test/*.test.ts'] } },
      {
        test: {
          ...api,
          name: 'api:pglite',
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
    ],
  },
})
