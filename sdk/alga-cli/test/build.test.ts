import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { TestHost } from '@alga/extension-runtime/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { authorError } from '../src/author-error.js';
import { readComponent } from '../src/component/binary.js';
import { main } from '../src/main.js';
import { mapStack, SourceMap } from '../src/source-map.js';
import { MANIFEST, temporaryFolder, testEnvironment, writeProject } from './fixture.js';
import { loadComponent, type LoadedComponent } from './run-component.js';

const SOURCE = `import { handler, json, SecretError } from '@alga/extension-runtime';

const words = /^\\p{Lu}\\p{L}+$/u;

interface Thing {
  name: string;
}

function explode(thing: Thing): never {
  throw new TypeError('no ' + thing.name);
}

export default handler(async ({ request, context, config, secrets, http, storage, log, user }) => {
  switch (request.path) {
    case '/throw':
      return explode({ name: 'luck' });
    case '/reject':
      return Promise.reject(new Error('later'));
    case '/secret':
      log.info('reading a secret');
      return json({ length: (await secrets.get('alga_api_key')).length });
    case '/missing':
      return json(await secrets.get('nothing'));
    case '/caught':
      return secrets.get('nothing').catch((e) => json({ code: (e as SecretError).code }));
    case '/fetch': {
      const answer = await fetch('https://api.example.com/x', { method: 'POST', body: 'ping' });
      return json({ status: answer.status, body: await answer.json(), url: answer.url });
    }
    case '/undeclared':
      return json(await config.get('x'));
    case '/store': {
      const first = await storage.put('ns', 'k', 'v1', { when: 'absent' });
      const again = await storage.put('ns', 'k', 'v2', { when: { revision: first } });
      const conflict = await storage.put('ns', 'k', 'v3', { when: 'absent' }).catch((e) => e.code);
      const page = await storage.list('ns', { limit: 10 });
      const gone = [await storage.delete('ns', 'k'), await storage.delete('ns', 'k')];
      return json({ again: String(again), conflict, keys: page.entries.map((e) => e.key), gone });
    }
    case '/live':
      return json({ now: Date.now(), id: crypto.randomUUID() });
    case '/identity':
      return json({ tenant: context.tenantId, user: (await user.get()).userName });
    case '/words':
      return json([words.test('Ärger'), words.test('ärger')]);
    case '/console':
      console.warn('from console', { a: 1 });
      return json(null);
    case '/deep': {
      const deep = (n: number): number => deep(n + 1) + 1;
      return json(deep(0));
    }
    case '/response':
      return new Response('plain', { status: 201, headers: { 'x-a': 'b' } });
    default:
      return json({ path: request.path, query: request.query.get('q') }, { status: 404 });
  }
});
`;

const lineOf = (text: string) => SOURCE.split('\n').findIndex((line) => line.includes(text)) + 1;

