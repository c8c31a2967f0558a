import { LeaseReport, ServedHost, ServedNetwork } from './dhcp/served.ts'
import {
  AddressScope,
  AddressScopePatch,
  AddressScopeRequest,
} from './resources/address-scopes/schema.ts'
import {
  Allocation,
  AllocationPatch,
  AllocationRequest,
  BulkOutcome,
  BulkRequest,
  ReleaseRequest,
} from './resources/allocations/schema.ts'
import { AuditRecord } from './resources/audit-trail/schema.ts'
import { BlockRoute, BlockRoutePatch, BlockRouteRequest } from './resources/block-routes/schema.ts'
import {
  Block,
  BlockPatch,
  BlockRequest,
  ChildrenRequest,
  FreeRange,
  Utilisation,
} from './resources/blocks/schema.ts'
import {
  BlockConfiguration,
  DhcpOption,
  DhcpOptionRequest,
  KnownDhcpOption,
} from './resources/dhcp-options/schema.ts'
import { Event } from './resources/events/routes.ts'
import {
  FloatingIp,
  FloatingIpAssociation,
  FloatingIpPatch,
  FloatingIpRequest,
} from './resources/floating-ips/schema.ts'
import { Grant, GrantPatch, GrantUsage, NewGrant } from './resources/grants/schema.ts'
import {
  CloudInitNetwork,
  DeviceConfiguration,
  InterfaceConfiguration,
  NetworkData,
} from './resources/host-configuration/schema.ts'
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
import { Lease, LeaseReports, ReportOutcome, WithheldAddress } from './resources/leases/schema.ts'
import {
  Mac,
  MacRange,
  MacRangePatch,
  MacRangeRequest,
  MacRangeUtilisation,
  MacRequest,
} from './resources/macs/schema.ts'
import { NatMapping, NatMappingRequest } from './resources/nat-mappings/schema.ts'
import {
  Network,
  NetworkPatch,
  NetworkRequest,
  NetworkUtilisation,
} from './resources/networks/schema.ts'
import { ChangedPolicy } from './resources/policies/routes.ts'
import {
  EffectiveRules,
  Policy,
  PolicyPatch,
  PolicyRequest,
  PolicyRules,
  PolicyRulesRequest,
  RuleSource,
} from './resources/policies/schema.ts'
import { QuarantinedAddress, QuarantineEnd } from './resources/quarantine/schema.ts'
import { ProjectQuota, Quota, QuotaRequest, ScopeQuota } from './resources/quotas/schema.ts'
import { CreatedToken, Token, TokenRequest } from './resources/tokens/schema.ts'
import { Forecast, UtilisationSample } from './resources/utilisation/schema.ts'
import { Problem } from './schema.ts'

/** The schemas that OpenAPI names, and routes refer to. */
export const sharedSchemas = [
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
  Grant,
  GrantPatch,
  GrantUsage,
  KnownDhcpOption,
  Interface,
  InterfaceAddressRequest,
  InterfaceConfiguration,
  InterfacePatch,
  InterfacePeriod,
  InterfaceRequest,
  InterfaceSpec,
  Lease,
  LeaseReport,
  LeaseReports,
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
  NewGrant,
  Problem,
  ProjectQuota,
  Quota,
  QuotaRequest,
  QuarantinedAddress,
  QuarantineEnd,
  ReleaseRequest,
  ReportOutcome,
  RuleSource,
  ScopeQuota,
  ServedHost,
  ServedNetwork,
  Token,
  TokenRequest,
  Utilisation,
  UtilisationSample,
  WithheldAddress,
]
