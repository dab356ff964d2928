import { describe, expect, test } from 'vitest';

import {
  ConfigError,
  handler,
  HttpError,
  json,
  ProxyError,
  SecretError,
  StorageError,
  text,
  UserError,
  type HandlerFunction,
} from './index.js';
import { TestHost, type TestHostOptions } from './testing/index.js';

async function run(body: HandlerFunction, options: TestHostOptions = {}, path = '/') {
  const host = new TestHost(options);
  return { host, response: await host.call(handler(body), { path }) };
}

describe('handler', () => {
  test('gives the request in parts', async () => {
    const { response } = await run(
      ({ request }) => json([request.method, request.path, request.query.getAll('a'), request.url]),
      {},
      '/p%20q?a=1&a=2',
    );
    expect(response.json()).toEqual(['GET', '/p%20q', ['1', '2'], '/p%20q?a=1&a=2']);
  });

  test('reads bodies, and answers 400 for one that is not what it should be', async () => {
    const echo = handler(({ request }) => json(request.json()));
    const host = new TestHost();
    expect((await host.call(echo, { json: { a: [1] } })).json()).toEqual({ a: [1] });
    const bad = await host.call(echo, { body: '{' });
    expect([bad.status, bad.json<{ error: { code: string } }>().error.code]).toEqual([
      400,
      'extension.bad_request',
    ]);
    expect((await host.call(echo, { body: new Uint8Array([0xff]) })).status).toBe(400);
  });

  test('finds headers in any case and keeps repeated ones', async () => {
    const { response } = await run(({ request }) => {
      const { headers } = request;
      return json([headers.get('X-A'), headers.has('nope'), [...headers].length]);
    });
    expect(response.json()).toEqual([null, false, 0]);
    const host = new TestHost();
    const read = handler(({ request }) => text(request.headers.get('X-a') ?? ''));
    expect((await host.call(read, { headers: { 'x-A': '1' } })).text()).toBe('1');
  });

  test('answers 500 for what is thrown: the log gets all, the caller nothing', async () => {
    const { host, response } = await run(() => {
      throw new RangeError('password is hunter2', { cause: new Error('deeper') });
    });
    expect(response.status).toBe(500);
    expect(response.text()).not.toContain('hunter2');
    expect(response.uncaught).toBeInstanceOf(RangeError);
    const [line] = host.logs;
    expect(line?.level).toBe('error');
    expect(line?.message).toMatch(/^Uncaught RangeError: password is hunter2\n {4}at /);
    expect(line?.message).toContain('handler.test.ts');
    expect(line?.message).toContain('Caused by: Error: deeper');
  });

  test('logs thrown values that are no errors', async () => {
    const { host } = await run(() => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- authors do this
      throw { code: 7 };
    });
    expect(host.logs[0]?.message).toBe(
      'Uncaught Thrown value: {"code":7} (no Error, so nothing says where it was thrown)',
    );
  });

  test('runs the two-argument style of the reference', async () => {
    const host = new TestHost({ secrets: { k: 'v' }, config: { c: '1' } });
    const reference = async (
      request: { http: { url: string } },
      bindings: {
        secrets: { get(key: string): Promise<string> };
        context: { get(): Promise<{ config?: Record<string, string> }> };
      },
    ) =>
      json([
        request.http.url,
        await bindings.secrets.get('k'),
        (await bindings.context.get()).config,
      ]);
    expect((await host.call(reference, { path: '/x' })).json()).toEqual(['/x', 'v', { c: '1' }]);
  });
});

describe('capabilities', () => {
  const cases: [string, TestHostOptions['undeclared'], HandlerFunction, unknown, string][] = [
    [
      'config',
      ['config'],
      async ({ config }) => json(await config.get('a')),
      ConfigError,
      'denied',
    ],
    [
      'secrets',
      ['secrets'],
      async ({ secrets }) => json(await secrets.list()),
      SecretError,
      'denied',
    ],
    [
      'http',
      ['http'],
      async ({ http }) => http.fetch('https://a.example/'),
      HttpError,
      'not-allowed',
    ],
    [
      'storage',
      ['storage'],
      async ({ storage }) => json(await storage.get('n', 'k')),
      StorageError,
      'denied',
    ],
    [
      'ui-proxy',
      ['ui-proxy'],
      async ({ ui }) => json(await ui.callJson('/r')),
      ProxyError,
      'denied',
    ],
    ['user', ['user'], async ({ user }) => json(await user.get()), UserError, 'not-allowed'],
  ];

  test.each(cases)(
    '%s that is not declared says which line to add',
    async (_, undeclared, body, type, code) => {
      const { response } = await run(body, { undeclared: undeclared ?? [] });
      expect(response.uncaught).toBeInstanceOf(type);
      expect(response.uncaught).toMatchObject({ code });
      expect(String(response.uncaught)).toMatch(
        /add "cap:[a-z.]+" to "capabilities" in manifest\.json/,
      );
    },
  );

  test('config: value, missing value, required value, all', async () => {
    const { response } = await run(
      async ({ config }) => {
        const required = await config.require('b').catch((e: unknown) => (e as ConfigError).code);
        return json([
          await config.get('a'),
          (await config.get('b')) ?? null,
          required,
          await config.entries(),
        ]);
      },
      { config: { a: '1' } },
    );
    expect(response.json()).toEqual(['1', null, 'missing', { a: '1' }]);
  });

  test('storage: absent is undefined, conflicts are typed, deletes say what they did', async () => {
    const { response } = await run(async ({ storage }) => {
      const absent = (await storage.get('n', 'k')) ?? null;
      const first = await storage.put('n', 'k', 'one', { when: 'absent' });
      const conflict = await storage
        .put('n', 'k', 'two', { when: { revision: 99n } })
        .catch((e: unknown) => (e as StorageError).code);
      const deleted = [await storage.delete('n', 'k'), await storage.delete('n', 'k')];
      return json([absent, String(first), conflict, deleted]);
    });
    expect(response.json()).toEqual([null, '1', 'conflict', [true, false]]);
  });

  test('ui: JSON both ways', async () => {
    const { response } = await run(async ({ ui }) => json(await ui.callJson('/api/x', { a: 1 })), {
      routes: {
        '/api/x': (payload) => ({ got: JSON.parse(new TextDecoder().decode(payload)) as unknown }),
      },
    });
    expect(response.json()).toEqual({ got: { a: 1 } });
  });

  test('log: fields go along as JSON', async () => {
    const { host } = await run(({ log }) => {
      log.info('made', { id: 7 });
      return json(null);
    });
    expect(host.logs).toEqual([{ level: 'info', message: 'made {"id":7}' }]);
  });
});
