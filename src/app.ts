import type { ValidatorFactory } from '@fastify/ajv-compiler'
import fastifySwagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { describeProjects } from './access/documents.ts'
import { enforce } from './access/enforce.ts'
import { createCallers } from './audit-trail/callers.ts'
import { nameWriters } from './audit-trail/done-by.ts'
import { createRefusals } from './audit-trail/refusals.ts'
import { type Authenticate, createAuthenticator } from './auth/authenticate.ts'
import { createOwnTokens } from './auth/own-tokens.ts'
import type { OpenDatabase } from './db/database.ts'
import { tagAnswers } from './etags.ts'
import { describeHeaders } from './header-documents.ts'
import { answerInProblems, explainRefusals, readJson, strictValidator } from './http.ts'
import { readIdempotencyKeys } from './idempotency.ts'
import { newId } from './ids.ts'
import type { Environment } from './keystone/clouds-file.ts'
import { connectKeystone, type Keystone, type KeystoneSettings } from './keystone/keystone.ts'
import { melangeV1 } from './melange-v1/routes.ts'
import type { Settings as MelangeV1Settings } from './melange-v1/settings.ts'
import { versionList } from './melange-v1/version-routes.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import { metricsRoutes } from './metrics/routes.ts'
import { createOidc } from './oidc/authority.ts'
import type { OidcSettings } from './oidc-config.ts'
import type { Rules } from './policy/rules.ts'
import { addressScopeRoutes } from './resources/address-scopes/routes.ts'
import {
  AddressScope,
  AddressScopePatch,
  AddressScopeRequest,
} from './resources/address-scopes/schema.ts'
import {
  type Allocator,
  type AllocatorOptions,
  createAllocator,
} from './resources/allocations/allocator-store.ts'
import { changesRoutes } from './resources/allocations/changes-routes.ts'
import { holdRoutes } from './resources/allocations/hold-routes.ts'
import { createHolds } from './resources/allocations/hold-store.ts'
import { allocationRoutes } from './resources/allocations/routes.ts'
import {
  Allocation,
  AllocationPatch,
  AllocationRequest,
  BulkOutcome,
  BulkRequest,
  ReleaseRequest,
} from './resources/allocations/schema.ts'
import { auditTrailRoutes } from './resources/audit-trail/routes.ts'
import { AuditRecord } from './resources/audit-trail/schema.ts'
import { blockRouteRoutes } from './resources/block-routes/routes.ts'
import { BlockRoute, BlockRoutePatch, BlockRouteRequest } from './resources/block-routes/schema.ts'
import { blockRoutes } from './resources/blocks/routes.ts'
import {
  Block,
  BlockPatch,
  BlockRequest,
  ChildrenRequest,
  FreeRange,
  Utilisation,
} from './resources/blocks/schema.ts'
import { dhcpOptionRoutes } from './resources/dhcp-options/routes.ts'
import {
  BlockConfiguration,
  DhcpOption,
  DhcpOptionRequest,
  KnownDhcpOption,
} from './resources/dhcp-options/schema.ts'
import { Event, eventRoutes } from './resources/events/routes.ts'
import { newestEvent } from './resources/events/store.ts'
import { watchEvents } from './resources/events/watch.ts'
import { floatingIpRoutes } from './resources/floating-ips/routes.ts'
import {
  FloatingIp,
  FloatingIpAssociation,
  FloatingIpPatch,
  FloatingIpRequest,
} from './resources/floating-ips/schema.ts'
import { hostConfigurationRoutes } from './resources/host-configuration/routes.ts'
import {
  CloudInitNetwork,
  DeviceConfiguration,
  InterfaceConfiguration,
  NetworkData,
} from './resources/host-configuration/schema.ts'
import { allowedRoutes } from './resources/interfaces/allowed-routes.ts'
import { deviceRoutes } from './resources/interfaces/device-routes.ts'
import { interfaceRoutes } from './resources/interfaces/routes.ts'
import {
  AllowedAddress,
  AllowedAddressPatch,
  AllowedAddressRequest,
  AllowedPeriod,
  DeviceInterfacesRequest,
  Interface,
  InterfaceAddressRequest,
  InterfacePatch,
  InterfacePeriod,
  InterfaceRequest,
  InterfaceSpec,
} from './resources/interfaces/schema.ts'
import { createMacAllocator } from './resources/macs/allocator-store.ts'
import { macRangeRoutes } from './resources/macs/range-routes.ts'
import { macRoutes } from './resources/macs/routes.ts'
import {
  Mac,
  MacRange,
  MacRangePatch,
  MacRangeRequest,
  MacRangeUtilisation,
  MacRequest,
} from './resources/macs/schema.ts'
import { natMappingRoutes } from './resources/nat-mappings/routes.ts'
import { NatMapping, NatMappingRequest } from './resources/nat-mappings/schema.ts'
import { networkRoutes } from './resources/networks/routes.ts'
import {
  Network,
  NetworkPatch,
  NetworkRequest,
  NetworkUtilisation,
} from './resources/networks/schema.ts'
import { ChangedPolicy, policyRoutes } from './resources/policies/routes.ts'
import {
  EffectiveRules,
  Policy,
  PolicyPatch,
  PolicyRequest,
  PolicyRules,
  PolicyRulesRequest,
  RuleSource,
} from './resources/policies/schema.ts'
import { quarantineRoutes } from './resources/quarantine/routes.ts'
import { QuarantinedAddress, QuarantineEnd } from './resources/quarantine/schema.ts'
import { quotaRoutes } from './resources/quotas/routes.ts'
import { ProjectQuota, Quota, QuotaRequest, ScopeQuota } from './resources/quotas/schema.ts'
import { tokenRoutes } from './resources/tokens/routes.ts'
import { CreatedToken, Token, TokenRequest } from './resources/tokens/schema.ts'
import { utilisationRoutes } from './resources/utilisation/routes.ts'
import { Forecast, UtilisationSample } from './resources/utilisation/schema.ts'
import { Problem } from './schema.ts'
import { statusRoutes } from './status-routes.ts'

