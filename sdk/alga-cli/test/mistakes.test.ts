import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

import { DevProxy } from '../src/dev/proxy.js';
import { Failure } from '../src/failure.js';
import { ApiClient } from '../src/server/client.js';
import { HINTED_CODES } from '../src/server/gateway-refusal.js';
import { BesideServer } from './beside-server.js';
import { MANIFEST, writeProject } from './fixture.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));

describe('likely mistakes are answered with what, where and what to do', () => {
  const beside = new BesideServer();
  const { alga } = beside;

  const project = (manifest: object = MANIFEST) => beside.writeBuiltProject(manifest);

  async function installed() {
    await project();
    expect((await alga(['publish', '--no-build'])).code).toBe(0);
    expect((await alga(['install', MANIFEST.name])).code).toBe(0);
  }

  test.each([['build'], ['dev', '--algad', 'x'], ['test'], ['pack'], ['publish'], ['validate']])(
    '%s in a folder without a project',
    async (...argv) => {
      const { code, err } = await alga(argv);
      expect(code).toBe(1);
      expect(err).toContain(`There is no manifest.json in ${beside.folder} [manifest.not_found]`);
      expect(err).toContain('alga new <name>');
    },
  );

  test.each([
    [{ ...MANIFEST, api: { endpoints: [{ method: 'GET', path: '/' }] } }, 'pack.not_built'],
    [{ ...MANIFEST, api: undefined, ui: undefined }, 'pack.nothing'],
  ])('a bundle of a project that was never built', async (manifest, code) => {
    await writeProject(beside.folder, {
      'manifest.json': JSON.stringify(manifest),
      'src/index.ts': 'export default () => 1;',
    });
    for (const command of [['pack'], ['publish', '--no-build']]) {
      const said = await alga(command);
      expect(said.code).toBe(1);
      expect(said.err).toContain(`[${code}]`);
      expect(said.err).toContain('alga build');
    }
    expect(existsSync(join(beside.folder, 'bundle.tar.zst'))).toBe(false);
  });

  test('a misspelt capability, at its place in the manifest', async () => {
    await project({ ...MANIFEST, capabilities: ['cap:secret.get'] });
    const { code, err } = await alga(['build']);
    expect(code).toBe(1);
    expect(err).toMatch(/manifest\.json:\d+:\d+ .*unknown capability "cap:secret\.get"/);
    expect(err).toContain('did you mean "cap:secrets.get"?');
  });

  test('a capability as an argument shows how the command is used', async () => {
    const { code, err } = await alga(['grant', 'tickets', 'cap:secrets.get']);
    expect(code).toBe(2);
    expect(err).toContain('usage: alga grant [options] <install>');
    const wrong = await alga(['secrets', 'set', 'tickets', 'key', '--value', 'x']);
    expect(wrong.err).toContain('usage: alga secrets set [options] <install> <name>');
    const half = await alga(['config', 'set', 'tickets', 'api_url']);
    expect(half.err).toContain('for example: api_url=');
  });

  test('nobody is logged in, and no server was named', async () => {
    await beside.server.stop();
    const client = new ApiClient({
      url: beside.url,
      assumed: true,
      token: undefined,
      tenant: undefined,
    });
    const refused = await client.json('/x').catch((error: unknown) => error);
    expect((refused as Failure).hint).toContain('log in with alga login --url');
    await beside.server.start();
  });

  test('no token, and no way to the server', async () => {
    const anonymous = await alga(['list'], { variables: { ALGA_TOKEN: '' } });
    expect([anonymous.code, anonymous.err]).toEqual([4, expect.stringContaining('alga login')]);
    await beside.server.stop();
    const { code, err } = await alga(['list']);
    expect(code).toBe(3);
    expect(err).toContain(
      `Cannot reach ${beside.url}: nothing listens there (ECONNREFUSED) [server.unreachable]`,
    );
    expect(err).toContain('is the server running?');
    await beside.server.start();
  });

  test('publishing that fails has no tick', async () => {
    await project();
    const { err } = await alga(['publish', '--no-build'], { variables: { ALGA_TOKEN: 'wrong' } });
    expect(err).toContain('✘ Uploading');
    expect(err).not.toContain('✔ Uploading');
  });

  test('publishing says before it builds that the server, the token or the key will not do', async () => {
    await project();
    await writeProject(beside.folder, { 'src/index.ts': 'export default () => 1;' });
    const variables = { ALGA_TOKEN: 'wrong' };
    const denied = await alga(['publish'], { variables });
    expect([denied.code, denied.err]).toEqual([4, expect.stringContaining('auth.bad_token')]);
    const unsigned = await alga(['publish', '--key', 'nowhere']);
    expect([unsigned.code, unsigned.err]).toEqual([1, expect.stringContaining('key.not_found')]);
    await beside.server.stop();
    const down = await alga(['publish']);
    expect([down.code, down.err]).toEqual([3, expect.stringContaining('server.unreachable')]);
    await beside.server.start();
    expect(denied.err + unsigned.err + down.err).not.toContain('Bundling');
  });

  test('the wrong tenant, and a misspelt install or extension', async () => {
    await installed();
    const elsewhere = await alga(['logs', MANIFEST.name, '--tenant', 'other']);
    expect(elsewhere.err).toContain(`"${MANIFEST.name}" is not installed for tenant other`);
    expect(elsewhere.err).toContain('--tenant');
    const near = MANIFEST.name.replace('fixture', 'fixtrue');
    const misspelt = await alga(['enable', near]);
    expect(misspelt.err).toContain(`did you mean`);
    expect(misspelt.err).toContain(MANIFEST.name);
    const extension = await alga(['install', near]);
    expect(extension.err).toContain(`There is no extension "${near}" [extension.not_found]`);
    expect(extension.err).toContain('did you mean');
  });

  test('a path that the manifest does not declare is the gateway’s answer, not the extension’s', async () => {
    await installed();
    const body = JSON.stringify({
      error: 'endpoint_not_found',
      code: 'gateway.endpoint_not_found',
      message: 'no such endpoint',
    });
    beside.server.gateway = () => ({ status: 404, body, requestId: 'r1' });
    const { code, err } = await alga(['invoke', MANIFEST.name, '/nothing']);
    expect(code).toBe(1);
    expect(err).toContain('the gateway answered 404: no such endpoint');
    expect(err).toContain('"api.endpoints" in manifest.json');
  });

  test.each([
    [401, 'gateway.unauthenticated', 4, 'alga login'],
    [403, 'gateway.tenant_mismatch', 4, 'leave --tenant out'],
    [403, 'gateway.forbidden', 4, 'a token of the tenant'],
    [404, 'gateway.extension_not_available', 1, 'alga list'],
    [400, 'gateway.tenant_required', 1, '--tenant'],
  ])('%i %s of the gateway says what to do', async (status, code, exit, advice) => {
    await installed();
    const body = JSON.stringify({ error: 'no', code, message: 'no' });
    beside.server.gateway = () => ({ status, body, requestId: 'r1' });
    const refused = await alga(['invoke', MANIFEST.name, '/a']);
    expect([refused.code, refused.err]).toEqual([exit, expect.stringContaining(advice)]);
  });

  test('codes of the gateway that have advice are codes of the server', () => {
    const gateway = join(HERE, '../../../src/gateway');
    const sources = readdirSync(gateway).filter((name) => name.endsWith('.cc'));
    const text = sources.map((name) => readFileSync(join(gateway, name), 'utf8')).join('');
    expect(HINTED_CODES.filter((code) => !text.includes(`"${code}"`))).toEqual([]);
  });

  test.each([
    ['SIGNATURE_REQUIRED', 'alga keygen'],
    ['EXTENSION_VERSION_ALREADY_EXISTS', 'raise "version"'],
    ['PUBLISHER_NOT_FOUND', 'algad admin publishers create'],
    ['COMPILE_FAILED', 'second try'],
    ['install.exists', 'alga update'],
    ['request.tenant_missing', '--tenant'],
    ['tenant.not_found', 'algad admin tenants create'],
  ])('%s of the server says what to do', async (code, advice) => {
    const refusing = createHttp(JSON.stringify({ error: { code, message: 'no' } }));
    const address = await refusing.url;
    const client = new ApiClient({ url: address, token: 't', tenant: 'x' });
    const refused = await client.json('/x').catch((error: unknown) => error);
    refusing.close();
    expect(refused).toBeInstanceOf(Failure);
    expect((refused as Failure).hint).toContain(advice);
  });

  test('a module where a bundle is meant', async () => {
    const module = Buffer.from('0061736d01000000', 'hex').toString('latin1');
    await writeProject(beside.folder, { 'old.wasm': module });
    const { code, err } = await alga(['migrate', 'check', 'old.wasm']);
    expect([code, err]).toEqual([1, expect.stringContaining('old.wasm is a module, not a bundle')]);
    expect(err).toContain('alga migrate wrap');
  });

  test('the folder of a new project exists', async () => {
    await writeProject(beside.folder, { 'taken/file': '' });
    const { code, err } = await alga(['new', 'taken']);
    expect([code, err]).toEqual([1, expect.stringContaining('new.exists')]);
    expect(err).toContain('→');
  });

  test('a port that is in use', async () => {
    const taken = createServer();
    await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done));
    const { port } = taken.address() as AddressInfo;
    const client = new ApiClient({ url: beside.url, token: undefined, tenant: undefined });
    const nothing = () => undefined;
    const options = {
      client,
      base: nothing,
      page: nothing,
      onCall: nothing,
      onBadRequest: nothing,
      port,
    };
    const failed = await DevProxy.start(options).catch((error: unknown) => error);
    taken.close();
    expect(failed).toMatchObject({ code: 'dev.port_in_use' });
    expect((failed as Failure).message).toContain(String(port));
    expect((failed as Failure).hint).toContain('--port 0');
  });

  test('whoever reads the output may stop reading', () => {
    // Two commands of one shell line: the reader closes the pipe after its first line.
    const line = '"$0" "$1" --help; "$0" "$1" doctor --json';
    const alga_ = [process.execPath, join(HERE, '../bin/alga.js')];
    const piped = spawnSync('bash', ['-c', `{ ${line}; } | head -n 1`, ...alga_], {
      encoding: 'utf8',
      cwd: beside.folder,
    });
    expect(piped.stdout.split('\n').filter(Boolean)).toHaveLength(1);
    expect(piped.stderr).toBe('');
  });

  test.skipIf(!existsSync('/dev/full'))('output that cannot be written', () => {
    const line = '"$0" "$1" doctor --json > /dev/full';
    const alga_ = [process.execPath, join(HERE, '../bin/alga.js')];
    const done = spawnSync('bash', ['-c', line, ...alga_], {
      encoding: 'utf8',
      cwd: beside.folder,
    });
    expect(done.status).toBe(1);
    expect(done.stderr).toMatch(
      /^error Cannot write the output: .*ENOSPC.* \[system\.output\]\n {2}→ .*\n$/,
    );
  });

  test('a Node.js that is too old', () => {
    const pretend =
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.19.1' } })";
    const done = spawnSync(
      process.execPath,
      ['--import', `data:text/javascript,${pretend}`, join(HERE, '../bin/alga.js'), 'list'],
      { encoding: 'utf8' },
    );
    expect(done.status).toBe(1);
    expect(done.stderr).toContain('alga needs Node.js 20 or newer; this is 18.19.1');
    expect(done.stderr).toContain('→ install a newer one');
  });
});

/** A server that refuses everything with one body. */
function createHttp(body: string) {
  const server = createServer((socket) => {
    const head = `HTTP/1.1 422 No\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
    socket.once('data', () => socket.end(head + body));
  });
  const url = new Promise<string>((done) => {
    server.listen(0, '127.0.0.1', () =>
      done(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    );
  });
  return { url, close: () => server.close() };
}
