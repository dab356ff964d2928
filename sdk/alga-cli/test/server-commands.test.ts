import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { beforeEach, describe, expect, test } from 'vitest';

import { main } from '../src/main.js';
import { BesideServer } from './beside-server.js';
import { MANIFEST, testEnvironment } from './fixture.js';

describe('commands that talk to a server', () => {
  const beside = new BesideServer();
  const { alga } = beside;

  beforeEach(async () => {
    await beside.writeBuiltProject({
      ...MANIFEST,
      capabilities: ['cap:secrets.get', 'cap:http.fetch'],
      egress: ['https://api.example.com'],
    });
  });

  async function installed() {
    const published = await alga(['publish', '--no-build']);
    expect(published.code, published.err).toBe(0);
    const { code, out, err } = await alga(['install', MANIFEST.name, '--grant-declared', '--json']);
    expect(code, err).toBe(0);
    return (JSON.parse(out) as { install: { id: string } }).install.id;
  }

  test('login checks the token and keeps it where only its owner can read', async () => {
    const { code, out, err } = await alga(['login'], {
      stdin: 'alga_boot_test-token\n',
      variables: { ALGA_TOKEN: '' },
    });
    expect(code, err).toBe(0);
    expect(out).toContain('as Op (operator)');
    expect(out + err).not.toContain(beside.server.token);
    const file = join(beside.folder, '.config', 'alga', 'credentials.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ current: beside.url });
    const later = await alga(['list'], { variables: { ALGA_TOKEN: '', ALGA_URL: '' } });
    expect(later.code, later.err).toBe(0);
  });

  test('login refuses a bad token, stores nothing and never shows it', async () => {
    const { code, err } = await alga(['login'], {
      stdin: 'wrong-token',
      variables: { ALGA_TOKEN: '' },
    });
    expect(code).toBe(4);
    expect(err).toContain('auth.bad_token');
    expect(err).not.toContain('wrong-token');
    await expect(stat(join(beside.folder, '.config'))).rejects.toThrow();
  });

  test('a credentials file that others may read is refused', async () => {
    await alga(['login'], { stdin: beside.server.token, variables: { ALGA_TOKEN: '' } });
    const file = join(beside.folder, '.config', 'alga', 'credentials.json');
    const { chmod } = await import('node:fs/promises');
    await chmod(file, 0o644);
    const { code, err } = await alga(['list']);
    expect(code).toBe(1);
    expect(err).toContain('chmod 600');
  });

  test('a token never travels in clear to another machine', async () => {
    const { code, err } = await alga(['list', '--url', 'http://extensions.example.com']);
    expect(code).toBe(2);
    expect(err).toContain('server.insecure_url');
  });

  test('publishes a signed bundle and refuses the same version again', async () => {
    expect((await alga(['keygen', '--out', 'k.key'])).code).toBe(0);
    const unregistered = await alga(['publish', '--no-build', '--key', 'k.key']);
    expect([unregistered.code, unregistered.err]).toEqual([
      3,
      expect.stringContaining('SIGNATURE_INVALID'),
    ]);
    const publicKey = JSON.parse(await readFile(join(beside.folder, 'k.pub.json'), 'utf8')) as {
      public_key: string;
    };
    await fetch(`${beside.url}/api/v1/publishers/example/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${beside.server.token}` },
      body: JSON.stringify(publicKey),
    });
    const published = await alga(['publish', '--no-build', '--key', 'k.key', '--json']);
    expect(published.code, published.out).toBe(0);
    expect(JSON.parse(published.out)).toMatchObject({ ok: true, signed: true });
    const again = await alga(['publish', '--no-build', '--json']);
    expect(again.code).toBe(3);
    expect(JSON.parse(again.out)).toMatchObject({
      ok: false,
      error: { code: 'EXTENSION_VERSION_ALREADY_EXISTS' },
    });
  });

  test('publishes a bundle file with the signature that lies beside it', async () => {
    await alga(['keygen', '--out', 'k.key']);
    await alga(['pack']);
    await alga(['sign', 'bundle.tar.zst', '--key', 'k.key']);
    const refused = await alga(['publish', 'bundle.tar.zst']);
    expect(refused.err).toContain('SIGNATURE_INVALID');
  });

  test('installs with nothing granted unless asked', async () => {
    await alga(['publish', '--no-build']);
    const { out } = await alga(['install', MANIFEST.name]);
    expect(out).toContain('granted   nothing beyond the defaults');
    expect(out).toContain('withheld  cap:secrets.get, cap:http.fetch');
    expect(out).toContain('every outgoing call is denied');
  });

  test('grants what the manifest declares when asked', async () => {
    await alga(['publish', '--no-build']);
    const { out, code, err } = await alga([
      'install',
      MANIFEST.name,
      '--grant-declared',
      '--egress-declared',
      '--config',
      'region=eu=west',
    ]);
    expect(code, err).toBe(0);
    expect(out).toContain('granted   cap:secrets.get, cap:http.fetch');
    expect(out).toContain('egress    https://api.example.com');
    expect([...beside.server.config.values()]).toEqual([{ region: 'eu=west' }]);
    expect(beside.server.installs[0]?.tenant).toBe('t1');
  });

  test('grant adds and revokes, and knows aliases', async () => {
    await installed();
    const name = MANIFEST.name;
    const changed = await alga([
      'grant',
      name,
      '--revoke',
      'http.fetch',
      '-e',
      'https://b.example',
    ]);
    expect(changed.out).toContain('granted   cap:secrets.get\n');
    expect(changed.out).toContain('egress    https://b.example');
    const misspelt = await alga(['grant', name, '-g', 'cap:http.fetsch']);
    expect([misspelt.code, misspelt.err]).toEqual([2, expect.stringContaining('cap:http.fetch?')]);
    const badRule = await alga(['grant', name, '-e', 'api.example.com']);
    expect(badRule.code).toBe(2);
  });

  test('sets, shows and removes configuration', async () => {
    await installed();
    await alga(['config', 'set', MANIFEST.name, 'a=1', 'b=x=y']);
    expect((await alga(['config', 'get', MANIFEST.name])).out).toBe('a=1\nb=x=y\n');
    expect((await alga(['config', 'get', MANIFEST.name, 'b'])).out).toBe('x=y\n');
    await alga(['config', 'unset', MANIFEST.name, 'a']);
    const gone = await alga(['config', 'get', MANIFEST.name, 'a']);
    expect([gone.code, gone.err]).toEqual([1, expect.stringContaining('config.not_set')]);
  });

  test('says what there is not to take away', async () => {
    await installed();
    const unset = await alga(['config', 'unset', MANIFEST.name, 'never']);
    expect([unset.code, unset.err]).toEqual([0, 'warning "never" was not set [config.not_set]\n']);
    const options = ['--revoke', 'cap:storage.kv', '--revoke-egress', 'https://a.example'];
    const revoked = await alga(['grant', MANIFEST.name, ...options]);
    expect(revoked.code).toBe(0);
    for (const what of ['cap:storage.kv', 'https://a.example']) {
      expect(revoked.err).toContain(`"${what}" was not granted`);
    }
  });

  test('lists the versions of an extension, so that one can be named', async () => {
    await installed();
    expect((await alga(['list'])).out).toMatch(/^com\.example\.fixture +1\.0\.0 +[0-9a-f-]{36}$/m);
  });

  test('takes secrets from a pipe or a file, never from the command line', async () => {
    const id = await installed();
    const set = await alga(['secrets', 'set', MANIFEST.name, 'key'], { stdin: 's3cret\n' });
    expect(set.code, set.err).toBe(0);
    expect(set.out + set.err).not.toContain('s3cret');
    await writeFile(join(beside.folder, 'value'), 'from file');
    await alga(['secrets', 'set', MANIFEST.name, 'other', '--file', 'value']);
    expect(beside.server.secrets.get(id)).toEqual(
      new Map([
        ['key', 's3cret'],
        ['other', 'from file'],
      ]),
    );
    expect((await alga(['secrets', 'list', MANIFEST.name])).out).toBe('key\nother\n');
    await alga(['secrets', 'unset', MANIFEST.name, 'key']);
    expect((await alga(['secrets', 'list', MANIFEST.name])).out).toBe('other\n');
    const onCommandLine = await alga(['secrets', 'set', MANIFEST.name, 'key', 's3cret']);
    expect(onCommandLine.code).toBe(2);
    const nothing = await alga(['secrets', 'set', MANIFEST.name, 'key'], { stdin: '\n' });
    expect([nothing.code, nothing.err]).toEqual([2, expect.stringContaining('secret.empty')]);
  });

  test('disables, enables, updates and uninstalls', async () => {
    await installed();
    expect((await alga(['disable', MANIFEST.name])).out).toContain('is disabled');
    expect((await alga(['list'])).out).toMatch(/disabled +t1/);
    expect((await alga(['enable', MANIFEST.name])).out).toContain('is enabled');
    const updated = await alga(['update', MANIFEST.name, '--version', '1.1.0']);
    expect(updated.out).toContain('is now 1.1.0 (was 1.0.0)');
    expect((await alga(['uninstall', MANIFEST.name])).code).toBe(0);
    const gone = await alga(['uninstall', MANIFEST.name]);
    expect([gone.code, gone.err]).toEqual([3, expect.stringContaining('install.not_found')]);
  });

  test('invokes through the gateway', async () => {
    await installed();
    const { out, code } = await alga(['invoke', MANIFEST.name, '/a?b=1']);
    expect([code, out]).toEqual([0, '{"path":"/a?b=1"}\n']);
  });

  test('explains a failed call at the line of the author, with the map of the registry', async () => {
    await installed();
    const map = {
      version: 3,
      sources: ['src/index.ts'],
      sourcesContent: ['one\ntwo\nthree throws here\nfour\n'],
      names: [],
      // Generated 1:1 is src/index.ts 3:7.
      mappings: 'AAEM',
    };
    beside.server.sourceMaps.set(`${MANIFEST.name}@1.0.0`, JSON.stringify(map));
    beside.server.gateway = () => ({ status: 500, body: '{"error":{}}', requestId: 'r7' });
    beside.server.log({
      level: 'error',
      message: 'Uncaught TypeError: no luck\n    at f (main.js:1:1)',
      request_id: 'r7',
      extension: MANIFEST.name,
      version: '1.0.0',
    });
    const { code, err } = await alga(['invoke', MANIFEST.name, '/x']);
    expect(code).toBe(1);
    expect(err).toContain('src/index.ts:3:7 TypeError: no luck [invoke.uncaught]');
    expect(err).toContain('> 3 | three throws here\n      |       ^');
    const logs = await alga(['logs', MANIFEST.name]);
    expect(logs.out).toContain('at f (src/index.ts:3:7)');
  });

  test('explains an execution that the host ended: route, last line, last host call, what to do', async () => {
    await installed();
    const map = {
      version: 3,
      sources: ['src/index.ts'],
      sourcesContent: ['a\nb\nawait slow()'],
      names: [],
      mappings: 'AAEM',
    };
    beside.server.sourceMaps.set(`${MANIFEST.name}@1.0.0`, JSON.stringify(map));
    beside.server.gateway = () => ({ status: 504, body: '{"error":{}}', requestId: 'r8' });
    beside.server.executions.push({
      request_id: 'r8',
      end_class: 'wall_limit',
      method: 'GET',
      path: '/slow',
    });
    const common = { request_id: 'r8', extension: MANIFEST.name, version: '1.0.0' };
    beside.server.log({ level: 'info', message: 'about to wait', ...common });
    beside.server.log({
      level: 'debug',
      message: 'host call http.fetch GET https://a.example/\n    at f (main.js:1:1)',
      ...common,
    });
    const { code, err } = await alga(['invoke', MANIFEST.name, '/slow']);
    expect(code).toBe(1);
    expect(err).toContain(
      'src/index.ts:3:7 the execution took longer than its wall time [wall_limit]',
    );
    expect(err).toContain('route           GET /slow');
    expect(err).toContain('last log line   about to wait');
    expect(err).toContain('last host call  http.fetch GET https://a.example/');
    expect(err).toContain('> 3 | await slow()');
    expect(err).toContain('context.remainingTimeMs()');
  });

  test('log lines cannot command the terminal', async () => {
    beside.server.log({ level: 'info', message: 'a\u001b[2Jb' });
    expect((await alga(['logs'])).out).toContain('a\ufffd[2Jb');
  });

  test('a message of several lines cannot look like several messages', async () => {
    beside.server.log({ level: 'info', message: 'a\n2030-01-01T00:00:00.000Z error b' });
    expect((await alga(['logs'])).out).toContain('info  a\n    2030-01-01T00:00:00.000Z error b');
  });

  test('follows logs until it is interrupted', async () => {
    beside.server.log({ level: 'info', message: 'first' });
    const interrupt = new AbortController();
    const environment = {
      ...testEnvironment(beside.folder, { ALGA_URL: beside.url, ALGA_TOKEN: beside.server.token }),
      signal: interrupt.signal,
    };
    let out = '';
    environment.stdout = {
      write: (text) => {
        out += text;
        if (out.includes('first') && !out.includes('second')) {
          beside.server.log({ level: 'warn', message: 'second' });
        }
        if (out.includes('second')) interrupt.abort();
      },
    };
    expect(await main(['logs', '--follow'], environment)).toBe(0);
    expect(out).toMatch(/first[\s\S]*warn {2}second/);
  });

  test('says that nobody listens, and what to do', async () => {
    await beside.server.stop();
    const { code, err } = await alga(['list']);
    expect(code).toBe(3);
    expect(err).toContain('ECONNREFUSED');
    expect(err).toContain('alga doctor');
    await beside.server.start();
  });

  test('with --json there is exactly one document, also for errors and bad usage', async () => {
    for (const argv of [
      ['config', 'get', 'nope', '--json'],
      ['publish', '--bogus', '--json'],
    ]) {
      const { code, out, err } = await alga(argv);
      expect(code).toBeGreaterThan(0);
      expect(JSON.parse(out)).toMatchObject({
        ok: false,
        error: { code: expect.any(String) as string },
      });
      if (argv.includes('get')) expect(err).toBe('');
    }
  });
});
