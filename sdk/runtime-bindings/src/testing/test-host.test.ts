import { describe, expect, test } from 'vitest';

import type { HttpError } from '../index.js';
import { handler, json, SecretError } from '../index.js';
import { createMockHostBindings, TestHost } from './index.js';

describe('TestHost', () => {
  test('records host calls in order, with the error of those that failed', async () => {
    const host = new TestHost({ config: { a: '1' } });
    const extension = handler(async ({ config, secrets }) => {
      await config.get('a');
      await secrets.get('s').catch(() => undefined);
      return json(null);
    });
    await host.call(extension);
    expect(host.calls).toEqual([
      { interface: 'config', operation: 'get', args: ['a'] },
      { interface: 'secrets', operation: 'get', args: ['s'], error: 'missing' },
    ]);
  });

  test('injects a fault as often as asked', async () => {
    const host = new TestHost({ upstreams: { 'https://a.example/*': { json: 1 } } });
    host.fail('http', 'timeout', 2);
    const extension = handler(async ({ http }) => {
      const codes: unknown[] = [];
      for (let attempt = 0; attempt < 3; attempt += 1) {
        codes.push(
          await http.fetch('https://a.example/x').then(
            ({ status }) => status,
            (error: unknown) => (error as HttpError).code,
          ),
        );
      }
      return json(codes);
    });
    expect((await host.call(extension)).json()).toEqual(['timeout', 'timeout', 200]);
  });

  test('an upstream can answer 429, and an unknown URL is not allowed', async () => {
    const host = new TestHost({
      upstreams: { 'https://a.example/busy': { status: 429, headers: { 'retry-after': '1' } } },
    });
    const extension = handler(async ({ http }) => {
      const busy = await http.fetch('https://a.example/busy');
      const other = await http
        .fetch('https://b.example/')
        .catch((e: unknown) => (e as HttpError).code);
      return json([busy.status, busy.headers.get('retry-after'), other]);
    });
    expect((await host.call(extension)).json()).toEqual([429, '1', 'not-allowed']);
  });

  test('rotates a secret in mid-call', async () => {
    const host = new TestHost({ secrets: { key: 'old' } });
    host.rotateSecretAfterRead('key', 'new');
    const extension = handler(async ({ secrets }) =>
      json([await secrets.get('key'), await secrets.get('key')]),
    );
    expect((await host.call(extension)).json()).toEqual(['old', 'new']);
  });

  test('holds time still, moves it on demand, and gives the real one back', async () => {
    const host = new TestHost({ now: '2030-01-01T00:00:00Z' });
    const clock = handler(() => json([Date.now(), new Date().toISOString(), typeof Date()]));
    expect((await host.call(clock)).json()).toEqual([
      Date.UTC(2030, 0, 1),
      '2030-01-01T00:00:00.000Z',
      'string',
    ]);
    host.advance(1000);
    expect((await host.call(clock)).json<number[]>()[0]).toBe(Date.UTC(2030, 0, 1) + 1000);
    expect(new Date().getUTCFullYear()).toBeLessThan(2030);
  });

  test('ages stored records with the fixed time', async () => {
    const host = new TestHost({ now: 0 });
    const put = handler(async ({ storage }) => {
      await storage.put('n', 'k', 'v', { ttlSeconds: 60 });
      return json(null);
    });
    const has = handler(async ({ storage }) => json((await storage.get('n', 'k')) !== undefined));
    await host.call(put);
    expect((await host.call(has)).json()).toBe(true);
    host.advance(60_000);
    expect((await host.call(has)).json()).toBe(false);
  });

  test('storage refuses what the real one refuses', async () => {
    const host = new TestHost();
    const attempts = handler(async ({ storage }) => {
      const code = (promise: Promise<unknown>) =>
        promise.then(
          () => 'ok',
          (error: unknown) => (error as { code: string }).code,
        );
      return json([
        await code(storage.put('', 'k', 'v')),
        await code(storage.put('n', 'a/b', 'v')),
        await code(storage.put('n', 'k', new Uint8Array(65_537))),
        await code(storage.put('n', 'k', 'v', { ttlSeconds: 59 })),
        await code(storage.list('n', { limit: 101 })),
        await code(storage.list('n', { cursor: 'x' })),
        await code(storage.put('n', 'k', new Uint8Array(65_536), { ttlSeconds: 60 })),
      ]);
    });
    expect((await host.call(attempts)).json()).toEqual([...Array<string>(6).fill('invalid'), 'ok']);
  });

  test('refuses an entry module that exports no function, and shows one that works', async () => {
    await expect(new TestHost().call({ fetch: 1 })).rejects.toThrow(/export default handler/);
  });
});

describe('createMockHostBindings', () => {
  test('works without options and takes single members from overrides', async () => {
    const host = createMockHostBindings({ secrets: { get: async () => 'mocked' } });
    expect(await host.secrets.get('any')).toBe('mocked');
    expect(await host.secrets.list()).toEqual([]);
    expect(await host.storage.get('n', 'k')).toBeNull();
    expect((await host.user.getUser()).userType).toBe('internal');
  });

  test('denies what this host does not offer', async () => {
    const host = createMockHostBindings();
    await expect(host.scheduler['listSchedules']?.()).rejects.toThrow(/denied/);
  });

  test('gives errors the way the host does', async () => {
    await expect(createMockHostBindings().secrets.get('none')).rejects.toThrow(SecretError);
  });
});
