import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { adminToken, cleanUp, ServerProcess, temporaryFolder } from '../helpers/server-process.ts'

afterEach(cleanUp)

test('the tour of the README works as it stands', async () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const tour = /## A tour\n+```sh\n(.*?)```/s.exec(readme)?.[1] ?? ''
  const server = await ServerProcess.start({
    MELANGE_DATA_DIR: temporaryFolder(),
    MELANGE_ADMIN_TOKEN: adminToken,
  })
  const script = tour.replace('http://127.0.0.1:9898', server.url)
  expect(script).toContain(server.url)
  const { stdout } = await promisify(execFile)('bash', ['-eu', '-c', script], {
    env: { ...process.env, MELANGE_TOKEN: adminToken },
  })
  const answers = stdout.split('\n').filter(Boolean)
  expect(answers.filter(answer => answer.includes('/problems/'))).toEqual([])
  const [certain, row, prefix, utilisation, holder, _then, held, ...more] = answers.map(answer =>
    JSON.parse(answer),
  )
  const [_v4, _v6, both, _range, nics, told, network, explained, released, events] = more
  expect(certain.allocations).toMatchObject([{ address: '10.1.1.9' }])
  const hosts: number[] = row.allocations.map(({ address }: { address: string }) =>
    Number(address.replace('10.1.1.', '')),
  )
  expect(hosts[0] ?? Number.NaN).toSatisfy(first => Number(first) % 8 === 0)
  expect(hosts).toEqual(Array.from({ length: 8 }, (_, index) => (hosts[0] ?? 0) + index))
  expect(prefix.allocations).toMatchObject([
    { address: expect.stringMatching(/^10\.1\.1\.\d+\/28$/) },
  ])
  expect(utilisation).toMatchObject({ total: '65536', allocated: '26', in_children: '512' })
  expect(holder.allocations).toMatchObject([{ id: certain.allocations[0].id }])
  expect(held.allocations).toHaveLength(11)
  expect(both.allocations).toMatchObject([
    { address: '10.2.0.1', expires_at: expect.any(String) },
    { address: '2001:db8::1' },
  ])
  const [nic] = nics.interfaces
  expect(nic).toMatchObject({ name: 'eth0', mac_address: expect.stringMatching(/^52:54:00/) })
  expect(told.links).toMatchObject([{ ethernet_mac_address: nic.mac_address }])
  expect(told.networks).toMatchObject([{ ip_address: '10.2.0.2' }, { ip_address: '2001:db8::2' }])
  expect(network).toMatchObject({ name: 'web', policy_id: expect.any(String) })
  expect(explained).toMatchObject({ state: 'excluded', detail: expect.stringContaining('network') })
  expect(released).toMatchObject({ address: '10.1.1.1', generation: 2 })
  expect(events.events).toHaveLength(3 + 11 + 1 + 2 + 2 + 5 + 2 + 1)
})
