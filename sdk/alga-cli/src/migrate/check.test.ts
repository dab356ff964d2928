import { expect, test } from 'vitest';

import { checkMigration } from './check.js';

const MANIFEST = {
  name: 'x',
  version: '1.0.0',
  runtime: 'wasm-js@1',
  capabilities: ['http.fetch'],
};

/** A core module that exports functions under the given names and imports one. */
function coreModule(exports: string[], imported: [string, string]): Uint8Array {
  const text = (value: string) => [value.length, ...Buffer.from(value)];
  const section = (id: number, body: number[]) => [id, body.length, ...body];
  const [from, name] = imported;
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, 0, 0]),
    ...section(2, [1, ...text(from), ...text(name), 0, 0]),
    ...section(7, [exports.length, ...exports.flatMap((export_) => [...text(export_), 0, 0])]),
  ]);
}

/** A component that imports instances and exports a function `handler`. */
function component(imports: string[]): Uint8Array {
  const text = (value: string) => [0, value.length, ...Buffer.from(value)];
  const section = (id: number, body: number[]) => [id, body.length, ...body];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00],
    ...section(10, [imports.length, ...imports.flatMap((name) => [...text(name), 5, 0])]),
    ...section(11, [1, ...text('handler'), 1, 0, 0]),
  ]);
}

async function codes(files: Record<string, Uint8Array | object>) {
  const entries = Object.entries(files).map(([name, content]) => [
    name,
    content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content)),
  ]);
  const findings = await checkMigration(new Map(entries as [string, Uint8Array][]));
  return findings.map(({ weight, code }) => `${weight} ${code}`);
}

test('a reference component runs, with notes about what changes', async () => {
  const imports = ['http', 'secrets', 'scheduler'].map((name) => `alga:extension/${name}`);
  expect(await codes({ 'manifest.json': MANIFEST, 'dist/main.wasm': component(imports) })).toEqual([
    'note migrate.capability_spelling',
    'changes migrate.egress',
    'note migrate.unversioned',
    'changes migrate.application_interface',
    'changes component.frozen_clock_and_random',
  ]);
});

test('a core module of the first ABI blocks', async () => {
  const module = coreModule(['memory', 'alloc', 'handler'], ['alga', 'log_info']);
  expect(await codes({ 'manifest.json': MANIFEST, 'dist/main.wasm': module })).toContain(
    'blocks migrate.core_module',
  );
});

test('a core module of another ABI says what is missing', async () => {
  const module = coreModule(['handler'], ['env', 'abort']);
  const found = await codes({ 'manifest.json': MANIFEST, 'dist/main.wasm': module });
  expect(found).toContain('blocks migrate.abi');
  expect(found).toContain('blocks migrate.unknown_import');
});

test('a manifest with members of its own blocks at its line', async () => {
  const bytes = Buffer.from(JSON.stringify({ ...MANIFEST, permissions: [] }, null, 2));
  const findings = await checkMigration(new Map([['manifest.json', bytes]]));
  expect(findings[0]?.message).toMatch(/line 8, \/permissions/);
});

test('nothing at all needs a manifest', async () => {
  expect(await codes({})).toEqual(['blocks migrate.no_manifest']);
});
