import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import {
  adminToken,
  cleanUp,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

afterEach(cleanUp)

/** What the shell lines of a guide print, on a server of their own; each line is one answer. */
async function runGuide(name: string, settings = {}): Promise<string[]> {
  const guide = readFileSync(new URL(`../../docs/guides/${name}`, import.meta.url), 'utf8')
  const blocks = [...guide.matchAll(/^```sh\n(.*?)^```/gms)].map(([, lines]) => lines)
  const server = await ServerProcess.start({
    MELANGE_DATA_DIR: temporaryFolder(),
    MELANGE_ADMIN_TOKEN: adminToken,
    MELANGE_CONFIG: settingsFile(settings),
  })
  const script = blocks.join('').replace('http://127.0.0.1:9898', server.url)
  expect(script).toContain(server.url)
  const { stdout } = await promisify(execFile)('bash', ['-eu', '-c', script], {
    env: { ...process.env, MELANGE_TOKEN: adminToken },
  })
  return stdout.split('\n').filter(Boolean)
}

test('safe-retries.md does what it says', async () => {
  const answers = await runGuide('safe-retries.md')
  const notModified = answers.pop()
  const [again, halls, reused, north, south, ...more] = answers.map(answer => JSON.parse(answer))
  expect(again).toMatchObject({ cidr: '10.7.0.0/16', name: 'campus', generation: 1 })
  expect(halls.blocks).toMatchObject([{ cidr: '10.7.0.0/24' }, { cidr: '10.7.1.0/24' }])
  expect(reused).toMatchObject({ status: 422, code: 'idempotency_key_reused' })
  expect(north).toMatchObject({ id: again.id, name: 'campus north', generation: 2 })
  expect(south).toMatchObject({ status: 412, code: 'precondition_failed' })
  expect(notModified).toBe('304')
  expect(more).toEqual([])
})

test('dhcp-api.md does what it says', async () => {
  const answers = (await runGuide('dhcp-api.md')).map(answer => {
    try {
      return JSON.parse(answer)
    } catch {
      return answer
    }
  })
  const [network, { hosts }, renewed, { hosts: clients }, told, servers, ...more] = answers
  expect(network).toMatchObject({
    project_id: 'demo',
    mtu: 1450,
    subnets: [
      {
        cidr: '10.60.0.0/24',
        unknown_clients: { project_id: 'guests', lease_seconds: 600, purpose: null },
        boot_files: [{ architectures: [7, 9], server: '10.60.0.2', file: 'ipxe.efi' }],
      },
    ],
  })
  expect(hosts).toMatchObject([
    { type: 'interface', client_id: '01525400123456', addresses: [{ address: '10.60.0.7' }] },
  ])
  const { id: allocation_id, expires_at } = renewed
  expect(clients).toMatchObject([
    {
      id: '52:54:00:ab:cd:ef',
      type: 'client',
      host_name: 'laptop',
      addresses: [{ allocation_id, address: '10.60.0.99', expires_at }],
    },
  ])
  expect(told).toContain('"type":"block.updated"')
  expect(told).toContain('"network_id": ours')
  expect([servers, more]).toEqual([1, []])
})

test('quotas.md does what it says', async () => {
  const answers = (await runGuide('quotas.md')).map(answer => JSON.parse(answer))
  const [own, common, scoped, refused, shown, released, given, ...more] = answers
  const [list, { events }, rest] = more
  expect(own).toMatchObject({ project_id: 'demo', allocations: 3, ipv6_64s: '512', blocks: null })
  expect(common).toMatchObject({ project_id: null, allocations: 100, blocks: 10 })
  expect(scoped).toMatchObject({ project_id: 'demo', blocks: 5, allocations: null })
  const detail = 'Project demo has 2 of 3 allocations, and asked for 2 more.'
  expect(refused).toMatchObject({ status: 409, code: 'quota_exceeded', detail })
  const guide = readFileSync(new URL('../../docs/guides/quotas.md', import.meta.url), 'utf8')
  const [, example = ''] = /^```json\n(.*?)^```/ms.exec(guide) ?? []
  expect(shown).toEqual(JSON.parse(example))
  expect(guide.replaceAll('\n', ' ')).toContain(`"${detail}"`)
  expect(released).toMatchObject({ generation: 2, project_id: 'demo' })
  expect(given.allocations).toHaveLength(2)
  expect(list.quotas).toEqual([own, scoped])
  expect(events).toMatchObject([{ data: own }, { data: common }, { data: scoped }])
  expect(rest).toMatchObject({
    allocations: { limit: 100, limit_from: 'default', used: 3 },
    own_generation: null,
  })
  expect(more).toHaveLength(3)
})

test('grants.md does what it says', async () => {
  const answers = (await runGuide('grants.md')).map(answer => answer && JSON.parse(answer))
  const [unseen, got, seen, taken, full, usage, changed, kept, over, pool, floating, ...more] =
    answers
  expect(unseen).toMatchObject({ status: 404, code: 'block_not_found' })
  expect(got.grants).toMatchObject([
    { owner_project_id: 'net', project_id: 'shop', allocations_max: 2 },
  ])
  expect(seen).toMatchObject({ project_id: 'net', cidr: '10.20.0.0/24' })
  expect(taken.allocations).toHaveLength(2)
  expect(full).toMatchObject({ status: 409, code: 'quota_exceeded' })
  expect(full.detail).toMatch(/^Project shop has 2 of the 2 /)
  expect(usage.usage).toEqual([{ project_id: 'shop', held: '2' }])
  expect(changed).toMatchObject({ allocations_max: 10, generation: 2 })
  expect(kept.allocations).toEqual(taken.allocations)
  expect(over).toMatchObject({ status: 404, code: 'block_not_found' })
  expect(pool).toMatchObject({ owner_project_id: 'net', project_id: null })
  expect(floating).toMatchObject({ project_id: 'shop', address: '198.51.100.1' })
  const [carved, named, below, refused, ...rest] = more
  expect(carved.blocks).toMatchObject([{ project_id: 'lab' }, { project_id: 'lab' }])
  expect(named).toMatchObject({ name: 'lab', project_id: 'lab' })
  const projects = below.blocks.map((block: { project_id: string }) => block.project_id)
  expect(projects.toSorted()).toEqual(['lab', 'net'])
  expect(refused).toMatchObject({ status: 403, code: 'forbidden' })
  expect(rest).toEqual([])
})

test('audit-trail.md does what it says', async () => {
  const answers = (await runGuide('audit-trail.md')).map(answer => JSON.parse(answer))
  const [changed, history, refused, status, failures, created, own, before, ...more] = answers
  const guide = readFileSync(new URL('../../docs/guides/audit-trail.md', import.meta.url), 'utf8')
  const example = JSON.parse(/^```json\n(.*?)^```/ms.exec(guide)?.[1] ?? '')
  const [update, creation, ...others] = history.records
  expect([creation.action, others]).toEqual(['create', []])
  expect(update).toEqual({
    ...example,
    id: expect.any(String),
    eventTime: expect.any(String),
    initiator: { ...example.initiator, id: expect.any(String) },
    target: { ...example.target, id: changed.id },
    request_id: expect.stringMatching(/^req-/),
  })
  expect(refused).toMatchObject({ status: 403, code: 'forbidden' })
  expect(status).toBe(401)
  expect(failures.records).toMatchObject([
    { reason: { reasonCode: '401', policyId: null }, initiator: { id: 'unknown' } },
    { reason: { reasonCode: '403', policyId: 'networks:delete' }, initiator: { name: 'ron' } },
  ])
  expect(created.records).toMatchObject([creation, {}, {}])
  expect(own.records).toEqual(history.records)
  expect(before.records).toEqual([])
  expect(more).toEqual([])
})

test('holds.md does what it says', async () => {
  const answers = (await runGuide('holds.md')).map(answer => JSON.parse(answer))
  const [renewed, firm, leases, waiting, restored, released, refused, none, ...more] = answers
  const [since, orphan, last, ...rest] = more
  const common = { project_id: 'demo', owner_type: 'node', owner_id: 'node-1' }
  const held = { ...common, expires_at: expect.any(String), ended_at: null }
  expect(renewed).toMatchObject({ ...held, address: '10.9.0.1', generation: 2 })
  expect(firm).toEqual({ ...renewed, generation: 3, expires_at: null })
  expect(leases.allocations).toMatchObject([
    { ...held, address: '10.9.0.2', generation: 2 },
    { ...held, address: '10.9.0.3', generation: 2 },
  ])
  expect(leases.lapsed).toMatchObject([{ ...common, address: '10.9.0.4', name: 'short' }])
  const { id: allocation_id, address } = leases.lapsed[0]
  expect(waiting.quarantine).toMatchObject([{ allocation_id, address }])
  expect(restored).toMatchObject({ ...held, address, name: 'short', generation: 1 })
  expect(released).toMatchObject({ id: restored.id, quarantined_until: expect.any(String) })
  expect(refused).toMatchObject({ status: 409, code: 'address_quarantined' })
  expect(none.quarantine).toEqual([])
  expect(since.allocations).toMatchObject([{ name: 'new', generation: 1, ended_at: null }])
  expect(orphan).toMatchObject({ id: firm.id, generation: 4, ended_at: expect.any(String) })
  expect(last).toMatchObject({ allocations: [], more: false })
  expect(rest).toEqual([])
})

test('leases.md does what it says', async () => {
  const answers = (await runGuide('leases.md')).map(answer => JSON.parse(answer))
  const [kept, again, partly, current, then, found, explained, declined, ...more] = answers
  expect([kept, again, declined]).toEqual([
    { accepted: 2, refused: [] },
    { accepted: 1, refused: [] },
    { accepted: 1, refused: [] },
  ])
  const allocation_id = '00000000-0000-7000-8000-000000000000'
  expect(partly).toMatchObject({
    accepted: 1,
    refused: [{ allocation_id, reason: 'allocation_unknown' }],
  })
  const [lease] = current.leases
  expect(lease).toMatchObject({
    server: 'rack-7',
    project_id: 'demo',
    address: '10.61.0.1',
    relay: { address: '10.61.0.254', circuit_id: '706f727431' },
    state: 'bound',
  })
  const minutes = (Date.parse(lease.told_at) - Date.parse(lease.started_at)) / 60_000
  expect(Math.round(minutes)).toBe(5)
  for (const { leases } of [current, then, found]) expect(leases).toEqual([lease])
  expect(explained).toMatchObject({ state: 'allocated', lease })
  const [withheld, told, over, ...rest] = more
  const own = { allocation_id: lease.allocation_id, address: '10.61.0.1', server: 'rack-7' }
  expect(withheld.withheld_addresses).toMatchObject([own])
  const { withheld_until } = withheld.withheld_addresses[0]
  const data = { ...own, owner_type: 'interface', withheld_until }
  expect(told.events).toMatchObject([{ object_id: own.allocation_id, data }])
  expect(over.events).toMatchObject([{ object_id: own.allocation_id, data }])
  expect(rest).toEqual([])
})

test('utilisation.md does what it says', async () => {
  const answers = await runGuide('utilisation.md', { utilisation: { sample_seconds: 1 } })
  const [ofBlock, ofNetwork, newest, series, forecast, forecasts, ...more] = answers.map(answer =>
    JSON.parse(answer),
  )
  const data = { threshold: 80, used_percent: 85.71, total: '16', allocated: '12', free: '2' }
  expect(ofBlock.events).toMatchObject([{ data: { ...data, cidr: '10.9.0.0/28' } }])
  expect(ofNetwork.events).toMatchObject([{ data: { ...data, name: 'web' } }])
  expect(newest.samples).toMatchObject([{ allocated: '12', until: null, used_percent: 85.71 }])
  expect(series.samples.at(-1)).toMatchObject({ version: 4, allocated: '12', until: null })
  expect(forecast).toMatchObject({ days_to_full: null, used_percent: 85.71 })
  expect(forecasts.forecasts).toMatchObject([{ version: 4, days_to_full: null }])
  expect(more).toEqual([])
})

test('policies.md does what it says', async () => {
  const answers = (await runGuide('policies.md')).map(answer => JSON.parse(answer))
  const [given, rules, refused, attached, purposeful, changed, listed, ...more] = answers
  expect(given.allocations).toMatchObject([{ address: '10.20.1.4' }])
  const source = { policy_name: 'campus', attached_to: { type: 'block', name: '10.20.0.0/16' } }
  expect(rules).toMatchObject({
    exclusions: { source },
    quarantine_seconds: { value: 3600, source },
  })
  expect(refused).toMatchObject({ status: 409, code: 'address_excluded' })
  expect(refused.detail).toContain('campus')
  expect(attached).toMatchObject({ cidr: '10.20.1.0/28', generation: 2 })
  expect(purposeful.allocations).toMatchObject([{ address: '10.20.1.12' }])
  expect(changed).toMatchObject({ name: 'campus', generation: 2 })
  expect(listed.allocations).toMatchObject([{ address: '10.20.1.4' }])
  expect(more).toEqual([])
})

test('networks.md does what it says', async () => {
  const answers = (await runGuide('networks.md')).map(answer => JSON.parse(answer))
  const [both, three, first, again, refused, part, utilisation, ...more] = answers
  const addressesOf = (answer: { allocations: { address: string }[] }) =>
    answer.allocations.map(({ address }) => address)
  const v6 = (...hosts: number[]) => hosts.map(host => `2001:db8:30::${host}`)
  expect(addressesOf(both)).toEqual(['10.30.0.1', ...v6(1)])
  expect(addressesOf(three)).toEqual(['10.30.1.1', '10.30.1.2', '10.30.1.3', ...v6(2, 3, 4)])
  expect(addressesOf(first)).toEqual(['10.30.0.2', ...v6(5)])
  expect(again).toEqual(first)
  expect(refused).toMatchObject({ status: 409, code: 'network_full' })
  expect(addressesOf(part)).toHaveLength(12)
  expect(addressesOf(part).every(address => address.includes(':'))).toBe(true)
  expect(utilisation).toMatchObject({ ipv4: { allocated: '5' }, ipv6: { allocated: '17' } })
  expect(more).toEqual([])
})

test('floating-ips.md does what it says', async () => {
  const answers = (await runGuide('floating-ips.md')).map(answer => JSON.parse(answer))
  const [made, moved, off, past, none, told, one, other, both, left, ended, ...more] = answers
  const own = { id: made.id, address: '192.0.2.10', project_id: 'demo' }
  expect(made).toMatchObject({ ...own, private_address: '10.80.0.1', generation: 1 })
  expect(moved).toMatchObject({ ...own, private_address: '10.80.0.2', generation: 2 })
  expect(off).toMatchObject({ ...own, private_allocation_id: null, generation: 3 })
  expect(past.associations).toMatchObject([
    { private_address: '10.80.0.1', ended_at: moved.associated_at },
    { private_address: '10.80.0.2', started_at: moved.associated_at },
  ])
  expect(none.floating_ips).toEqual([])
  expect(told.events).toMatchObject([{ object_id: made.id, data: moved }])
  expect(both.nat_mappings).toEqual([one, other])
  expect(left.nat_mappings).toEqual([other])
  expect(ended.nat_mappings).toEqual([{ ...one, ended_at: expect.any(String) }])
  expect(more).toEqual([])
})

test('dhcp-options.md does what it says', async () => {
  const answers = (await runGuide('dhcp-options.md')).map(answer => JSON.parse(answer))
  const [route, mtu, ntp, unknown, refused, listed, configuration, ...more] = answers
  const gateway = '10.40.0.254'
  expect(route).toMatchObject({ destination: '192.0.2.0/24', gateway, generation: 1 })
  expect(mtu).toMatchObject({ name: 'mtu', code: 26, value: 1450, wire: ['05aa'] })
  expect(ntp).toMatchObject({ name: 'ntp-servers', code: 42, value: ['10.40.0.3'] })
  expect(unknown).toMatchObject({ name: null, code: 224, type: 'hex', value: 'cafe' })
  expect(refused).toMatchObject({ status: 400, code: 'invalid_request', field: 'value/1' })
  expect(listed.dhcp_options).toEqual([mtu])
  const routes = [
    { destination: '0.0.0.0/0', gateway: '10.40.0.1' },
    { destination: '192.0.2.0/24', gateway },
  ]
  const source = { type: 'block', id: route.block_id }
  expect(configuration.options).toMatchObject([
    { name: 'subnet-mask', value: '255.255.255.0', source, derived_from: 'cidr' },
    { name: 'router', value: ['10.40.0.1'], source, derived_from: 'gateway_ip' },
    { name: 'dns-servers', value: ['10.40.0.2'], source, derived_from: 'dns_nameservers' },
    { name: 'mtu', value: 1450, source: { type: 'network' }, derived_from: null },
    { name: 'ntp-servers', value: ['10.40.0.3'], source, derived_from: null },
    { name: 'classless-routes', value: routes, source, derived_from: 'routes' },
    { name: null, code: 224, value: 'cafe', source: { type: 'address_scope' } },
  ])
  expect(more).toEqual([])
})

test('tokens.md does what it says', async () => {
  const guide = readFileSync(new URL('../../docs/guides/tokens.md', import.meta.url), 'utf8')
  const [, settings = ''] = /^```yaml\n(.*?)^```/ms.exec(guide) ?? []
  const answers = (await runGuide('tokens.md', parse(settings))).map(answer => JSON.parse(answer))
  const [networks, listed, excess, revoked, refused, ended, told, again, other, one, ...more] =
    answers
  expect(networks.networks).toEqual([])
  expect(listed.tokens).toMatchObject([
    { name: 'ci', prefix: expect.stringMatching(/^melange_.{6}$/), revoked_at: null },
  ])
  expect(listed.tokens[0]).not.toHaveProperty('secret')
  expect(excess).toMatchObject({ status: 403, code: 'token_exceeds_caller' })
  expect(revoked).toMatchObject({ id: listed.tokens[0].id, revoked_at: expect.any(String) })
  expect(refused).toMatchObject({ status: 401, code: 'authentication_required' })
  expect(ended.tokens).toMatchObject([{ id: revoked.id }])
  expect(told.events).toMatchObject([{ object_id: revoked.id, project_id: 'demo' }])
  expect(again).toMatchObject({ name: 'backup', secret: null })
  expect(other).toMatchObject({ id: again.id, revoked_at: expect.any(String) })
  expect([one, ...more]).toEqual([1])
})

test('interfaces.md does what it says', async () => {
  const answers = (await runGuide('interfaces.md')).map(answer => JSON.parse(answer))
  const [range, ended, found, nic, more, device, history, primary, refused, secondary, ...rest] =
    answers
  expect(range).toMatchObject({ prefix: '52:54:00:00:00:00/24', reuse_after_seconds: 3600 })
  expect(ended).toMatchObject({ address: '52:54:00:00:01:00', reusable_at: expect.any(String) })
  expect(found.macs).toEqual([ended])
  const addressesOf = ({ addresses }: { addresses: { address: string }[] }) =>
    addresses.map(({ address }) => address)
  expect(nic).toMatchObject({ mac_address: '52:54:00:00:01:01', name: 'eth0', generation: 1 })
  expect(addressesOf(nic)).toEqual(['10.40.0.80', '10.40.0.1', '2001:db8:40::1'])
  expect(addressesOf(more)).toEqual([...addressesOf(nic), '2001:db8:40::2'])
  const { id, mac_address } = nic
  const changed = [{ id, mac_address, generation: 3 }, { mac_address: '02:00:00:00:00:01' }]
  expect(device.interfaces).toMatchObject(changed)
  expect(device.interfaces.map(addressesOf)).toEqual([
    ['10.40.0.80', '2001:db8:40::1'],
    [expect.stringMatching(/^10\.40\.0\./)],
  ])
  expect(history.periods).toMatchObject([{ device_id: 'vm-1', interface_id: id }, {}])
  expect(primary).toMatchObject({ interface_id: id, role: 'primary' })
  expect(refused).toMatchObject({ status: 409, code: 'primary_taken' })
  expect(secondary).toMatchObject({ role: 'secondary' })
  expect(rest[0].allowed_addresses).toEqual([primary, secondary])
  expect(rest).toHaveLength(1)
})

test('host-configuration.md does what it says', async () => {
  const answers = await runGuide('host-configuration.md')
  const notModified = answers.splice(3, 1)
  const [option, nic, device, openstack, cloudInit, ...more] = answers.map(one => JSON.parse(one))
  const attached_to = { type: 'interface', id: nic.interface_id }
  expect(option).toMatchObject({ attached_to, name: 'domain-search', value: ['web.example'] })
  expect(nic).toMatchObject({
    mac_address: '52:54:00:12:34:56',
    mtu: { value: 1450, source: { type: 'network' }, derived_from: 'mtu' },
    subnets: [
      {
        addresses: [{ address: '10.50.0.7' }],
        gateway: { value: '10.50.0.1', derived_from: 'gateway_ip' },
        search_domains: { value: ['web.example'], source: { type: 'interface' } },
      },
      { addresses: [{ address: '2001:db8:50::7' }], gateway: { value: 'fe80::1' } },
    ],
  })
  expect(device).toEqual({ device_id: 'vm-1', interfaces: [nic] })
  expect(notModified).toEqual(['304'])
  expect(openstack).toMatchObject({
    links: [{ type: 'phy', vif_id: nic.interface_id, mtu: 1450 }],
    networks: [
      { ip_address: '10.50.0.7', dns_nameservers: ['10.50.0.2'], dns_search: ['web.example'] },
      { ip_address: '2001:db8:50::7', routes: [{ network: '::', gateway: 'fe80::1' }] },
    ],
    services: [{ type: 'dns', address: '10.50.0.2' }],
  })
  expect(cloudInit.ethernets.eth0).toMatchObject({
    'set-name': 'eth0',
    addresses: ['10.50.0.7/24', '2001:db8:50::7/64'],
  })
  expect(more).toEqual([])
})
