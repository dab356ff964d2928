import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse } from '@bytecodealliance/jco';
import { expect, test } from 'vitest';

import { readComponent } from '../component/binary.js';
import { PACKAGE_ROOT } from '../contracts.js';
import { LEGACY_CONTRACT, wrapLegacyModule } from './wrap.js';

const guest = (exports: string) => parse(`(module (memory (export "memory") 1) ${exports})`);
const ALLOC = '(func (export "alloc") (param i32) (result i32) i32.const 8)';
const HANDLER = '(func (export "handler") (param i32 i32 i32) (result i32) i32.const 0)';
const DEALLOC = '(func (export "dealloc") (param i32 i32))';

test('the contract is the one that the host implements', () => {
  const bridge = readFileSync(join(PACKAGE_ROOT, '..', '..', 'bridge', 'src', 'legacy.rs'), 'utf8');
  expect(bridge).toContain(`const CONTRACT: &str = "${LEGACY_CONTRACT}";`);
});

test.each([
  ['with dealloc', ALLOC + HANDLER + DEALLOC],
  ['without dealloc', ALLOC + HANDLER],
])('wraps a module %s', async (_, exports) => {
  const component = await wrapLegacyModule(await guest(exports));
  expect(readComponent(component).exports).toEqual([
    { name: 'alga:legacy/guest@1.0.0', kind: 'instance' },
  ]);
});

test('refuses a module without handler, and one that imports something else', async () => {
  await expect(wrapLegacyModule(await guest(ALLOC))).rejects.toMatchObject({
    code: 'migrate.cannot_wrap',
  });
  const foreign = await parse('(module (import "env" "abort" (func)))');
  await expect(wrapLegacyModule(foreign)).rejects.toMatchObject({ code: 'migrate.cannot_wrap' });
});

test('refuses what is no core module', async () => {
  await expect(wrapLegacyModule(Buffer.from('0061736d0d000100', 'hex'))).rejects.toMatchObject({
    code: 'migrate.not_a_core_module',
  });
});
