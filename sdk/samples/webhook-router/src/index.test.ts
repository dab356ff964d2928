import { createHmac } from 'node:crypto';

import { TestHost } from '@alga/extension-runtime/testing';
import { expect, test } from 'vitest';

import extension from './index.js';

const host = () => new TestHost({ secrets: { webhook_secret: 's' } });

function deliver(here: TestHost, id: string, body: string, key = 's') {
  const signature = createHmac('sha256', key).update(body).digest('hex');
  const headers = { 'x-delivery': id, 'x-signature': `sha256=${signature}` };
  return here.call(extension, { method: 'POST', path: '/hooks/shop', headers, body });
}

test('keeps a signed webhook once', async () => {
  const here = host();
  expect((await deliver(here, 'd-1', '{"a":1}')).status).toBe(202);
  expect((await deliver(here, 'd-1', '{"a":1}')).json()).toEqual({ id: 'd-1', duplicate: true });
  expect((await here.call(extension, { path: '/hooks/shop' })).json()).toEqual({ ids: ['d-1'] });
});

test('refuses what is not signed, signed with another key, or changed', async () => {
  const here = host();
  expect((await deliver(here, 'd-1', '{}', 'other')).status).toBe(401);
  const unsigned = await here.call(extension, { method: 'POST', path: '/hooks/shop', body: '{}' });
  expect(unsigned.status).toBe(401);
  expect((await here.call(extension, { path: '/hooks/shop' })).json()).toEqual({ ids: [] });
});

test('refuses a delivery without a usable id', async () => {
  expect((await deliver(host(), 'a/b', '{}')).status).toBe(400);
});

test('forgets after a week', async () => {
  const here = new TestHost({ secrets: { webhook_secret: 's' }, now: 0 });
  await deliver(here, 'd-1', '{}');
  here.advance(7 * 24 * 3600 * 1000);
  expect((await here.call(extension, { path: '/hooks/shop' })).json()).toEqual({ ids: [] });
});
