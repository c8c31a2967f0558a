import type { ValidatorFactory } from '@fastify/ajv-compiler'
import fastifySwagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { describeProjects } from './access/documents.ts'
import { enforce } from './access/enforce.ts'
import { createCallers } from './audit-trail/callers.ts'
import { nameWriters } from './audit-trail/done-by.ts'
import { createRefusals } from './audit-trail/refusals.ts'
import { type Authenticate, createAuthenticator, remembersToken } from './auth/authenticate.ts'
import { createOwnTokens } from './auth/own-tokens.ts'
import type { OpenDatabase } from './db/database.ts'
import { tagAnswers } from './etags.ts'
import { describeHeaders } from './header-documents.ts'
import {
  answerInProblems,
  explainRefusals,
  readJson,
  sharedSerializers,
  strictValidators,
} from './http.ts'
import { readIdempotencyKeys } from './idempotency.ts'
import { newId } from './ids.ts'
import type { Environment } from './keystone/clouds-file.ts'
import { connectKeystone, type Keystone, type KeystoneSettings } from './keystone/keystone.ts'
import { melangeV1, paths } from './melange-v1/routes.ts'
import type { Settings as MelangeV1Settings } from './melange-v1/settings.ts'
import { versionList } from './melange-v1/version-routes.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import { metricsRoutes } from './metrics/routes.ts'
import { createOidc } from './oidc/authority.ts'
import type { OidcSettings } from './oidc-config.ts'
import type { Rules } from './policy/rules.ts'
import { createLimits } from './rates/limits.ts'
import { addressScopeRoutes } from './resources/address-scopes/routes.ts'
import {
  type Allocator,
  type AllocatorOptions,
  createAllocator,
} from './resources/allocations/allocator-store.ts'
import { changesRoutes } from './resources/allocations/changes-routes.ts'
import { holdRoutes } from './resources/allocations/hold-routes.ts'
import { createHolds } from './resources/allocations/hold-store.ts'
import { allocationRoutes } from './resources/allocations/routes.ts'
import { auditTrailRoutes } from './resources/audit-trail/routes.ts'
import { blockRouteRoutes } from './resources/block-routes/routes.ts'
import { blockRoutes } from './resources/blocks/routes.ts'
import { dhcpOptionRoutes } from './resources/dhcp-options/routes.ts'
import { eventRoutes } from './resources/events/routes.ts'
import { newestEvent } from './resources/events/store.ts'
import { watchEvents } from './resources/events/watch.ts'
import { floatingIpRoutes } from './resources/floating-ips/routes.ts'
import { grantRoutes } from './resources/grants/routes.ts'
import { hostConfigurationRoutes } from './resources/host-configuration/routes.ts'
import { allowedRoutes } from './resources/interfaces/allowed-routes.ts'
import { deviceRoutes } from './resources/interfaces/device-routes.ts'
import { interfaceRoutes } from './resources/interfaces/routes.ts'
import { leaseRoutes } from './resources/leases/routes.ts'
import { countWithheld } from './resources/leases/withheld-store.ts'
import { createMacAllocator } from './resources/macs/allocator-store.ts'
import { macRangeRoutes } from './resources/macs/range-routes.ts'
import { macRoutes } from './resources/macs/routes.ts'
import { natMappingRoutes } from './resources/nat-mappings/routes.ts'
import { networkRoutes } from './resources/networks/routes.ts'
import { policyRoutes } from './resources/policies/routes.ts'
import { quarantineRoutes } from './resources/quarantine/routes.ts'
import { quotaRoutes } from './resources/quotas/routes.ts'
import { servedNetworkRoutes } from './resources/served-networks/routes.ts'
import { tokenRoutes } from './resources/tokens/routes.ts'
import { utilisationRoutes } from './resources/utilisation/routes.ts'
import { answerClientError } from './server/client-errors.ts'
import { clientNetworkOf, guardRequests } from './server/guards.ts'
import { listenerOptions } from './server/listener.ts'
import type { Tls } from './server/tls.ts'
import type { ApiSettings, ProxySettings, RateSettings } from './server-config.ts'
import { sharedSchemas } from './shared-schemas.ts'
import { statusRoutes } from './status-routes.ts'

