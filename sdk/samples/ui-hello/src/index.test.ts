import { TestHost } from '@alga/extension-runtime/testing';
import { expect, test } from 'vitest';

import extension from './index.js';

test('greets the user by name', async () => {
  const host = new TestHost({ user: { userName: 'Ann', clientName: 'Acme' } });
  expect((await host.call(extension)).json()).toEqual({ greeting: 'Hello Ann of Acme' });
});

test('greets somebody unknown, too', async () => {
  expect((await new TestHost().call(extension)).json()).toEqual({
    greeting: 'Hello, whoever you are',
  });
});
