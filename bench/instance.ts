import { type ContestSettings, type Entrant, runContests } from './contests.ts'
import type { Step } from './load.ts'
import type { BenchServer } from './setup.ts'

/** An instance with two NICs, of which each has a MAC, an IPv4 and an IPv6 address. */
export function benchInstance(settings: ContestSettings) {
  return runContests('instance', settings, async ({ server }) => {
    const networks = await makeNetworks(server)
    const one = () => oneCall(networks)
    return [
      { name: 'one call for all', ours: one, theirs: () => singleCalls(networks) },
      { name: 'one call for both NICs', ours: one, theirs: () => callForEachNic(networks) },
    ]
  })
}

type Networks = readonly [string, string]

const project_id = 'measured'

/** Two networks with a subnet of each IP version, and a range of MACs. */
async function makeNetworks(server: BenchServer): Promise<Networks> {
  const { id: scope_id } = await create(server, 'address-scopes', { project_id, name: 'instances' })
  await create(server, 'mac-ranges', { prefix: '52:54:00:00:00:00/24' })
  const make = async (...cidrs: string[]) => {
    const { id: network_id } = await create(server, 'networks', { project_id })
    for (const cidr of cidrs) await create(server, 'blocks', { scope_id, network_id, cidr })
    return network_id
  }
  return [
    await make('10.0.0.0/9', '2001:db8:1::/64'),
    await make('10.128.0.0/9', '2001:db8:2::/64'),
  ]
}

async function create({ url, token }: BenchServer, what: string, body: object) {
  const answer = await fetch(`${url}/v2/${what}`, {
    method: 'POST',
    headers: { 'x-auth-token': token, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (answer.status !== 201) throw new Error(await answer.text())
  return (await answer.json()) as { id: string }
}

type Nic = { readonly id: string; readonly network_id: string }

let measured = 0
/** The NICs of an instance: others for each request, and in each measurement. */
function nicsOf(networks: Networks): readonly [Nic, Nic] {
  const run = String(++measured).padStart(4, '0')
  const nic = (network_id: string, n: number) => {
    return { id: `${run}0000-0000-4000-8000-000${n}########`, network_id }
  }
  return [nic(networks[0], 1), nic(networks[1], 2)]
}

const step = (path: string, body: object, status = 201): Step => {
  return { method: 'POST', path, body: JSON.stringify(body), status }
}

const entrant = (name: string, [first, ...then]: readonly Step[]): Entrant => {
  if (!first) throw new Error('there is nothing to send')
  return { name, ...first, then }
}

function oneCall(networks: Networks): Entrant {
  const interfaces = nicsOf(networks).map(nic => ({ ...nic, families: [4, 6] }))
  const path = `/v2/devices/vm-${measured}-########/interfaces`
  return entrant('1 call', [{ ...step(path, { project_id, interfaces }, 200), method: 'PUT' }])
}

function callForEachNic(networks: Networks): Entrant {
  const steps = nicsOf(networks).map(nic => {
    const device_id = `vm-${measured}-########`
    return step('/v2/interfaces', { project_id, device_id, ...nic, families: [4, 6] })
  })
  return entrant('2 calls', steps)
}

/** The MACs, the interfaces and the addresses by themselves. */
function singleCalls(networks: Networks): Entrant {
  const steps = nicsOf(networks).flatMap(({ id, network_id }) => {
    const owner = { project_id, owner_type: 'interface', owner_id: id }
    const device_id = `vm-${measured}-########`
    const nic = { project_id, device_id, id, network_id, mac_address: null }
    return [
      step('/v2/macs', { network_id, ...owner }),
      step('/v2/interfaces', nic),
      ...[4, 6].map(family =>
        step('/v2/allocations', { network_id, families: [family], ...owner }),
      ),
    ]
  })
  return entrant('8 calls', steps)
}
