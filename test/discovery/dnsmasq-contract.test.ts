import { describeDriver } from './contract.ts'

describeDriver('dnsmasq')
