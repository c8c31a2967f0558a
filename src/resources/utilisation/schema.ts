import { type Static, Type } from 'typebox'
import { Count, closed, Nullable, oneOf, Time } from '../../schema.ts'
import { forecastReasons, windowDays } from './forecast.ts'

const Version = Type.Union([Type.Literal(4), Type.Literal(6)])
const UsedPercent = Type.Number({
  minimum: 0,
  maximum: 100,
  description:
    'What is allocated, held or in quarantine as a share of what can be given out (`total` less ' +
    '`excluded`), cut to two digits.',
})

/** Counts at one time: of a block and all below it, or of a network's subnets of one version. */
export const UtilisationSample = closed(
  {
    version: Version,
    at: Time,
    until: Nullable(Time, { description: 'When the next sample was taken; null for the newest.' }),
    total: Count,
    allocated: Count,
    held: Count,
    quarantined: Count,
    excluded: Count,
    free: Count,
    used_percent: UsedPercent,
  },
  { $id: 'UtilisationSample' },
)
export type UtilisationSample = Static<typeof UtilisationSample>

export const Forecast = closed(
  {
    version: Version,
    days_to_full: Nullable(Type.Number({ minimum: 0 }), {
      description: `Days until nothing is free if use grows as in the last ${windowDays} days.`,
    }),
    reason: Nullable(oneOf(forecastReasons), {
      description:
        'Why there is no forecast: fewer than two samples; less than a day between the first and ' +
        'the newest; use does not grow; or there is nothing that could be given out.',
    }),
    growth_per_day: Nullable(Type.Number(), {
      description:
        'Addresses a day: the slope of the line with the least squares over the samples, each of ' +
        'which weighs as long as it was true.',
    }),
    used_percent: Nullable(UsedPercent, { description: 'Of the newest sample.' }),
    samples: Type.Integer({ minimum: 0, description: 'How many samples the forecast looked at.' }),
    since: Nullable(Time, { description: 'From when on they are true.' }),
  },
  { $id: 'Forecast' },
)
export type Forecast = Static<typeof Forecast>

const TimeQuery = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 40, description }))

export const historySorts = ['oldest_first', 'newest_first'] as const

export const HistoryQuery = {
  from: TimeQuery('RFC 3339. The first sample is the one that was true then.'),
  to: TimeQuery('RFC 3339. Samples from then on are left out.'),
  sort: oneOf(historySorts, { default: 'oldest_first' }),
}
