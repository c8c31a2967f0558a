import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DiscoveryError } from '../driver.ts'
import { serverDuid } from './duid.ts'

describe('the DUID of the server', () => {
  const folder = () => mkdtempSync(join(tmpdir(), 'melange-duid-'))

  test('is made once, of a random UUID', () => {
    const here = folder()
    const duid = serverDuid(here)
    expect(duid.toString('hex')).toMatch(/^0004[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/)
    expect(serverDuid(here)).toEqual(duid)
    expect(serverDuid(folder())).not.toEqual(duid)
    expect(readdirSync(here)).toEqual(['duid'])
    expect(readFileSync(join(here, 'duid'), 'utf8')).toBe(`${duid.toString('hex')}\n`)
  })

  test('is not guessed where something else is kept, nor where nothing can be', () => {
    const here = folder()
    writeFileSync(join(here, 'duid'), 'x')
    expect(() => serverDuid(here)).toThrow(DiscoveryError)
    expect(() => serverDuid(join(here, 'nowhere'))).toThrow(DiscoveryError)
  })
})
