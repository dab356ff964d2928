import { TestHost } from '@alga/extension-runtime/testing';
import { expect, test } from 'vitest';

import extension from './index.js';

const count = (host: TestHost, name: string) =>
  host.call(extension, { method: 'POST', path: `/counters/${name}` });

test('counts each name on its own', async () => {
  const host = new TestHost();
  for (const name of ['a', 'b', 'a']) await count(host, name);
  expect((await host.call(extension, { path: '/counters' })).json()).toEqual({ a: 2, b: 1 });
});

test('lists more than a page', async () => {
  const host = new TestHost();
  for (let i = 0; i < 130; i += 1) await count(host, `n${String(i)}`);
  const listed = (await host.call(extension, { path: '/counters' })).json<object>();
  expect(Object.keys(listed)).toHaveLength(130);
});

test('deletes, and says when there was nothing', async () => {
  const host = new TestHost();
  await count(host, 'a');
  const remove = () => host.call(extension, { method: 'DELETE', path: '/counters/a' });
  expect([(await remove()).status, (await remove()).status]).toEqual([204, 404]);
});
