import { rm, symlink } from 'node:fs/promises';
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

  test.each(['src/index.js', 'src/index.mjs'])(
    'in plain JavaScript, in a project without TypeScript (%s)',
    async (entry) => {
      await rm(join(folder.path, 'src'), { recursive: true });
      await rm(join(folder.path, 'node_modules', 'typescript'));
      const plain = SOURCE.replace('path: string): Promise<void>', 'path)');
      await writeProject(folder.path, { [entry]: plain });
      for (const command of ['validate', 'build']) {
        const { code, err } = await alga(command);
        const told = `warning ${entry}:8:3 nobody awaits remember(request.path)`;
        expect([code, err]).toEqual([0, expect.stringContaining(told)]);
      }
    },
  );

  test('in the style of the reference, with a JSDoc type', async () => {
    await rm(join(folder.path, 'src'), { recursive: true });
    const source = `/** @type {import('@alga/extension-runtime').Handler} */
export const handler = async (request, host) => {
  host.storage.delete('n', 'k');
  return { status: 204, headers: [] };
};
`;
    await writeProject(folder.path, { 'src/index.js': source });
    const { code, err } = await alga('validate');
    expect([code, err]).toEqual([0, expect.stringContaining('src/index.js:3:3 nobody awaits')]);
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
