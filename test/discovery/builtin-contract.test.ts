import { describeDriver } from './contract.ts'

describeDriver('builtin')
