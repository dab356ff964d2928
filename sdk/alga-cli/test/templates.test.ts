import { existsSync } from 'node:fs';
import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { TestHost } from '@alga/extension-runtime/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { readComponent } from '../src/component/binary.js';
import { main } from '../src/main.js';
import { TEMPLATES } from '../src/commands/new.js';
import { temporaryFolder, testEnvironment } from './fixture.js';
import { loadComponent } from './run-component.js';
import { missing, titled } from './toolchains.js';

const SDK = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const [noRust, noPython, noCpp] = [missing('rust'), missing('python'), missing('cpp')];

describe('templates', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let project: string;

  beforeEach(async () => {
    folder = await temporaryFolder();
    project = join(folder.path, 'made');
  });

  afterEach(() => folder.remove());

  async function alga(...argv: string[]) {
    const environment = testEnvironment(folder.path, { PATH: process.env['PATH'] ?? '' });
    const code = await main(argv, environment);
    return { code, ...environment };
  }

  async function make(template: string) {
    const { code, err } = await alga('new', 'hello', '--template', template, '--dir', 'made');
    expect(code, err).toBe(0);
    // In place of npm install, which the packed tarballs are tested with elsewhere.
    if (existsSync(join(project, 'package.json'))) {
      await symlink(join(SDK, 'node_modules'), join(project, 'node_modules'));
    }
  }

  async function buildAndCall(path: string, host = new TestHost()) {
    const built = await alga('build', '--project', 'made');
    expect(built.code, built.err).toBe(0);
    const component = await loadComponent(await readFile(join(project, 'dist', 'main.wasm')));
    try {
      const response = await component.call(
        {
          context: { tenantId: 't', extensionId: 'e' },
          http: { method: 'GET', url: path, headers: [] },
        },
        host.imports,
      );
      return {
        host,
        status: response.status,
        json: JSON.parse(new TextDecoder().decode(response.body)) as unknown,
      };
    } finally {
      await component.close();
    }
  }

  test.each(Object.keys(TEMPLATES))('%s: its manifest is valid', async (template) => {
    await make(template);
    const { code, err } = await alga('validate', '--project', 'made');
    expect(code, err).toBe(0);
    expect(existsSync(join(project, '.gitignore'))).toBe(true);
    expect(await readFile(join(project, 'manifest.json'), 'utf8')).not.toContain('{{');
  });

  test('handler: builds untouched and answers', { timeout: 300_000 }, async () => {
    await make('handler');
    const host = new TestHost({
      secrets: { alga_api_key: 'k' },
      upstreams: { 'https://api.example.com/tickets': { json: [1] } },
    });
    expect(await buildAndCall('/tickets', host)).toMatchObject({
      status: 200,
      json: { tickets: [1] },
    });
  });

  test(
    'handler-ui: builds the page and the handler, and packs both',
    { timeout: 300_000 },
    async () => {
      await make('handler-ui');
      expect(await buildAndCall('/counter')).toMatchObject({ json: { value: 0 } });
      const packed = await alga('pack', '--project', 'made', '--json');
      expect(packed.code, packed.out).toBe(0);
      const { entries } = JSON.parse(packed.out) as { entries: { name: string }[] };
      expect(entries.map(({ name }) => name)).toEqual([
        'manifest.json',
        'dist/main.wasm',
        'artifacts/source-map/main.js.map',
        'ui/index.html',
        'ui/main.js',
        'ui/style.css',
      ]);
    },
  );

  test('handler with zod and lodash: builds and runs', { timeout: 300_000 }, async () => {
    await make('handler');
    await writeFile(
      join(project, 'src', 'index.ts'),
      `import { handler, json } from '@alga/extension-runtime';
import _ from 'lodash';
import { z } from 'zod';

const Query = z.object({ email: z.email(), n: z.coerce.number().int() });

export default handler(({ request }) => {
  const parsed = Query.safeParse(Object.fromEntries(request.query));
  if (!parsed.success) return json({ issues: parsed.error.issues.map(({ path }) => path) });
  return json({ chunks: _.chunk(_.range(parsed.data.n), 2), name: _.camelCase('from the engine') });
});
`,
    );
    expect(await buildAndCall('/?email=a@example.com&n=3')).toMatchObject({
      json: { chunks: [[0, 1], [2]], name: 'fromTheEngine' },
    });
    await rm(join(project, '.alga'), { recursive: true });
  });

  test.skipIf(noCpp)(titled('cpp: builds and answers', noCpp), { timeout: 300_000 }, async () => {
    await make('cpp');
    const { json, host } = await buildAndCall('/hello');
    expect(json).toEqual({ hello: 'world', from: 'C++' });
    expect(host.logs).toEqual([{ level: 'info', message: 'C++ answers /hello' }]);
  });

  test.skipIf(noPython)(
    titled('python: builds and answers', noPython),
    { timeout: 300_000 },
    async () => {
      await make('python');
      const { json } = await buildAndCall('/hello', new TestHost({ config: { name: 'Ann' } }));
      expect(json).toEqual({ hello: 'Ann', from: 'Python' });
      const shape = readComponent(await readFile(join(project, 'dist', 'main.wasm')));
      expect(shape.imports.map(({ name }) => name)).toContain('alga:extension/config@1.0.0');
      expect(shape.imports.some(({ name }) => name.startsWith('wasi:'))).toBe(false);
    },
  );

  test.skipIf(noRust)(
    titled('rust: builds and answers', noRust),
    { timeout: 300_000 },
    async () => {
      await make('rust');
      expect(await buildAndCall('/hello')).toMatchObject({
        json: { hello: 'world', from: 'Rust' },
      });
    },
  );

  test('without the tools of its language, a build says how to get them', async () => {
    await make('python');
    const path = process.env['PATH'];
    process.env['PATH'] = '/nowhere';
    try {
      const { code, err } = await alga('build', '--project', 'made');
      expect(code).toBe(1);
      expect(err).toContain('pip install componentize-py');
    } finally {
      process.env['PATH'] = path;
    }
  });

  test('names that cargo has no place for, and publishers with quotation marks', async () => {
    const publisher = 'Ann "the" Ltd $& \\';
    for (const name of ['com.example.tickets', '1st']) {
      const made = await alga('new', name, '-t', 'rust', '--publisher', publisher);
      expect(made.code, made.err).toBe(0);
      const read = (file: string) => readFile(join(folder.path, name, file), 'utf8');
      const manifest = JSON.parse(await read('manifest.json')) as Record<string, unknown>;
      expect([manifest['name'], manifest['publisher']]).toEqual([name, publisher]);
      const crate = name === '1st' ? 'x1st' : 'com-example-tickets';
      expect(await read('Cargo.toml')).toContain(`name = "${crate}"`);
      expect((await alga('validate', '--project', name)).code).toBe(0);
    }
  });

  test('refuses names and folders that cannot work', async () => {
    expect((await alga('new', 'Bad Name')).err).toContain('new.bad_name');
    expect((await alga('new', 'x', '-t', 'nope')).err).toContain('templates: handler');
    await make('cpp');
    expect((await alga('new', 'x', '--dir', 'made')).err).toContain('new.exists');
  });
});
