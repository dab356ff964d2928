import { TestHost } from '@alga/extension-runtime/testing';
import { expect, test } from 'vitest';

import extension from './index.js';

test('counts', async () => {
  const host = new TestHost();
  expect((await host.call(extension, { path: '/counter' })).json()).toEqual({ value: 0 });
  await host.call(extension, { path: '/counter', json: { by: 2 } });
  await host.call(extension, { path: '/counter', json: {} });
  expect((await host.call(extension, { path: '/counter' })).json()).toEqual({ value: 3 });
});
