import { readFileSync } from 'node:fs'
import { Type } from 'typebox'
import { afterEach, expect, test } from 'vitest'
import { unbounded } from '../../src/access/bound-store.ts'
import { audit } from '../../src/audit/store.ts'
import { admin, findToken, hashToken } from '../../src/auth/token-store.ts'
import { type OpenDatabase, rows } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { getBlock } from '../../src/resources/blocks/store.ts'
import { listNetworks } from '../../src/resources/networks/store.ts'
import { createAdminToken } from '../../src/resources/tokens/store.ts'
import { newEmptyDatabase } from '../helpers/databases.ts'

let db: OpenDatabase | undefined
afterEach(() => db?.close())

const first = readFileSync(
  new URL('../../sql/migrations/0001_blocks_and_allocations.sql', import.meta.url),
  'utf8',
)
const scope = '00000000-0000-0000-0000-000000000001'
const [v4, v6] = ['01900000-0000-7000-8000-000000000004', '01900000-0000-7000-8000-000000000006']
const held = '01900000-0000-7000-8000-00000000000a'

const oldToken = `melange_${'o'.repeat(43)}`

/** What the first version of the schema held: two blocks of a network, and one allocation. */
const content = `
  create table schema_migrations (
    number int primary key, name text not null, applied_at timestamptz not null default now());
  insert into schema_migrations (number, name) values (1, '0001_blocks_and_allocations.sql');
  insert into blocks (id, scope_id, cidr, network_id, is_network_top, project_id, gateway_ip, strategy)
  values ('${v4}', '${scope}', '10.0.0.0/24', 'blue net', true, 'red', '10.0.0.1', 'random'),
    ('${v6}', '${scope}', '2001:db8::/64', 'blue net', true, 'red', null, 'sequential');
  insert into block_usage (block_id, total, allocated, excluded)
  values ('${v4}', 256, 1, 3), ('${v6}', 18446744073709551616, 0, 1);
  insert into allocations (id, scope_id, block_id, address, project_id, started_at)
  values ('${held}', '${scope}', '${v4}', '10.0.0.2', 'red', now());
  insert into free_ranges (block_id, first, last)
  values ('${v4}', '10.0.0.3', '10.0.0.254'), ('${v6}', '2001:db8::1', '2001:db8::ffff:ffff:ffff:ffff');
  insert into tokens (name, hash) values ('admin', sha256('${oldToken}'));
  insert into events (seq, type, object_id, project_id, data)
  select nextval('event_seq'), type, id::uuid, 'red',
    json_build_object('id', id, 'generation', 1, 'address', address, 'ended_at', null)
  from (values ('block.created', '${v4}', null), ('block.created', '${v6}', null),
    ('allocation.created', '${held}', '10.0.0.2')) e (type, id, address)`

/** Functions as the first version declared them, where this one declares others of the name. */
const functions = `
  create function give_range(uuid, inet, inet, timestamptz) returns void language sql as '';
  create function find_prefix(uuid, int) returns inet language sql as 'select null::inet';
  create function joined_ranges(block uuid) returns table (first inet, last inet) language sql
    as 'select null::inet, null::inet';
  create function take_addresses(blocks, bigint) returns inet[] language sql
    as 'select null::inet[]';
  create type allocation_request as (request int, block_id uuid);
  create function take_wish(blocks, allocation_request, out addresses inet[], out refusal text)
    language sql as 'select null::inet[], null';
  create function why_not_free(blocks, inet) returns text language sql as 'select null';
  create function allocate_addresses(jsonb) returns table (request int, id uuid, error text)
    language sql as 'select 0, null::uuid, null'`

test('a database of the first version is brought up to this one with all that it holds', async () => {
  db = await newEmptyDatabase()
  await db.execute(first)
  await db.execute(content)
  await db.execute(functions)
  await migrate(db)

  expect((await audit(db)).differences).toEqual([])
  const [network] = await listNetworks(
    db,
    {},
    { sort: 'id', limit: 10, after: null, bound: unbounded },
  )
  expect(network).toMatchObject({ name: 'blue net', project_id: 'red', generation: 1 })
  expect(await getBlock(db, v4)).toMatchObject({ network_id: network?.id, strategy: 'random' })
  expect(await getBlock(db, v6)).toMatchObject({ network_id: network?.id, strategy: null })
  const token = await findToken(db, hashToken(oldToken))
  expect(token).toMatchObject({ caller: admin, seconds_left: null })
  expect(await createAdminToken(db)).toBeNull()
  const Usage = Type.Object({ allocations: Type.Integer(), blocks: Type.Integer() })
  const usage = await rows(db, Usage)`
    select allocations, blocks from project_usage where project_id = 'red'`
  expect(usage).toEqual([
    { allocations: 1, blocks: 2 },
    { allocations: 1, blocks: 2 },
  ])
})
