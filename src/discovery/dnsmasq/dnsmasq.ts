import { join, resolve } from 'node:path'
import { type CreateDriver, DiscoveryError } from '../driver.ts'
import { conflictIn, plansOf } from './plan.ts'
import { createUnit, type Unit } from './unit.ts'

/** dnsmasq reads a path with its script into a short buffer, and gives it to a shell. */
const plainPath = /^[A-Za-z0-9_./-]{1,180}$/

/** Runs a real dnsmasq for each network, which answers machines; it is fed while it runs. */
export const createDnsmasq: CreateDriver = context => {
  let units: Unit[] = []
  const folder = resolve(context.folder)

  return {
    async start() {
      if (!plainPath.test(folder)) {
        throw new DiscoveryError(
          `state_dir: dnsmasq takes only paths of letters, digits, "_", "." and "-", at most 180 characters: ${folder}`,
        )
      }
      const plans = plansOf(context.config)
      for (const plan of plans) {
        const conflict = conflictIn(plan, context.served)
        if (conflict !== null) throw new DiscoveryError(conflict)
      }
      units = plans.map(plan => createUnit({ plan, context, folder: join(folder, plan.name) }))
      const reasons = await Promise.all(units.map(unit => unit.start()))
      const [reason] = reasons
      if (typeof reason === 'string' && reasons.every(one => one !== null)) {
        await Promise.all(units.map(unit => unit.stop()))
        throw new DiscoveryError(`dnsmasq does not run: ${reason}`)
      }
    },
    async apply(changes) {
      await Promise.all(units.map(unit => unit.apply(changes)))
    },
    problems: () => units.flatMap(unit => unit.problems()),
    async stop() {
      await Promise.all(units.map(unit => unit.stop()))
    },
  }
}
