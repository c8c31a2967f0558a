import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { ClientNames } from '../../dhcp/client-names.ts'
import type { DriverContext } from '../driver.ts'
import { type FollowedFile, followFile, type Position } from './follow-file.ts'
import { createLeaseBook, type Held, isOf } from './lease-book.ts'
import { createLeaseReader, type LeaseRow } from './lease-file.ts'
import { onlyRelay } from './places.ts'
import type { Freed, Holder, Reservations } from './reservations.ts'
import type { KeaServer } from './server.ts'

/** The leases of one Kea: what it gives is told on, and what it must not keep is taken from it. */
export type LeaseWatch = {
  /** Looks whether the lease of an address is of who has the address now, and ends it if not. */
  review(subnet_id: number, address: string): Promise<void>
  reviewAll(): Promise<void>
  /** Ends the lease of an address, if it goes by none of these names. */
  yieldTo(names: ClientNames, place: Freed): Promise<void>
  problems(): readonly string[]
  stop(): Promise<void>
}

export type LeaseWatchOptions = {
  readonly context: Pick<DriverContext, 'config' | 'served' | 'leases' | 'automatic' | 'log'>
  readonly server: KeaServer
  readonly reservations: Reservations
  /** Whether a number is of a subnet of Melange: Kea may have others. */
  readonly isOurs: (subnet_id: number) => boolean
  /** Where it is kept how far leases were told on. */
  readonly positionFile: string
  /** A hold was renewed, or turned out to be none. */
  readonly onHost: (network_id: string, host_id: string) => void
}

const renewalMilliseconds = 5000
const keepMilliseconds = 1000

