import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { beforeEach, describe, expect, test } from 'vitest';

import { BesideServer } from './beside-server.js';
import { MANIFEST } from './fixture.js';

const MAP = {
  version: 3,
  sources: ['src/index.ts'],
  sourcesContent: ['one\ntwo\nthree throws here\nfour\n'],
  names: [],
  // Generated 1:1 is src/index.ts 3:7.
  mappings: 'AAEM',
};
const AT_ITS_LINE = 'src/index.ts:3:7 TypeError: no luck [invoke.uncaught]';

describe('errors of a tenant administrator, who may read logs and no source maps', () => {
  const beside = new BesideServer();
  const { alga } = beside;
  const credentials = () => join(beside.folder, '.config', 'alga', 'credentials.json');
  const remembered = async () =>
    (
      JSON.parse(await readFile(credentials(), 'utf8')) as {
        servers: Record<string, Record<string, string>>;
      }
    ).servers[beside.url];

  beforeEach(async () => {
    await beside.writeBuiltProject(MANIFEST);
    await alga(['publish', '--no-build']);
    await alga(['install', MANIFEST.name, '--grant-declared']);
    beside.server.role = 'tenant_admin';
    beside.server.sourceMaps.set(`${MANIFEST.name}@1.0.0`, JSON.stringify(MAP));
    beside.server.gateway = () => ({ status: 500, body: '{"error":{}}', requestId: 'r7' });
    beside.server.log({
      level: 'error',
      message: 'Uncaught TypeError: no luck\n    at f (main.js:1:1)',
      request_id: 'r7',
      extension: MANIFEST.name,
      version: '1.0.0',
    });
  });

  test('come without a line, and say which token shows it', async () => {
    const { code, err } = await alga(['invoke', MANIFEST.name, '/x']);
    expect(code).toBe(1);
    expect(err).toContain('error TypeError: no luck [invoke.uncaught]');
    expect(err).toContain('alga login --maps, --maps-token-file or ALGA_MAPS_TOKEN');
  });

  test("have their line with a publisher's token in ALGA_MAPS_TOKEN", async () => {
    const variables = { ALGA_MAPS_TOKEN: beside.server.publisherToken };
    const { code, err } = await alga(['invoke', MANIFEST.name, '/x'], { variables });
    expect([code, err]).toEqual([1, expect.stringContaining(AT_ITS_LINE)]);
    const logs = await alga(['logs', MANIFEST.name], { variables });
    expect(logs.out).toContain('at f (src/index.ts:3:7)');
  });

  test('have it with the token in a file, which goes before the environment', async () => {
    await writeFile(join(beside.folder, 'publisher.key'), `${beside.server.publisherToken}\n`);
    const variables = { ALGA_MAPS_TOKEN: 'alga_of-somebody-else' };
    const option = ['--maps-token-file', 'publisher.key'];
    const { err } = await alga(['invoke', MANIFEST.name, '/x', ...option], { variables });
    expect(err).toContain(AT_ITS_LINE);
    const logs = await alga(['logs', MANIFEST.name, ...option]);
    expect(logs.out).toContain('at f (src/index.ts:3:7)');
    const missing = await alga(['logs', MANIFEST.name, '--maps-token-file', 'no-such-file']);
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('no-such-file')]);
  });

  test('have it with a token that alga login --maps remembers beside the account', async () => {
    const none = { ALGA_TOKEN: '' };
    await alga(['login'], { stdin: beside.server.token, variables: none });
    const { code, out, err } = await alga(['login', '--maps'], {
      stdin: `${beside.server.publisherToken}\n`,
    });
    expect(code, err).toBe(0);
    expect(out).toContain(`Source maps of ${beside.url} are read as Pub (publisher)`);
    const kept = { token: beside.server.token, maps_token: beside.server.publisherToken };
    expect(await remembered()).toMatchObject(kept);
    const called = await alga(['invoke', MANIFEST.name, '/x'], { variables: none });
    expect(called.err).toContain(AT_ITS_LINE);
    await alga(['login'], { stdin: beside.server.token, variables: none });
    expect(await remembered(), 'after another login').toMatchObject(kept);
    await alga(['logout']);
    expect(await remembered(), 'after logout').toBeUndefined();
  });

  test('a token for source maps is remembered without an account, and takes none from ALGA_TOKEN', async () => {
    const stdin = beside.server.publisherToken;
    expect((await alga(['login', '--maps'], { stdin })).code).toBe(0);
    expect(await remembered()).toEqual({ maps_token: stdin });
    const { err } = await alga(['invoke', MANIFEST.name, '/x']);
    expect(err).toContain(AT_ITS_LINE);
  });

  test('alga login --maps refuses an account that may not read them, and remembers nothing', async () => {
    const { code, err } = await alga(['login', '--maps'], { stdin: beside.server.token });
    expect(code).toBe(4);
    expect(err).toContain('credentials.no_maps');
    expect(err).toContain('--role publisher --publisher PUBLISHER');
    await expect(readFile(credentials())).rejects.toThrow();
  });

  test("a token of another publisher takes nothing from the account's own sight", async () => {
    const variables = { ALGA_MAPS_TOKEN: 'alga_of-somebody-else' };
    const refused = await alga(['invoke', MANIFEST.name, '/x'], { variables });
    expect(refused.err).toContain('is not one of that publisher');
    beside.server.role = 'operator';
    const { err } = await alga(['invoke', MANIFEST.name, '/x'], { variables });
    expect(err).toContain(AT_ITS_LINE);
  });

  test("no request but the map's goes with the token for source maps", async () => {
    const asked = beside.server.requests.length;
    const variables = { ALGA_MAPS_TOKEN: beside.server.publisherToken };
    const { code, err } = await alga(['logs', MANIFEST.name, '--request', 'r7'], { variables });
    expect(code, err).toBe(0);
    const maps = beside.server.requests
      .slice(asked)
      .filter(({ path }) => path.includes('/source-map'));
    expect(maps).toEqual([expect.objectContaining({ method: 'GET', tenant: undefined })]);
  });
});
