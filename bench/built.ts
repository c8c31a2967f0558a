// The modules of dist/, with the types of src/. What is measured is what `npm run build` made: tsx
// would put a call around every function that a request creates.

const load = <Module>(path: string) =>
  import(new URL(`../dist/${path}`, import.meta.url).href) as Promise<Module>

export const built = {
  app: () => load<typeof import('../src/app.ts')>('app.js'),
  config: () => load<typeof import('../src/config.ts')>('config.js'),
  database: () => load<typeof import('../src/db/database.ts')>('db/database.js'),
  errors: () => load<typeof import('../src/errors.ts')>('errors.js'),
  open: () => load<typeof import('../src/db/open.ts')>('db/open.js'),
  policy: () => load<typeof import('../src/policy/file.ts')>('policy/file.js'),
}