const sharedSchemas = [
  AddressScope,
  AddressScopePatch,
  AddressScopeRequest,
  Allocation,
  AllocationPatch,
  AllocationRequest,
  AllowedAddress,
  AllowedAddressPatch,
  AllowedAddressRequest,
  AllowedPeriod,
  AuditRecord,
  Block,
  BlockConfiguration,
  BulkOutcome,
  BulkRequest,
  BlockPatch,
  BlockRequest,
  BlockRoute,
  BlockRoutePatch,
  BlockRouteRequest,
  ChangedPolicy,
  ChildrenRequest,
  CloudInitNetwork,
  CreatedToken,
  DeviceConfiguration,
  DhcpOption,
  DhcpOptionRequest,
  DeviceInterfacesRequest,
  EffectiveRules,
  Event,
  FloatingIp,
  FloatingIpAssociation,
  FloatingIpPatch,
  FloatingIpRequest,
  Forecast,
  FreeRange,
  KnownDhcpOption,
  Interface,
  InterfaceAddressRequest,
  InterfaceConfiguration,
  InterfacePatch,
  InterfacePeriod,
  InterfaceRequest,
  InterfaceSpec,
  Mac,
  MacRange,
  MacRangePatch,
  MacRangeRequest,
  MacRangeUtilisation,
  MacRequest,
  Policy,
  PolicyPatch,
  PolicyRequest,
  PolicyRules,
  PolicyRulesRequest,
  NatMapping,
  NatMappingRequest,
  Network,
  NetworkPatch,
  NetworkData,
  NetworkRequest,
  NetworkUtilisation,
  Problem,
  ProjectQuota,
  Quota,
  QuotaRequest,
  QuarantinedAddress,
  QuarantineEnd,
  ReleaseRequest,
  RuleSource,
  ScopeQuota,
  Token,
  TokenRequest,
  Utilisation,
  UtilisationSample,
]

export type AppOptions = {
  readonly db: OpenDatabase
  readonly version: string
  readonly admin_token: string | undefined
  readonly allocator: AllocatorOptions
  readonly tokens: { readonly cache_seconds: number; readonly cache_max: number }
  readonly audit_trail: { readonly waiting_max: number; readonly wait_seconds: number }
  readonly oidc: OidcSettings
  readonly keystone: KeystoneSettings
  /** What OpenStack's clients read of the environment. */
  readonly openstack: Environment
  /** The rules of who may do what, as they are now. */
  readonly rules: () => Rules
  readonly api: { readonly body_bytes_max: number; readonly request_timeout_seconds: number }
  readonly melange_v1: MelangeV1Settings
  readonly logger?: FastifyBaseLogger
  /** Takes the place of the built-in allocator: the benchmark compares others with it. */
  readonly customAllocator?: Allocator
  /** Is put around what asks the authorities: the benchmark measures with it what they cost. */
  readonly aroundAuthenticate?: (authenticate: Authenticate) => Authenticate
}

/** The API over a database; it neither listens nor reads the environment. */
export async function buildApp(options: AppOptions) {
  const { db, version, api, logger } = options
  const app = Fastify({
    ...(logger && { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: api.body_bytes_max,
    requestTimeout: api.request_timeout_seconds * 1000,
    genReqId: () => `req-${newId()}`,
    routerOptions: { maxParamLength: 255 },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    schemaController: {
      compilersFactory: { buildValidator: strictValidator as unknown as ValidatorFactory },
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

  const { connectionUse } = db
  const metrics = createMetrics({ connectionUse, newestEvent: () => newestEvent(db) })
  app.addHook('onClose', async () => metrics.close())
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
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-openstack-request-id', request.id)
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method, url } = request
    const { statusCode: status, elapsedTime: milliseconds } = reply
    const route = request.routeOptions.url
    metrics.observeRequest({ method, route, status, milliseconds })
    request.log.info({ method, url, status, milliseconds }, 'answered')
    refusals.note(request, status)
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
  const authenticate = aroundAuthenticate(createAuthenticator(authorities))
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
    await v2.register(auditTrailRoutes, { db })
    await v2.register(eventRoutes, { db, watch, observeLag })
    await v2.register(metricsRoutes, { metrics })
    await v2.register(macRangeRoutes, { db })
    await v2.register(macRoutes, { db, macs: createMacAllocator(db, limits) })
    await v2.register(interfaceRoutes, { db })
    await v2.register(deviceRoutes, { db })
    await v2.register(allowedRoutes, { db })
    await v2.register(hostConfigurationRoutes, { db })
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
