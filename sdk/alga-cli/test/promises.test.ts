import { symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Problem } from '../src/events.js';
import { main } from '../src/main.js';
import { MANIFEST, temporaryFolder, testEnvironment, writeProject } from './fixture.js';

const SOURCE = `import { handler, json } from '@alga/extension-runtime';

async function remember(path: string): Promise<void> {
  if (path === '') throw new Error('nothing to remember');
}

export default handler(({ request }) => {
  remember(request.path);
  return json({ ok: true });
});
`;

describe('an author is told of a promise that nobody awaits', { timeout: 300_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;

  beforeEach(async () => {
    folder = await temporaryFolder();
    await writeProject(folder.path, {
      'manifest.json': JSON.stringify(MANIFEST),
      'package.json': '{}',
      'src/index.ts': SOURCE,
    });
    const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
    await symlink(typescript, join(folder.path, 'node_modules', 'typescript'));
  });

  afterEach(() => folder.remove());

  async function alga(...argv: string[]) {
    const environment = testEnvironment(folder.path);
    return { code: await main(argv, environment), ...environment };
  }

  test.each(['validate', 'build'])('by alga %s, which succeeds', async (command) => {
    const { code, err } = await alga(command);
    expect([code, err]).toEqual([
      0,
      expect.stringContaining('src/index.ts:8:3 nobody awaits remember(request.path)'),
    ]);
    expect(err).toContain('[build.floating_promise]');
    expect(err).toContain('> 8 |   remember(request.path);');
    expect(err).toContain('void in front of it');
  });

  test('as a warning in the document for scripts', async () => {
    const { code, out } = await alga('validate', '--json');
    const { warnings } = JSON.parse(out) as { warnings: Problem[] };
    const location = { file: 'src/index.ts', line: 8, column: 3 };
    const told = { code: 'build.floating_promise', location };
    expect([code, warnings]).toEqual([0, [expect.objectContaining(told)]]);
    expect(warnings[0]?.hint).toContain('void in front of it');
  });

  test('and not of one that is awaited', async () => {
    const awaited = SOURCE.replace('({ request }) =>', 'async ({ request }) =>');
    await writeProject(folder.path, {
      'src/index.ts': awaited.replace('  remember', '  await remember'),
    });
    const { code, err } = await alga('validate');
    expect([code, err]).toEqual([0, expect.not.stringContaining('build.floating_promise')]);
  });
});
