import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { EventSession, writeStubAlgad, type EventLine } from './dev-session.js';
import { MANIFEST, temporaryFolder, writeProject } from './fixture.js';

const source = (answer: string) =>
  `import { handler, json } from '@alga/extension-runtime';
export default handler(() => json(${JSON.stringify(answer)}));
`;

describe('alga dev', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let algad: string;

  beforeEach(async () => {
    folder = await temporaryFolder();
    await writeProject(folder.path, {
      'manifest.json': JSON.stringify({ ...MANIFEST, capabilities: ['cap:secrets.get'] }),
      'src/index.ts': source('one'),
      'alga.dev.json': JSON.stringify({
        config: { region: 'eu' },
        secrets: { key: 's3cret' },
        egress: ['http://127.0.0.1:9000'],
      }),
    });
    algad = await writeStubAlgad(folder.path);
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await folder.remove();
  });

  const start = (...argv: string[]) =>
    new EventSession(folder.path, ['dev', '--port', '0', '--algad', algad, ...argv]);

  const ready = (event: EventLine) => event['event'] === 'ready';

  test('builds, installs with the local settings, follows changes, and stops in good order', async () => {
    const dev = start();
    const first = await dev.next(ready);
    const url = String(first['url']);
    const install = first['install'] as Record<string, unknown>;
    expect(install).toMatchObject({
      tenant: 'dev',
      granted: ['cap:secrets.get'],
      egress: ['http://127.0.0.1:9000'],
    });
    expect(String(install['version'])).toMatch(/^1\.0\.0-dev\./);

    const answer = await fetch(`${url}/a?b=1`);
    expect(await answer.json()).toEqual({ path: '/a?b=1' });
    expect(await dev.next((event) => event['event'] === 'call')).toMatchObject({
      method: 'GET',
      path: '/a?b=1',
      status: 200,
    });

    await writeFile(join(folder.path, 'src', 'index.ts'), 'export default nonsense(');
    const failed = await dev.next((event) => event['ok'] === false);
    expect(failed).toMatchObject({ error: { code: 'build.bundle_failed' } });

    await writeFile(join(folder.path, 'src', 'index.ts'), source('two'));
    const second = await dev.next(ready);
    expect(second['url']).toBe(url);
    expect((second['install'] as { version: string }).version).not.toBe(install['version']);

    const port = (await readFile(join(folder.path, '.alga', 'dev', 'port'), 'utf8')).trim();
    const token = await readFile(join(folder.path, '.alga', 'dev', 'bootstrap-token'), 'utf8');
    const headers = { authorization: `Bearer ${token.trim()}`, 'x-tenant-id': 'dev' };
    const path = `http://127.0.0.1:${port}/api/v1/installs/${String(install['id'])}`;
    const read = async (what: string): Promise<unknown> =>
      (await fetch(`${path}/${what}`, { headers })).json();
    expect(await read('config')).toMatchObject({ config: { region: 'eu' } });
    expect(await read('secrets')).toMatchObject({ names: ['key'] });

    dev.interrupt();
    expect(await dev.code).toBe(0);
    await expect(fetch(url)).rejects.toThrow();
    await expect(fetch(path)).rejects.toThrow();
  }, 300_000);

  test('an interrupt does not wait for what the server is busy with', async () => {
    const publishing = join(folder.path, 'publishing');
    vi.stubEnv('STUB_ALGAD_HOLDS', publishing);
    const dev = start();
    await expect.poll(() => existsSync(publishing), { timeout: 120_000 }).toBe(true);
    dev.interrupt();
    expect(await dev.code).toBe(0);
  }, 300_000);

  test('a server program that cannot be run is named', async () => {
    for (const algad of [folder.path, join(folder.path, 'nothing'), 'alga.dev.json']) {
      const failure = await start('--algad', algad).next((event) => event['ok'] === false);
      expect(failure).toMatchObject({ error: { code: 'dev.no_algad' } });
      expect(JSON.stringify(failure)).toContain(`${algad} is no program to run`);
    }
  });

  test('answers to localhost only, and keeps its keys private', async () => {
    const dev = start('--no-watch');
    const { url } = (await dev.next(ready)) as { url: string };
    const status = await new Promise((resolve, reject) => {
      request(url, { headers: { host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .once('error', reject)
        .end();
    });
    expect(status).toBe(403);
    const key = await stat(join(folder.path, '.alga', 'dev', 'signing.key'));
    expect(key.mode & 0o077).toBe(0);
    dev.interrupt();
    expect(await dev.code).toBe(0);
  }, 300_000);

  test('says what is wrong before it starts anything', async () => {
    await writeFile(join(folder.path, 'alga.dev.json'), '{"secret":{}}');
    const dev = start();
    const failure = await dev.next((event) => event['ok'] === false);
    expect(failure).toMatchObject({ error: { code: 'dev.bad_settings' } });
    expect(await dev.code).toBe(1);
    await writeFile(join(folder.path, 'alga.dev.json'), '{\n  "secrets": {},\n}');
    const broken = await start().next((event) => event['ok'] === false);
    const location = { file: 'alga.dev.json', line: 3, column: 1 };
    expect(broken).toMatchObject({ error: { code: 'dev.bad_settings', location } });
  });

  test('a server that does not start is explained with the end of its log', async () => {
    await writeFile(algad, `#!/bin/sh\necho "no room on the disk" >&2\nexit 3\n`);
    const dev = start();
    const failure = await dev.next((event) => event['ok'] === false);
    expect(failure).toMatchObject({ error: { code: 'dev.algad_failed' } });
    expect(JSON.stringify(failure)).toContain('no room on the disk');
    expect(await dev.code).toBe(1);
  });
});
