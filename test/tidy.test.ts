import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** What each module of src may import from the rest of src. The order is the design. */
const mayImport: Record<string, readonly string[]> = {
  ip: [],
  generators: ['ip'],
  'ids.ts': [],
  'oidc-config.ts': [],
  'server-config.ts': [],
  'config.ts': ['oidc-config.ts', 'server-config.ts'],
  'bounded-map.ts': [],
  'configuration-errors.ts': [],
  'floating-ip-errors.ts': [],
  'grant-errors.ts': [],
  'interface-errors.ts': [],
  'lease-errors.ts': [],
  'server-errors.ts': [],
  'token-errors.ts': [],
  'errors.ts': [
    'configuration-errors.ts',
    'floating-ip-errors.ts',
    'grant-errors.ts',
    'interface-errors.ts',
    'lease-errors.ts',
    'server-errors.ts',
    'token-errors.ts',
  ],
  'schema.ts': ['errors.ts'],
  'fields.ts': ['errors.ts', 'ip'],
  dhcp: ['bounded-map.ts', 'ip', 'errors.ts', 'fields.ts', 'schema.ts'],
  discovery: [
    'bounded-map.ts',
    'coalescer.ts',
    'config.ts',
    'db',
    'dhcp',
    'errors.ts',
    'http-client.ts',
    'ids.ts',
    'ip',
    'metrics',
    'schema.ts',
    'server',
  ],
  host: ['ip', 'dhcp'],
  'coalescer.ts': ['errors.ts'],
  'etags.ts': ['errors.ts'],
  db: ['errors.ts'],
  auth: ['errors.ts', 'db'],
  oidc: ['auth', 'oidc-config.ts'],
  policy: ['auth'],
  'http-client.ts': ['config.ts'],
  keystone: ['bounded-map.ts', 'config.ts', 'http-client.ts', 'errors.ts', 'auth'],
  rates: ['auth', 'bounded-map.ts', 'errors.ts'],
  server: ['config.ts', 'errors.ts', 'ip'],
  'audit-trail': ['path-pattern.ts', 'auth', 'db', 'policy'],
  access: [
    'path-pattern.ts',
    'audit-trail',
    'auth',
    'db',
    'errors.ts',
    'fields.ts',
    'idempotency.ts',
    'ids.ts',
    'policy',
  ],
  audit: ['ip', 'db', 'resources'],
  'idempotency-store.ts': ['errors.ts', 'db'],
  'idempotency.ts': ['errors.ts', 'audit-trail', 'auth', 'db', 'idempotency-store.ts'],
  resources: [
    'ip',
    'dhcp',
    'host',
    'generators',
    'ids.ts',
    'errors.ts',
    'schema.ts',
    'fields.ts',
    'coalescer.ts',
    'etags.ts',
    'idempotency.ts',
    'idempotency-store.ts',
    'access',
    'audit-trail',
    'auth',
    'db',
  ],
  'status-routes.ts': ['errors.ts', 'schema.ts', 'db', 'server'],
  metrics: ['path-pattern.ts', 'schema.ts', 'coalescer.ts', 'db', 'keystone'],
  'melange-v1': [
    'path-pattern.ts',
    'ip',
    'ids.ts',
    'errors.ts',
    'schema.ts',
    'db',
    'audit-trail',
    'auth',
    'access',
    'policy',
    'resources',
    'server',
  ],
  'http.ts': ['errors.ts'],
  'header-documents.ts': [],
  'shared-schemas.ts': ['schema.ts', 'dhcp', 'resources'],
  'app.ts': [
    'shared-schemas.ts',
    'audit-trail',
    'http.ts',
    'schema.ts',
    'header-documents.ts',
    'etags.ts',
    'idempotency.ts',
    'idempotency-store.ts',
    'db',
    'ids.ts',
    'access',
    'audit-trail',
    'auth',
    'policy',
    'oidc',
    'oidc-config.ts',
    'keystone',
    'policy',
    'resources',
    'melange-v1',
    'status-routes.ts',
    'metrics',
    'rates',
    'server',
    'server-config.ts',
  ],
  'serve.ts': [
    'access',
    'app.ts',
    'audit-trail',
    'config.ts',
    'db',
    'idempotency-store.ts',
    'policy',
    'resources',
    'server',
  ],
  'main.ts': [
    'audit',
    'config.ts',
    'db',
    'discovery',
    'errors.ts',
    'policy',
    'resources',
    'serve.ts',
  ],
}

const root = new URL('../src/', import.meta.url)
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.ts') && !path.endsWith('.test.ts'))
  .map(path => ({ path, text: readFileSync(new URL(path, root), 'utf8') }))
const moduleOf = (path: string) => path.split('/')[0] ?? path
const importsOf = ({ path, text }: (typeof files)[number]) =>
  [...text.matchAll(/(?:from |import\()'(\.[^']+)'/g)].map(([, target]) =>
    new URL(String(target), new URL(path, root)).href.slice(root.href.length),
  )

test('imports follow the layers', () => {
  const breaches = files.flatMap(file =>
    importsOf(file)
      .filter(target => moduleOf(target) !== moduleOf(file.path))
      .filter(target => !mayImport[moduleOf(file.path)]?.includes(moduleOf(target)))
      .map(target => `${file.path} imports ${target}`),
  )
  expect(breaches).toEqual([])
})

test('no store knows of routes', () => {
  const stores = files.filter(({ path }) => path.endsWith('store.ts'))
  const breaches = stores.filter(file => importsOf(file).some(target => /routes\.ts$/.test(target)))
  expect(stores.length).toBeGreaterThan(5)
  expect(breaches.map(({ path }) => path)).toEqual([])
})

test('the policy knows of callers, and not how they are authenticated', () => {
  const known = files
    .filter(({ path }) => path.startsWith('policy/'))
    .flatMap(importsOf)
    .filter(target => moduleOf(target) === 'auth')
  expect(new Set(known)).toEqual(new Set(['auth/caller.ts']))
})

test('address arithmetic is pure', () => {
  const impure = files.filter(
    ({ path, text }) => path.startsWith('ip/') && /from 'node:/.test(text),
  )
  expect(impure.map(({ path }) => path)).toEqual([])
})

test.each([
  [
    'only configurations read the environment',
    /process\.env/,
    /^(discovery\/)?config\.ts$|\/inherited\.ts$/,
  ],
  [
    'only stores and db write SQL',
    /\bsql`|\brows\([^)]*\)`/,
    /store\.ts$|^db\/|^status-routes\.ts$/,
  ],
  ['nothing is exported by default', /export default/, /^$/],
])('%s', (_rule, pattern, allowed) => {
  const broken = files.filter(({ path, text }) => pattern.test(text) && !allowed.test(path))
  expect(broken.map(({ path }) => path)).toEqual([])
})

test('no file is longer than 400 lines, and no SQL line than 100 columns', () => {
  expect(files.filter(({ text }) => text.split('\n').length > 400)).toEqual([])
  const sql = new URL('../sql/', import.meta.url)
  const wide = readdirSync(sql, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.sql'))
    .flatMap(path =>
      readFileSync(new URL(path, sql), 'utf8')
        .split('\n')
        .filter(line => line.length > 100)
        .map(line => `${path}: ${line}`),
    )
  expect(wide).toEqual([])
})
