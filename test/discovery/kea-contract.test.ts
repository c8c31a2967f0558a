import { describeDriver } from './contract.ts'

describeDriver('kea')
