import { describe, expect, test } from 'vitest';

import { handler, json, text, StorageError } from '../index.js';
import { TestHost } from '../testing/index.js';
import { getJson, iterate, putJson, Router, updateJson } from './index.js';

describe('Router', () => {
  const router = new Router()
    .get('/tickets', () => json('list'))
    .get('/tickets/:id', ({ params }) => json(params.id))
    .post('/tickets/:id/notes/:note', ({ params }) => json([params.id, params.note]))
    .get('/files/*path', ({ params }) => text(params.path))
    .on('purge', '/cache', () => json('purged'));
  const host = new TestHost();
  const call = (method: string, path: string) =>
    host.call(handler(router.handle), { method, path });

  test.each([
    ['GET', '/tickets', 'list'],
    ['GET', '/tickets/7?x=1', '7'],
    ['GET', '/tickets/a%2Fb', 'a/b'],
    ['POST', '/tickets/7/notes/8', ['7', '8']],
    ['PURGE', '/cache', 'purged'],
  ])('%s %s', async (method, path, wanted) => {
    expect((await call(method, path)).json()).toEqual(wanted);
  });

  test('a star takes the rest, slashes included', async () => {
    expect((await call('GET', '/files/a/b%20c.txt')).text()).toBe('a/b c.txt');
  });

  test.each(['/', '/ticket', '/tickets/', '/tickets/7/notes', '/tickets/%zz'])(
    '%s is 404',
    async (path) => {
      expect((await call('GET', path)).status).toBe(404);
    },
  );

  test('another method is 405 and says which would do', async () => {
    const response = await call('DELETE', '/tickets/7');
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET']);
  });

  test('HEAD is GET without the body', async () => {
    const response = await call('HEAD', '/tickets');
    expect([response.status, response.text()]).toEqual([200, '']);
  });

  test('refuses patterns that cannot match', () => {
    expect(() => new Router().get('x', () => json(1))).toThrow(TypeError);
    expect(() => new Router().get('/*a/b', () => json(1))).toThrow(TypeError);
  });
});

describe('JSON storage', () => {
  test('reads what it wrote', async () => {
    const extension = handler(async ({ storage }) => {
      const missing = (await getJson(storage, 'n', 'k')) ?? null;
      await putJson(storage, 'n', 'k', { a: 1 });
      return json([missing, (await getJson<{ a: number }>(storage, 'n', 'k'))?.value]);
    });
    expect((await new TestHost().call(extension)).json()).toEqual([null, { a: 1 }]);
  });

  test('updates by compare-and-set and starts over after a conflict', async () => {
    const host = new TestHost();
    const increment = handler(async ({ storage }) => {
      let runs = 0;
      const { value } = await updateJson<number>(storage, 'n', 'count', (current) => {
        runs += 1;
        // Somebody else writes between our read and our write, the first time.
        if (runs === 1) {
          host.imports.storage?.put('n', 'count', new TextEncoder().encode('41'), {
            condition: { tag: 'always' },
          });
        }
        return (current ?? 0) + 1;
      });
      return json([value, runs]);
    });
    expect((await host.call(increment)).json()).toEqual([42, 2]);
  });

  test('gives up with the conflict after so many attempts', async () => {
    const host = new TestHost();
    host.fail('storage', 'conflict', 100);
    const stuck = handler(async ({ storage }) =>
      json(await updateJson(storage, 'n', 'k', () => 1, 3)),
    );
    const response = await host.call(stuck);
    expect(response.uncaught).toBeInstanceOf(StorageError);
  });

  test('iterates over every record exactly once, page by page', async () => {
    const all = handler(async ({ storage }) => {
      for (let i = 0; i < 257; i += 1)
        await storage.put('n', `k${String(i).padStart(3, '0')}`, 'v');
      await storage.put('n', 'other', 'v');
      const keys: string[] = [];
      for await (const { key } of iterate(storage, 'n', { prefix: 'k', pageSize: 50 }))
        keys.push(key);
      return json([keys.length, new Set(keys).size, keys[0], keys.at(-1)]);
    });
    const host = new TestHost();
    expect((await host.call(all)).json()).toEqual([257, 257, 'k000', 'k256']);
    expect(
      host.callsTo('storage').filter(({ operation }) => operation === 'list-entries'),
    ).toHaveLength(6);
  });
});