export type AppOptions = {
  readonly db: OpenDatabase
  readonly version: string
  readonly admin_token: string | undefined
  readonly allocator: AllocatorOptions
  readonly tokens: { readonly cache_seconds: number; readonly cache_max: number }
  readonly leases: { readonly declined_seconds: number }
  readonly audit_trail: { readonly waiting_max: number; readonly wait_seconds: number }
  readonly oidc: OidcSettings
  readonly keystone: KeystoneSettings
  /** What OpenStack's clients read of the environment. */
  readonly openstack: Environment
  /** The rules of who may do what, as they are now. */
  readonly rules: () => Rules
  readonly api: Omit<ApiSettings, 'shutdown_seconds'>
  readonly proxies: ProxySettings
  readonly rates: RateSettings
  readonly melange_v1: MelangeV1Settings
  readonly logger?: FastifyBaseLogger
  /** Without it the app speaks HTTP. */
  readonly certificates?: Tls
  /** Takes the place of the built-in allocator: the benchmark compares others with it. */
  readonly customAllocator?: Allocator
  /** Is put around what asks the authorities: the benchmark measures with it what they cost. */
  readonly aroundAuthenticate?: (authenticate: Authenticate) => Authenticate
}

/** The API over a database; it neither listens nor reads the environment. */
export async function buildApp(options: AppOptions) {
  const { db, version, api, logger, certificates } = options
  const { trusted } = options.proxies
  const { connectionUse } = db
  const metrics = createMetrics({
    connectionUse,
    newestEvent: () => newestEvent(db),
    countWithheld: () => countWithheld(db),
  })
  if (certificates) metrics.watchCertificate(() => certificates.certificate().not_after)
  const app = Fastify({
    ...(logger && { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    ...listenerOptions(api, certificates),
    trustProxy: trusted.length > 0 ? trusted : false,
    clientErrorHandler: (error, socket) =>
      answerClientError(error, socket, { log: app.log, onRefused: metrics.observeRefusal }),
    genReqId: () => `req-${newId()}`,
    routerOptions: { maxParamLength: 255 },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    schemaController: {
      compilersFactory: {
        buildValidator: strictValidators() as unknown as ValidatorFactory,
        buildSerializer: sharedSerializers(),
      },
    },
  }).withTypeProvider<TypeBoxTypeProvider>()

  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Melange',
        description: 'The address service of a cloud.',
        version,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          token: { type: 'apiKey', in: 'header', name: 'X-Auth-Token' },
          bearer: { type: 'http', scheme: 'bearer' },
        },
      },
      security: [{ token: [] }, { bearer: [] }],
    },
    transformObject: made => describeProjects(describeHeaders(made)),
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `def-${index}`),
    },
  })
  for (const schema of sharedSchemas) app.addSchema(schema)
  readJson(app)
  answerInProblems(app)

  app.addHook('onClose', async () => metrics.close())
  app.server.maxConnections = api.connections_max
  app.server.on('drop', () => metrics.observeRefusal('connections'))
  const { observeRequest: onAnswered, observeRefusal: onRefused } = metrics
  guardRequests(app, { api, paths, onAnswered, onRefused })
  const rates = createLimits({ settings: options.rates, onRefused, networkOf: clientNetworkOf })
  const callers = createCallers(db)
  const refusals = createRefusals({
    ...options.audit_trail,
    db,
    callers,
    observer: metrics.refusalObserver,
    onError: err => app.log.error({ err }, 'refusals are not in the audit trail'),
  })
  app.decorateRequest('denial', null)
  app.addHook('onClose', () => refusals.close())
  app.addHook('onResponse', async (request, reply) => refusals.note(request, reply.statusCode))
  app.addHook('onRequest', async (request, reply) => {
    // Whoever looks after the process is to see it when it is busy, too.
    if (!/^\/(health|ready)z$/.test(request.routeOptions.url ?? '')) {
      rates.countAddress(request, reply)
    }
  })

  const watch = watchEvents(db)
  app.addHook('preClose', () => watch.close())
  const lanes = Math.max(1, Math.min(options.allocator.lanes, Math.floor(db.connections / 3)))
  const { observerOf, observeEventLag: observeLag } = metrics
  const limits = { ...options.allocator, lanes, observerOf }
  const allocator = options.customAllocator ?? createAllocator(db, limits)
  const { admin_token, rules } = options
  const onError = (err: unknown) => app.log.error({ err }, 'not noted when tokens were used')
  const tokens = createOwnTokens({ db, admin_token, ...options.tokens, onError })
  app.addHook('onClose', () => tokens.close())
  const keystone = openKeystone(app, options, metrics)
  const oidc = createOidc({ settings: options.oidc })
  const authorities = keystone ? [tokens, oidc, keystone.authority] : [tokens, oidc]
  const { aroundAuthenticate = same => same } = options
  const authenticate = rates.around(
    aroundAuthenticate(createAuthenticator(authorities)),
    remembersToken(authorities),
  )
  explainRefusals(app, keystone?.challenge ?? 'Bearer realm="melange"')

  await app.register(versionList)
  await app.register(statusRoutes, { db, version })
  await app.register(melangeV1, {
    db,
    settings: options.melange_v1,
    authenticate,
    rules,
    callers,
  })
  await app.register(async v2 => {
    v2.decorateRequest('caller', null)
    v2.addHook('onRequest', authenticate)
    readIdempotencyKeys(v2)
    enforce(v2, { db, rules })
    nameWriters(v2, callers)
    tagAnswers(v2)
    await v2.register(addressScopeRoutes, { db })
    await v2.register(networkRoutes, { db })
    await v2.register(blockRoutes, { db })
    await v2.register(blockRouteRoutes, { db })
    await v2.register(dhcpOptionRoutes, { db })
    await v2.register(policyRoutes, { db })
    await v2.register(allocationRoutes, { db, allocator })
    await v2.register(holdRoutes, { db, holds: createHolds(db, { ...options.allocator, lanes }) })
    await v2.register(changesRoutes, { db })
    await v2.register(floatingIpRoutes, { db })
    await v2.register(natMappingRoutes, { db })
    await v2.register(quarantineRoutes, { db })
    const { declined_seconds } = options.leases
    const { observeLeaseReports: observeReports } = metrics
    await v2.register(leaseRoutes, { db, declined_seconds, observeReports })
    await v2.register(auditTrailRoutes, { db })
    await v2.register(eventRoutes, { db, watch, observeLag })
    await v2.register(metricsRoutes, { metrics })
    await v2.register(macRangeRoutes, { db })
    await v2.register(macRoutes, { db, macs: createMacAllocator(db, limits) })
    await v2.register(interfaceRoutes, { db })
    await v2.register(deviceRoutes, { db })
    await v2.register(allowedRoutes, { db })
    await v2.register(hostConfigurationRoutes, { db })
    await v2.register(servedNetworkRoutes, { db })
    await v2.register(grantRoutes, { db })
    await v2.register(quotaRoutes, { db })
    await v2.register(utilisationRoutes, { db })
    const hasConfiguredAdmin = admin_token !== undefined
    await v2.register(tokenRoutes, { db, hasConfiguredAdmin, onRevoked: tokens.forget })
  })
  await app.ready()
  return app
}

/** Keystone, if it is to be an authority. @throws {ConfigError} */
function openKeystone(
  app: Pick<FastifyInstance, 'addHook' | 'log'>,
  { keystone: settings, openstack }: AppOptions,
  metrics: Metrics,
): Keystone | null {
  if (!settings.enabled) return null
  const observer = metrics.keystoneObserver({
    onAway: reason => app.log.error({ reason }, 'Keystone gives no answers'),
    onBack: () => app.log.info('Keystone answers again'),
  })
  const keystone = connectKeystone(settings, openstack, observer)
  app.addHook('onClose', async () => keystone.close())
  if (keystone.insecure) {
    app.log.warn("Keystone's certificate is not checked (keystone.insecure): only for tests")
  }
  return keystone
}