export async function watchLeases(options: LeaseWatchOptions): Promise<LeaseWatch> {
  const { context, server, reservations, isOurs, positionFile, onHost } = options
  const { config, served, leases, automatic, log } = context
  const { version, control } = server
  const book = createLeaseBook()
  const known = readPosition(positionFile)
  /** Holds that end before the lease of their client. */
  const toRenew = new Map<string, { readonly subnet_id: number; readonly address: string }>()
  let fault: string | null = null
  let isStopped = false

  const hostOf = (holder: Holder | null) =>
    holder ? served.get(holder.network_id)?.hosts.get(holder.host_id) : undefined
  const nameOf = ({ address, prefix_length }: Pick<LeaseRow, 'address' | 'prefix_length'>) =>
    prefix_length === null ? address : `${address}/${prefix_length}`

  async function record(row: LeaseRow, who: Pick<LeaseRow, keyof Names>, state: State, at: number) {
    const holder = reservations.holderOf(row.subnet_id, row.address)
    const host = hostOf(holder)
    if (!holder || !host || !isOf(who, host)) return
    const address = row.relay?.address ?? onlyRelay(config, holder.network_id, version)
    await leases.record({
      allocation_id: holder.allocation_id,
      network_id: holder.network_id,
      address: nameOf(row),
      mac_address: who.mac_address,
      client_id: who.client_id,
      duid: who.duid,
      iaid: who.iaid,
      host_name: row.host_name,
      relay: row.relay && address !== null ? { ...row.relay, address } : null,
      state,
      at,
      ends_at: state === 'bound' ? row.ends_at : at,
    })
  }

  /** Takes over a row, and tells of it if it is new. */
  async function take(row: LeaseRow, isNew: boolean): Promise<void> {
    if (!isOurs(row.subnet_id)) return
    // Kea writes seconds: an event is told as late in its second as it can have been.
    const now = Date.now()
    const turn = book.take(row, now)
    if (!isNew || turn.type === 'nothing') return
    const at = turn.type === 'released' ? now : Math.min(row.at + 999, now)
    await record(row, turn.type === 'bound' ? row : turn.before, turn.type, at)
  }

  function wantRenewal(subnet_id: number, address: string): void {
    const holder = reservations.holderOf(subnet_id, address)
    if (hostOf(holder)?.type !== 'client') return
    const key = `${subnet_id} ${address}`
    toRenew.set(key, { subnet_id, address })
    void renew(key)
  }

  /** Lets a hold last as long as the lease of its client. */
  async function renew(key: string): Promise<void> {
    const place = toRenew.get(key)
    if (!place) return
    const { subnet_id, address } = place
    const held = book.find(subnet_id, address)
    const holder = reservations.holderOf(subnet_id, address)
    const found = hostOf(holder)?.addresses.find(
      ({ allocation_id }) => allocation_id === holder?.allocation_id,
    )
    const ends_at = held?.ends_at ?? null
    const isDone =
      !holder || !found?.expires_at || ends_at === null || Date.parse(found.expires_at) >= ends_at
    if (isDone || ends_at <= Date.now()) {
      toRenew.delete(key)
      return
    }
    const { network_id, host_id, allocation_id } = holder
    const lease_seconds = Math.ceil((ends_at - Date.now()) / 1000)
    try {
      const answer = await automatic.renew({ network_id, host_id, allocation_id, lease_seconds })
      if (answer === 'unavailable') return
      onHost(network_id, host_id)
    } catch (error) {
      log.error({ err: error, host_id }, 'a hold is not renewed')
    }
    toRenew.delete(key)
  }

  async function review(subnet_id: number, address: string): Promise<void> {
    const held = book.find(subnet_id, address)
    if (!held) return
    const holder = reservations.holderOf(subnet_id, address)
    const host = hostOf(holder)
    const isRight = holder !== null && host !== undefined && isOf(held, host)
    if (held.is_declined ? isOver(host, holder, held) : !isRight)
      await end(subnet_id, address, held)
  }

  /** Whether the API has had its say on an address that a machine found in use. */
  function isOver(host: ReturnType<typeof hostOf>, holder: Holder | null, held: Held): boolean {
    if (!host || !holder) return false
    const own = host.addresses.find(({ allocation_id }) => allocation_id === holder.allocation_id)
    return own?.withheld_until != null || !isOf(held, host)
  }

  async function end(subnet_id: number, address: string, held: Held): Promise<void> {
    book.end(subnet_id, address)
    const prefix = held.prefix_length === null ? {} : { type: 'IA_PD' }
    try {
      await control.command(`lease${version}-del`, { 'ip-address': address, ...prefix })
      fault = null
    } catch (error) {
      if (isStopped) return
      fault = `${server.name} keeps the lease of ${address}: ${(error as Error).message}`
      log.warn({ err: error, server: server.name, address }, 'a lease is not ended')
    }
  }

  const read = createLeaseReader(version)
  const parse = (lines: readonly string[]) => lines.map(read).filter(row => row !== null)
  const path = server.leaseFile()
  // What Kea has put aside to shorten it; the newest last.
  for (const part of [`${path}.completed`, `${path}.2`, `${path}.1`]) {
    if (!existsSync(part)) continue
    const rows = parse(readFileSync(part, 'utf8').split('\n'))
    const since = known?.until ?? Number.POSITIVE_INFINITY
    await Promise.all(rows.map(row => take(row, row.at >= since)))
  }

  let until = known?.until ?? 0
  let kept = ''
  let isCaughtUp = false

  async function takeLines(lines: readonly string[], begin: Position): Promise<void> {
    const isSame = known?.position?.file === begin.file
    const isTold = (place: number, row: LeaseRow) =>
      isSame ? place <= (known?.position?.offset ?? 0) : row.at < (known?.until ?? 0)
    let place = begin.offset
    const taken: LeaseRow[] = []
    const told: Promise<void>[] = []
    for (const line of lines) {
      place += Buffer.byteLength(line) + 1
      const row = read(line)
      if (!row) continue
      taken.push(row)
      told.push(take(row, isCaughtUp || !isTold(place, row)))
      until = Math.max(until, row.at)
    }
    await Promise.all(told)
    // What stands in earlier rows may be over: only what is there at the end counts.
    for (const { subnet_id, address } of isCaughtUp ? taken : []) {
      await review(subnet_id, address)
      wantRenewal(subnet_id, address)
    }
  }

  const file: FollowedFile = await followFile({
    path,
    take: takeLines,
    onError: error => {
      fault = `${path}: ${error.message}`
    },
  })
  isCaughtUp = true

  function keep(): void {
    const text = JSON.stringify({ position: file.position(), until })
    if (text === kept) return
    kept = text
    writeFileSync(`${positionFile}.new`, text, { mode: 0o600 })
    renameSync(`${positionFile}.new`, positionFile)
  }
  const timers = [
    setInterval(keep, keepMilliseconds),
    setInterval(() => {
      for (const key of toRenew.keys()) void renew(key)
    }, renewalMilliseconds),
  ]

  return {
    review,
    async yieldTo(names, { subnet_id, address }) {
      const held = book.find(subnet_id, address)
      if (held && !held.is_declined && !isOf(held, names)) await end(subnet_id, address, held)
    },
    async reviewAll() {
      for (const [key, { subnet_id }] of [...book.entries()]) {
        if (isStopped) return
        const address = key.slice(key.indexOf(' ') + 1)
        await review(subnet_id, address)
        wantRenewal(subnet_id, address)
      }
    },
    problems: () => (fault === null ? [] : [fault]),
    async stop() {
      isStopped = true
      for (const timer of timers) clearInterval(timer)
      await file.close()
      keep()
    },
  }
}

type Names = Pick<LeaseRow, 'mac_address' | 'client_id' | 'duid' | 'iaid'>
type State = 'bound' | 'declined' | 'released'
type Known = { readonly position: Position | null; readonly until: number }

function readPosition(path: string): Known | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Known) : null
}
