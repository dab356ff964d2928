import { symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { main } from '../src/main.js';
import { MANIFEST, temporaryFolder, testEnvironment, writeProject } from './fixture.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeEach(async () => {
  folder = await temporaryFolder();
  await writeProject(folder.path, {
    'manifest.json': JSON.stringify(MANIFEST),
    'package.json': '{}',
  });
  const vitest = dirname(createRequire(import.meta.url).resolve('vitest/package.json'));
  await symlink(vitest, join(folder.path, 'node_modules', 'vitest'));
});

afterEach(() => folder.remove());

/** Runs `alga test --json` over one test file. */
async function report(source: string): Promise<{ code: number; answer: Record<string, unknown> }> {
  const text = `import { expect, test } from 'vitest';\n${source}`;
  await writeProject(folder.path, { 'src/one.test.ts': text });
  const environment = testEnvironment(folder.path);
  const code = await main(['test', '--json'], environment);
  const lines = environment.out.trim().split('\n');
  expect([lines.length, environment.err]).toEqual([1, '']);
  return { code, answer: JSON.parse(lines[0] ?? '') as Record<string, unknown> };
}

test('alga test --json counts what passed', { timeout: 300_000 }, async () => {
  const passed = await report("test('a', () => undefined);\ntest('b', () => undefined);");
  expect(passed).toEqual({ code: 0, answer: { ok: true, passed: 2, failed: 0 } });
});

test.each([
  ['a test', "test('adds', () => expect(1 + 1).toBe(3));", 'expected 2 to be 3'],
  ['a file that does not parse', "test('adds', () => {", 'src/one.test.ts'],
  [
    'a promise that nobody awaits',
    "test('x', () => void Promise.reject(new Error('lost')));",
    'lost',
  ],
])(
  'alga test --json says in its one document what failed: %s',
  { timeout: 300_000 },
  async (_, source, words) => {
    const { code, answer } = await report(source);
    expect([code, answer['ok']]).toEqual([1, false]);
    expect(answer['error']).toMatchObject({ code: 'test.failed' });
    expect(JSON.stringify(answer['error'])).toContain(words);
    expect(JSON.stringify(answer)).not.toContain('\\u001b');
  },
);