describe('alga build', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let component: LoadedComponent;
  let bytes: Uint8Array;
  let map: SourceMap;
  const capabilities = ['cap:secrets.get', 'cap:http.fetch', 'cap:storage.kv'];

  beforeAll(async () => {
    folder = await temporaryFolder();
    await writeProject(folder.path, {
      'manifest.json': JSON.stringify({ ...MANIFEST, capabilities }),
      'src/index.ts': SOURCE,
    });
    const environment = testEnvironment(folder.path);
    expect(await main(['build'], environment), environment.err).toBe(0);
    bytes = await readFile(join(folder.path, 'dist', 'main.wasm'));
    map = new SourceMap(await readFile(join(folder.path, 'dist', 'main.js.map'), 'utf8'));
    component = await loadComponent(bytes);
  }, 300_000);

  afterAll(async () => {
    await component.close();
    await folder.remove();
  });

  async function call(path: string, host = new TestHost()) {
    const response = await component.call(
      {
        context: { requestId: 'r1', tenantId: 't1', extensionId: 'e1' },
        http: { method: 'GET', url: path, headers: [] },
      },
      host.imports,
    );
    const text = new TextDecoder().decode(response.body);
    return { host, status: response.status, headers: response.headers, text };
  }

  test('imports exactly the interfaces that the manifest opens, and nothing of wasi:http', () => {
    const names = readComponent(bytes)
      .imports.filter(({ kind }) => kind === 'instance')
      .map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('alga:')).sort()).toEqual([
      'alga:extension/context@1.0.0',
      'alga:extension/http@1.0.0',
      'alga:extension/logging@1.0.0',
      'alga:extension/secrets@1.0.0',
      'alga:extension/storage@1.0.0',
      'alga:extension/types@1.0.0',
      'alga:extension/user@1.0.0',
    ]);
    expect(names.some((name) => name.startsWith('wasi:clocks/'))).toBe(true);
    expect(names.some((name) => name.startsWith('wasi:random/'))).toBe(true);
    expect(names.some((name) => name.startsWith('wasi:http'))).toBe(false);
  });

  test('answers with path and query', async () => {
    const answer = await call('/a/b?q=1%202');
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text)).toEqual({ path: '/a/b', query: '1 2' });
  });

  test('reads a secret and writes a log line', async () => {
    const host = new TestHost({ secrets: { alga_api_key: 'abcdef' } });
    expect(JSON.parse((await call('/secret', host)).text)).toEqual({ length: 6 });
    expect(host.logs.filter(({ level }) => level !== 'debug')).toEqual([
      { level: 'info', message: 'reading a secret' },
    ]);
  });

  test('gives a host error to the handler as a typed error', async () => {
    expect(JSON.parse((await call('/caught')).text)).toEqual({ code: 'missing' });
  });

  test("replaces the engine's fetch by the gated one", async () => {
    const host = new TestHost({
      upstreams: {
        'https://api.example.com/x': ({ method, body }) => ({
          status: 202,
          json: { method, body: new TextDecoder().decode(body) },
        }),
      },
    });
    expect(JSON.parse((await call('/fetch', host)).text)).toEqual({
      status: 202,
      body: { method: 'POST', body: 'ping' },
      url: 'https://api.example.com/x',
    });
  });

  test('speaks storage with conditions and pages', async () => {
    expect(JSON.parse((await call('/store')).text)).toEqual({
      again: '2',
      conflict: 'conflict',
      keys: ['k'],
      gone: [true, false],
    });
  });

  test('has a live clock and fresh random numbers in every instance', async () => {
    const before = Date.now();
    const [a, b] = [await call('/live'), await call('/live')].map(
      ({ text }) => JSON.parse(text) as { now: number; id: string },
    );
    expect(a!.now).toBeGreaterThanOrEqual(before);
    expect(a!.now).toBeLessThanOrEqual(Date.now());
    expect(a!.id).not.toBe(b!.id);
  });

  test('knows who calls', async () => {
    const host = new TestHost({ user: { userName: 'Ann' } });
    expect(JSON.parse((await call('/identity', host)).text)).toEqual({ tenant: 't1', user: 'Ann' });
  });

  test('runs regular expressions with Unicode properties', async () => {
    expect(JSON.parse((await call('/words')).text)).toEqual([true, false]);
  });

  test('sends console output to the log of the tenant', async () => {
    const { host } = await call('/console');
    expect(host.logs).toEqual([{ level: 'warn', message: 'from console {"a":1}' }]);
  });

  test('accepts a standard Response', async () => {
    const answer = await call('/response');
    expect([answer.status, answer.text]).toEqual([201, 'plain']);
    expect(answer.headers).toContainEqual({ name: 'x-a', value: 'b' });
  });

  test.each([
    ['/throw', 'Uncaught TypeError: no luck', lineOf("throw new TypeError('no '"), 9],
    ['/reject', 'Uncaught Error: later', lineOf("new Error('later')"), 29],
    [
      '/missing',
      'Uncaught SecretError: secrets.get nothing: missing',
      lineOf("secrets.get('nothing'));"),
      33,
    ],
    [
      '/undeclared',
      'Uncaught ConfigError: config.get x: the extension does not declare',
      lineOf("config.get('x')"),
      32,
    ],
    ['/deep', 'Uncaught InternalError: too much recursion', lineOf('deep(n + 1)'), undefined],
  ])(
    '%s: the log names the line of the author, the caller learns nothing',
    async (path, message, line, column) => {
      const { host, status, text } = await call(path);
      expect(status).toBe(500);
      expect(JSON.parse(text)).toEqual({
        error: { code: 'extension.uncaught', message: 'The extension failed', request_id: 'r1' },
      });
      const logged = host.logs.at(-1)!;
      expect(logged.level).toBe('error');
      expect(logged.message).toContain(message);
      const frames = mapStack(logged.message, map)
        .split('\n')
        .filter((l) => l.includes('(src/index.ts:'));
      const at = /src\/index\.ts:(\d+):(\d+)/.exec(frames[0] ?? '');
      expect(Number(at?.[1])).toBe(line);
      if (column !== undefined) expect(Number(at?.[2])).toBe(column);
    },
  );

  test('names the last host call at the line of the author, for ends that nothing can catch', async () => {
    const host = new TestHost({ secrets: { alga_api_key: 'abcdef' } });
    await call('/secret', host);
    const trace = host.logs.at(-1)!;
    expect(trace.level).toBe('debug');
    expect(trace.message).toMatch(/^host call secrets\.get alga_api_key\n/);
    expect(trace.message).not.toContain('abcdef');
    expect(authorError(trace.message, map)?.location).toMatchObject({
      file: 'src/index.ts',
      line: lineOf("secrets.get('alga_api_key')"),
    });
  });

  test('does nothing when nothing changed', async () => {
    const environment = testEnvironment(folder.path);
    expect(await main(['build', '--json'], environment)).toBe(0);
    expect(JSON.parse(environment.out)).toMatchObject({ ok: true, up_to_date: true });
  });

  test('packs the same bytes every time, with the source map beside the component', async () => {
    const environment = testEnvironment(folder.path);
    expect(await main(['pack', '--json'], environment), environment.out).toBe(0);
    expect(await main(['pack', '--json'], environment)).toBe(0);
    const [first, second] = environment.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { content_hash: string; entries: { name: string }[] });
    expect(first!.content_hash).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(second!.content_hash).toBe(first!.content_hash);
    expect(first!.entries.map(({ name }) => name)).toEqual([
      'manifest.json',
      'dist/main.wasm',
      'artifacts/source-map/main.js.map',
    ]);
    expect(Buffer.from(bytes).includes('sourcesContent')).toBe(false);
  });
});
