import { createHash } from 'node:crypto'
import type { Change, DriverContext } from '../driver.ts'
import { createBook } from './book.ts'
import { configurationText, filesIn, type LocalAddress } from './configuration.ts'
import { createEndLeases, inTheWay } from './end-leases.ts'
import { createEventFile } from './event-file.ts'
import { createFeed } from './feed.ts'
import { endLeftOver, makeFolders, replaceFile, writeScript } from './files.ts'
import type { Entry } from './hosts.ts'
import { createKnowledge, keyOf } from './knowledge.ts'
import { type LeaseEvent, leaseLine, scriptText } from './lease-events.ts'
import { createLeaseTable } from './lease-table.ts'
import { type LogLine, readLogLine } from './log-lines.ts'
import { createNames } from './names.ts'
import { conflictIn, placeOf, type UnitPlan } from './plan.ts'
import { canReadTagsAgain, commandOf } from './program.ts'
import { createSchedule } from './schedule.ts'
import { supervise } from './supervise.ts'
import { createUnknowns } from './unknowns.ts'

/** One dnsmasq, and what it is fed with. */
export type Unit = {
  /** Resolves when it answers, or with the reason why it does not. */
  start(): Promise<string | null>
  apply(changes: readonly Change[]): Promise<void>
  problems(): string[]
  stop(): Promise<void>
}

export type UnitOptions = {
  readonly plan: UnitPlan
  readonly context: DriverContext
  readonly folder: string
}

/** How long dnsmasq may take to read a file, and to read all. */
const patience = { one: 10_000, all: 120_000 }
const refusalsMax = 10
/** How late it is seen to what has not to be done at once. */
const tidyMilliseconds = 60_000
const retryMilliseconds = 2000

