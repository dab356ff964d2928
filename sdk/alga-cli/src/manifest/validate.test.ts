import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { PACKAGE_ROOT } from '../contracts.js';
import { validateManifest } from './validate.js';

const corpus = join(PACKAGE_ROOT, '..', '..', 'schema', 'corpus');
const expectedPaths = JSON.parse(
  readFileSync(join(corpus, 'invalid-paths.json'), 'utf8'),
) as Record<string, string>;
const read = (folder: string, name: string) => readFileSync(join(corpus, folder, name), 'utf8');

describe('validateManifest', () => {
  test.each(readdirSync(join(corpus, 'valid')))('accepts %s', (name) => {
    expect(validateManifest(read('valid', name))).toMatchObject({ ok: true });
  });

  test.each(readdirSync(join(corpus, 'invalid')))('refuses %s at the right place', (name) => {
    const result = validateManifest(read('invalid', name));
    expect(result.ok ? 'accepted' : result.problems[0]?.path).toBe(expectedPaths[name]);
  });

  test('names line and column of the member that is wrong', () => {
    const text = '{\n  "name": "x",\n  "version": "1.0",\n  "runtime": "wasm-js@1"\n}\n';
    const result = validateManifest(text);
    expect(result.ok ? [] : result.problems).toEqual([
      expect.objectContaining({ path: '/version', line: 3, column: 14 }),
    ]);
  });

  test('suggests the nearest name for a misspelt one', () => {
    const manifest = { name: 'x', version: '1.0.0', runtime: 'wasm-js@1', capabilites: [] };
    const result = validateManifest(JSON.stringify(manifest));
    expect(result.ok ? [] : result.problems[0]?.hint).toBe('did you mean "capabilities"?');
  });

  test('suggests the nearest capability', () => {
    const manifest = {
      name: 'x',
      version: '1.0.0',
      runtime: 'wasm-js@1',
      capabilities: ['cap:secret.get'],
    };
    const result = validateManifest(JSON.stringify(manifest));
    expect(result.ok ? [] : result.problems[0]?.hint).toBe('did you mean "cap:secrets.get"?');
  });

  test('says where text is not JSON', () => {
    const result = validateManifest('{\n  "name": "x",\n}');
    expect(result.ok ? [] : result.problems[0]).toMatchObject({ path: '', line: 3, column: 1 });
  });

  test('gives the line to add for a missing member', () => {
    const result = validateManifest('{ "name": "x", "version": "1.0.0" }');
    expect(result.ok ? [] : result.problems[0]).toMatchObject({
      path: '/runtime',
      message: '"runtime" is missing',
      hint: 'add  "runtime": "wasm-js@1"',
    });
  });
});