export function createUnit({ plan, context, folder }: UnitOptions): Unit {
  const { config, served, automatic } = context
  const { dnsmasq, lease_seconds } = config
  const networkIds = plan.networks.map(({ id }) => id)
  const log = context.log.child({ networks: networkIds })
  const files = filesIn(folder)
  const duid = `0004${createHash('sha256').update(`${config.name}\0${plan.name}`).digest('hex').slice(0, 32)}`
  const book = createBook({ canForget: networkIds.length === 1 })
  const table = createLeaseTable({
    leases: context.leases,
    ownerOf: book.ownerOf,
    onLease: (entry, lease) => void renewHold(entry, lease),
    onWrong: ({ address }) => void safely(() => end(table.wrong([address]))),
  })
  const knowledge = createKnowledge({
    served,
    networkIds,
    lease_seconds,
    book,
    declined: table.declined,
  })
  const feed = createFeed({
    folder,
    files,
    book,
    subnets: knowledge.subnets,
    names: dnsmasq.dns_port === 0 ? null : createNames(book.entries, dnsmasq.dns_domain ?? null),
  })
  const endLeases = createEndLeases({
    table,
    namespace: plan.namespace,
    server_duid: duid,
    addresses: () => addresses,
  })
  const schedule = createSchedule(keys => void refresh(keys))
  const events = createEventFile({
    path: files.events,
    take: table.take,
    onFault(fault) {
      eventFault = fault
    },
  })
  const unknowns = createUnknowns({
    automatic,
    networkIds,
    subnets: () => knowledge.subnets.values(),
    named: book.named,
    onHost: (network_id, host_id) => void refresh(new Set([keyOf(network_id, host_id)])),
    onDuid({ network_id, host }, said) {
      const key = keyOf(network_id, host.id)
      knowledge.learn(key, said)
      void refresh(new Set([key]))
    },
    onRefused: (entry, client) => void safely(() => end(inTheWay(table, entry, client))),
  })
  const supervised = supervise({
    command: commandOf(plan.namespace, dnsmasq.program, files.configuration),
    prepare: () => inTurn(prepare),
    onLine: hear,
    onEnd(reason) {
      log.error({ reason }, 'dnsmasq does not run')
      state = 'down'
      fault = reason
      settle(false)
    },
  })

  /** `due`: it is to be started, and takes everything over then; `starting`: it has what it is to read. */
  let state: 'idle' | 'due' | 'starting' | 'up' | 'down' = 'idle'
  let fault: string | null = null
  let eventFault: string | null = null
  /** Why something could not be done, which is tried again. */
  let trouble: string | null = null
  let retrying: NodeJS.Timeout | undefined
  let configured = ''
  let addresses: readonly LocalAddress[] = []
  let isReadingAll = false
  let isStopped = false
  const refusals = new Set<string>()
  /** Who waits for dnsmasq to read a file. */
  const readers = new Set<{ readonly path: string; done(hasRead: boolean): void }>()
  let tidying: NodeJS.Timeout | undefined
  let turn: Promise<unknown> = Promise.resolve()

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work)
    turn = done.catch(() => {})
    return done
  }

  /** Does something in its turn, and everything once more if that fails. */
  async function safely(work: () => Promise<void>) {
    try {
      await inTurn(work)
    } catch (error) {
      trouble = (error as Error).message
      log.error({ err: error }, 'dnsmasq could not be fed')
      if (!isStopped) retrying ??= setTimeout(() => void refreshAll(), retryMilliseconds)
    }
  }

  function settle(hasRead: boolean, path?: string) {
    for (const reader of [...readers]) {
      if (path === undefined || path === reader.path) reader.done(hasRead)
    }
  }

  /** Resolves when dnsmasq has read a file; to false if it ends before, or takes too long. */
  function reads(path: string, milliseconds: number): Promise<boolean> {
    return new Promise(resolve => {
      const timer = setTimeout(() => reader.done(false), milliseconds)
      const reader = {
        path,
        done(hasRead: boolean) {
          clearTimeout(timer)
          readers.delete(reader)
          resolve(hasRead)
        },
      }
      readers.add(reader)
    })
  }

  function hear(line: string) {
    log.trace({ line }, 'dnsmasq')
    const said = readLogLine(line)
    if (said) take(said)
  }

  function take(said: LogLine) {
    switch (said.type) {
      case 'read':
        if (said.path === files.options) {
          if (state === 'starting') {
            state = 'up'
            fault = null
          } else if (state === 'up' && !isReadingAll) {
            // Somebody else has made it read all again, and in no certain order.
            void safely(readAll)
          }
        }
        settle(true, said.path)
        break
      case 'declined': {
        const until = table.decline(said.address)
        const entry = book.ownerOf(said.address)
        log.warn({ address: said.address, until: new Date(until) }, 'an address was declined')
        if (entry) void refresh(new Set([keyOf(entry.network_id, entry.host.id)]))
        break
      }
      case 'error':
        log.error({ line: said.text }, 'dnsmasq does not take a line')
        if (refusals.size < refusalsMax) refusals.add(said.text)
        break
      default:
        unknowns.hear(said)
    }
  }

  /** Takes over everything from what is served; dnsmasq is to read it then. */
  function takeAll() {
    const entries = knowledge.all()
    book.take(entries)
    for (const [key, entry] of entries) schedule.note(key, entry?.until)
  }

  async function writeAll() {
    await feed.writeAll()
    refusals.clear()
  }

  async function prepare() {
    const conflict = conflictIn(plan, served)
    if (conflict !== null) throw new Error(conflict)
    await endLeftOver(files)
    await makeFolders(folder, files)
    await events.drain()
    const place = await placeOf(plan, knowledge.networks(), lease_seconds)
    addresses = place.addresses
    takeAll()
    await writeAll()
    await writeScript(files.script, scriptText)
    const leases = table.restart().map(leaseLine)
    const id = (duid.match(/../g) ?? []).join(':')
    await replaceFile(files.leases, [`duid ${id}`, ...leases], folder)
    configured = configurationText(place, files, config)
    await replaceFile(files.configuration, [configured], folder)
    state = 'starting'
  }

  async function readAll() {
    clearTimeout(tidying)
    tidying = undefined
    if (book.hasTags() && !(await canReadTagsAgain(dnsmasq.program))) {
      restart('it could not read its hosts again')
      return
    }
    isReadingAll = true
    await writeAll()
    await feed.forget()
    const done = reads(files.options, patience.all)
    supervised.signal('SIGHUP')
    const hasRead = await done
    isReadingAll = false
    if (!hasRead && state === 'up') restart('it does not read its files')
  }

  /** Lets dnsmasq forget what no longer counts. */
  async function tidy() {
    if (!isStopped && (await hasStarted())) await readAll()
  }

  function restart(reason: string) {
    log.info({ reason }, 'dnsmasq is started again')
    state = 'due'
    supervised.restart()
  }

  async function takeOver(entries: Map<string, Entry | null>) {
    const touched = new Set<string>()
    for (const [key, entry] of entries) {
      for (const address of book.entries.get(key)?.addresses.keys() ?? []) touched.add(address)
      for (const address of entry?.addresses.keys() ?? []) touched.add(address)
    }
    const todo = book.take(entries)
    for (const [key, entry] of entries) schedule.note(key, entry?.until)
    if (todo.type === 'reload') await readAll()
    if (todo.type === 'add') {
      const isRead = await feed.add(todo, path => reads(path, patience.one))
      if (!isRead && state === 'up') restart('it does not read new files')
      if (todo.isForNow) tidying ??= setTimeout(() => void safely(tidy), tidyMilliseconds)
    }
    if (todo.type !== 'reload') await feed.nameAll(entries.keys())
    await end(table.wrong(touched))
  }

  async function end(leases: readonly LeaseEvent[]) {
    if (state !== 'up' || leases.length === 0) return
    if (await endLeases(leases)) return
    if (state === 'up') restart('it has leases of addresses that are not theirs')
  }

  async function renewHold({ network_id, host }: Entry, lease: LeaseEvent) {
    const held = host.addresses.find(({ address }) => address === lease.address)
    const ends = lease.expires === null ? Number.POSITIVE_INFINITY : lease.expires * 1000
    if (!held?.expires_at || Date.parse(held.expires_at) >= ends) return
    const usual = knowledge.subnets.get(held.block_id)?.unknown_clients?.lease_seconds ?? 0
    const left = Number.isFinite(ends) ? Math.ceil((ends - Date.now()) / 1000) : usual
    if (left <= 0) return
    const { allocation_id } = held
    const wish = { network_id, host_id: host.id, allocation_id, lease_seconds: left }
    const renewed = await automatic.renew(wish)
    if (typeof renewed === 'object') await refresh(new Set([keyOf(network_id, host.id)]))
    else log.warn({ address: lease.address, renewed }, 'a hold was not renewed')
  }

  async function refresh(keys: ReadonlySet<string>) {
    await safely(async () => {
      // One that does not run takes over everything when it is started.
      if (!isStopped && (await hasStarted())) await takeOver(knowledge.entriesOf(keys))
    })
    await settled()
  }

  async function hasStarted(): Promise<boolean> {
    if (state === 'starting') await reads(files.options, patience.all)
    return state === 'up'
  }

  /** Resolves when it answers, or has failed to start. */
  async function settled() {
    if (!isStopped && (state === 'due' || state === 'starting')) {
      await reads(files.options, patience.all)
    }
  }

  /** After changes of networks, and of what failed. */
  async function refreshAll() {
    clearTimeout(retrying)
    retrying = undefined
    await safely(async () => {
      if (isStopped) return
      if (knowledge.networks().every(({ subnets }) => subnets.length === 0)) {
        await supervised.stop()
        state = 'idle'
        fault = null
      } else if (state === 'idle') {
        state = 'due'
        supervised.start()
      } else if (await hasStarted()) await takeOverAll()
      trouble = null
    })
    await settled()
  }

  async function takeOverAll() {
    const place = await placeOf(plan, knowledge.networks(), lease_seconds)
    if (configurationText(place, files, config) !== configured) {
      restart('its networks have changed')
      return
    }
    takeAll()
    await readAll()
    await end(table.wrong([...table.all()].map(({ address }) => address)))
  }

  return {
    async start() {
      await makeFolders(folder, files)
      // Whose leases they are has to be known.
      takeAll()
      await events.start()
      await refreshAll()
      return fault
    },
    async apply(changes) {
      const ours = changes.filter(change => networkIds.includes(networkOf(change)))
      if (ours.length === 0) return
      const keys = ours.flatMap(change => {
        if (change.type === 'host') return [keyOf(change.network_id, change.host.id)]
        return change.type === 'host_gone' ? [keyOf(change.network_id, change.host_id)] : []
      })
      if (keys.length < ours.length) await refreshAll()
      else await refresh(new Set(keys))
    },
    problems() {
      const where = `dnsmasq of ${networkIds.length === 1 ? 'network' : 'networks'} ${networkIds.join(', ')}`
      const counts = new Map<string, number>()
      for (const entry of book.entries.values()) {
        for (const one of entry.unsaid) counts.set(one, (counts.get(one) ?? 0) + 1)
      }
      return [
        ...(fault === null ? [] : [`${where} does not run: ${fault}`]),
        ...[eventFault, trouble].filter(one => one !== null).map(one => `${where}: ${one}`),
        ...[...knowledge.unserved(), ...feed.unsaid()].map(one => `${where}: ${one}`),
        ...[...counts].map(([one, count]) => `${where} cannot tell ${one}: ${count} hosts`),
        ...[...refusals].map(one => `${where} does not take a line: ${one}`),
      ]
    },
    async stop() {
      isStopped = true
      schedule.stop()
      clearTimeout(tidying)
      clearTimeout(retrying)
      await supervised.stop()
      settle(false)
      await turn
      await events.stop()
    },
  }
}

const networkOf = (change: Change) =>
  change.type === 'network' ? change.network.id : change.network_id
